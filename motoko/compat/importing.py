"""Bringing a study of BlackDynamite into a directory of Motoko's.

The original is only read. Jobs and runs keep their numbers, states, entries and times, and the
configuration files that they were made with; run directories are referred to where they are
(the entry ``imported_from`` of a run), or copied. An entry that has a name which it cannot
have here gets another one.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from motoko.columns import RUN_ENTRIES, TELLING
from motoko.compat import renaming
from motoko.config import TYPES, StudyConfig, read_study
from motoko.crashpoints import reached
from motoko.durable import replace_file
from motoko.errors import ConfigError, ForeignDatabase, SchemaError, StudyExists, StudyNotFound
from motoko.host import host_name
from motoko.job.layout import RUN_FILE, quantity_file
from motoko.job.quantities import last_row
from motoko.model import states
from motoko.paths import STUDY_FILE, STUDY_STATE
from motoko.store.foreign import ForeignStudy, read_foreign
from motoko.store.rebuild import insert_job, insert_run, task_mark
from motoko.store.tables import Tables
from motoko.study import files, moving
from motoko.study.archive import archive_of
from motoko.study.origin import IMPORTED, free_entry, origin_of
from motoko.study.study import Study
from motoko.workflow import control
from motoko.workflow.workflow import Workflow

FOREIGN_DATABASE = "bd.zeo"
#: In a study while it is imported: which one, and whether all but run directories is there.
_UNFINISHED = ".motoko-import"
_FILLED = b"\0filled"
_EXEC_FILE = "launch.sh"
_RUNS_A_COMMIT = 1000


@dataclass
class Imported:
    """What was brought, and what could not be."""

    directory: Path
    study: str
    n_jobs: int = 0
    n_runs: int = 0
    n_copied: int = 0
    #: What is not as it was there, in words.
    notes: list[str] = field(default_factory=list)


def find_foreign(path: Path) -> tuple[Path, Path]:
    """The database that a path means (a study's directory, its ``.bd``, the file itself) and
    the directory of its study. StudyNotFound."""
    for file in (path, path / FOREIGN_DATABASE, path / STUDY_STATE / FOREIGN_DATABASE):
        if file.is_file() and file.name == FOREIGN_DATABASE:
            file = file.absolute()
            is_usual = file.parent.name == STUDY_STATE
            return file, file.parent.parent if is_usual else file.parent
    raise StudyNotFound(str(path), f"has no {STUDY_STATE}/{FOREIGN_DATABASE} of BlackDynamite")


def import_study(
    source: Path, target: Path, *, study: str | None = None, with_runs: bool = False
) -> Imported:
    """Make a study in ``target``, which must not have one, of the one in ``source``.

    ``study`` chooses one where the database has several; ``with_runs`` copies run directories.
    What a call for the same study has left that was killed is made anew; once the database has
    all its runs, that stays as it is by then, and only run directories are copied.
    Raises StudyNotFound, StudyExists (also for a file that would be overwritten by another
    one, for half an import of another study, and for one that runs were executed with),
    ForeignDatabase, and SchemaError for values that are not of the type that is declared
    for them.
    """
    file, origin = find_foreign(source)
    target = target.absolute()
    unfinished = target / _UNFINISHED
    is_again = unfinished.exists()
    if (target / STUDY_STATE).exists() and not is_again:
        raise StudyExists(str(target))
    found = _chosen(read_foreign(file), file, study)
    what = os.fsencode(f"{found.name} of {file}")
    is_filled = is_again and _is_filled(unfinished, what)
    if is_again and not is_filled:
        _check_may_replace(unfinished, what)
    changed = renaming.rename(found)
    planned = _planned(target, origin, found)
    if not is_again:
        _check_free(target, planned)
    if not is_filled:
        target.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(what)
        _write(planned)
        reached("import.configured")
    workflow = Workflow(str(target / STUDY_FILE))
    [manager] = workflow.task_managers.values()
    if is_again and not is_filled:
        control.stop_all(workflow)
        moving.remove(manager.base.state_dir)
    imported = Imported(
        target, manager.base.config.study, n_jobs=len(found.jobs), n_runs=len(found.runs)
    )
    if changed:
        imported.notes.append(f"some entries have other names here: {changed}")
    outside = [str(place) for place in planned if not place.is_relative_to(target)]
    if outside:
        imported.notes.append(f"what bd.yaml names outside of the study: {', '.join(outside)}")
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        if not is_filled:
            _fill(manager.base, found, origin, imported)
            replace_file(unfinished, [what, _FILLED])
        reached("import.runs")
        if with_runs:
            _copy_runs(manager.base, found, origin, imported)
    unfinished.unlink()
    return imported


def _chosen(studies: Mapping[str, ForeignStudy], file: Path, name: str | None) -> ForeignStudy:
    if name is None and len(studies) == 1:
        return next(iter(studies.values()))
    for known, study in studies.items():
        if name is not None and name in (known, known.partition("_")[2]):
            return study
    names = ", ".join(studies) or "none"
    raise StudyNotFound(str(file), f"has the studies {names}: say which with --study")


# the directory


def _planned(target: Path, origin: Path, found: ForeignStudy) -> dict[Path, Path | str]:
    """The files to be made, each with the one to be copied or its text: ``bd.yaml`` as it is
    there, if it is of this study, with what it names, else one of what is stored."""
    try:
        config = read_study(origin / STUDY_FILE)
    except ConfigError:
        config = None
    declared = {name for name in found.job_types if name != "id"}
    if config is not None and set(config.job) == declared and not _renamed(config, found):
        absolute = {config.directory / n for n in config.config_files if Path(n).is_absolute()}
        given = [file for file in files.given_files(config) if file not in absolute]
        planned: dict[Path, Path | str] = {
            Path(os.path.normpath(target / os.path.relpath(file, config.directory))): file
            for file in given
            if file.is_file()
        }
        return {**planned, target / STUDY_FILE: config.file}
    stored = _stored(found)
    content = {
        "study": found.name,
        "job": {n: t for n, t in found.job_types.items() if n != "id"},
        "run": {n: t for n, t in found.run_types.items() if _is_own(n) and t in TYPES},
        "config_files": [name for name in stored if name != _EXEC_FILE],
    }
    texts: dict[Path, Path | str] = {target / name: text for name, text in stored.items()}
    return {**texts, target / STUDY_FILE: yaml.safe_dump(content, sort_keys=False)}


def _renamed(config: StudyConfig, found: ForeignStudy) -> frozenset[str]:
    """The entries of runs in a ``bd.yaml`` that have other names here."""
    return (TELLING & config.run.keys()) - found.run_types.keys()


def _stored(found: ForeignStudy) -> dict[str, str]:
    """Name and text of the files that runs were made with, as the last of them has them."""
    texts = {}
    for digests in list(found.run_files.values())[-1:]:
        for digest in digests:
            if digest in found.files:
                name, text = found.files[digest]
                texts[Path(name).name] = text
    return texts


def _is_filled(unfinished: Path, what: bytes) -> bool:
    """Whether half an import lacks run directories alone."""
    has_database = (unfinished.parent / STUDY_STATE).exists()
    return has_database and unfinished.read_bytes() == what + _FILLED


def _check_may_replace(unfinished: Path, what: bytes) -> None:
    """StudyExists if half an import is that of another study, or was worked with."""
    target, begun = unfinished.parent, unfinished.read_bytes().removesuffix(_FILLED)
    if begun not in (b"", what):
        left = f"there is half an import of {os.fsdecode(begun)}"
        todo = "give its command again, remove the directory, or name another one"
        raise StudyExists(str(target), f"{left}: {todo}")
    if any(target.glob(f"BD-*-runs/run-*/{RUN_FILE}")):
        left = "runs were executed with half an import, and would be lost"
        raise StudyExists(str(target), f"{left}: name another directory")


def _check_free(target: Path, planned: Mapping[Path, Path | str]) -> None:
    """StudyExists if a file would be overwritten that is another one."""
    others = [str(place) for place, new in planned.items() if not _may_write(place, new)]
    if others:
        what = f"would overwrite {', '.join(others)}; move that away, or name another directory"
        raise StudyExists(str(target), what)


def _may_write(place: Path, new: Path | str) -> bool:
    if not os.path.lexists(place):
        return True
    if isinstance(new, str):
        return place.is_file() and place.read_bytes() == new.encode()
    return place.is_file() and filecmp.cmp(place, new, shallow=False)


def _write(planned: Mapping[Path, Path | str]) -> None:
    for place, new in planned.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(new, str):
            place.write_text(new)
        elif not (place.exists() and place.samefile(new)):
            shutil.copy2(new, place)


def _is_own(name: str) -> bool:
    return name not in RUN_ENTRIES and name not in renaming.LEFT_OUT


# the database


def _fill(study: Study, found: ForeignStudy, origin: Path, imported: Imported) -> None:
    manifests = _manifests(study, found)
    entry = free_entry({*study.schema.run, *(n for row in found.runs.values() for n in row)})
    rows = {}
    for run_id in found.runs:
        rows[run_id] = _row(study, found, run_id, manifests)
        recorded = found.runs[run_id].get("run_path")
        rows[run_id][entry] = _run_dir(origin, found, run_id, recorded)

    def add_jobs(tables: Tables) -> None:
        for job_id, values in sorted(found.jobs.items()):
            given = {n: v for n, v in values.items() if n != "id"}
            known = insert_job(tables, job_id, study.schema.convert_job(given))
            if known != job_id:
                raise ForeignDatabase(
                    str(origin), f"its jobs {known} and {job_id} have the same values"
                )
        for manifest in manifests.values():
            tables.set_manifest(manifest["key"], manifest)
        fact = {"path": str(origin), "study": found.name, "entry": entry}
        tables.set_fact(IMPORTED, fact)

    study.database.write(add_jobs)
    reached("import.jobs")
    ids = sorted(rows)
    marks = _marks(study, rows)
    for start in range(0, len(ids), _RUNS_A_COMMIT):
        some = ids[start : start + _RUNS_A_COMMIT]
        add = partial(_add_runs, rows=rows, marks=marks, ids=some, found=found)
        study.database.write(add)
    n_same = len(ids) - len({(rows[i]["job_id"], marks[i]) for i in ids})
    if n_same:
        imported.notes.append(f"{n_same} runs are repetitions of others: they stay runs")


def _add_runs(
    tables: Tables,
    *,
    rows: Mapping[int, dict[str, Any]],
    marks: Mapping[int, bytes],
    ids: Iterable[int],
    found: ForeignStudy,
) -> None:
    for run_id in ids:
        row = rows[run_id]
        insert_run(tables, run_id, row, marks[run_id])
        place = origin_of(tables, row)
        assert place is not None
        last = _last_values(place, found.quantities.get(run_id, ()))
        if last:
            tables.set_quantities(run_id, last)


def _marks(study: Study, rows: Mapping[int, Mapping[str, Any]]) -> dict[int, bytes]:
    """What makes the task of each run, together with its job.

    Each run there has the name of a machine, that of the host if none was given. What is this
    host's name, or the same for all, tells no tasks apart: they are those that are asked for
    without one.
    """
    names = {row.get("machine_name") for row in rows.values()}
    unsaid = set() if study.config.machine_name else {host_name(), *names}
    if len(names) > 1:
        unsaid &= {host_name()}
    return {
        run_id: task_mark(
            study.schema,
            {**row, "machine_name": ""} if row.get("machine_name") in unsaid else row,
        )
        for run_id, row in rows.items()
    }


def _row(
    study: Study,
    found: ForeignStudy,
    run_id: int,
    manifests: Mapping[tuple[str, ...], dict[str, Any]],
) -> dict[str, Any]:
    entries = {n: v for n, v in found.runs[run_id].items() if n not in renaming.LEFT_OUT}
    own = {n: v for n, v in entries.items() if n not in renaming.SAME}
    try:
        row = study.schema.convert_run(own)
    except SchemaError as error:
        raise SchemaError(study.name, f"run {run_id}", str(error), "mend bd.yaml") from error
    row |= {n: v for n, v in entries.items() if n in renaming.SAME}
    row["state"] = states.normalise(str(entries.get("state", states.CREATED)))
    row["run_name"] = str(entries.get("run_name") or found.name)
    row["nproc"] = int(entries.get("nproc") or 1)
    if row["state"] == states.FINISHED:
        row["has_finished"] = 1
    manifest = manifests.get(tuple(found.run_files.get(run_id, ())))
    if manifest is not None:
        row["files"] = manifest["key"]
    return row


def _run_dir(origin: Path, found: ForeignStudy, run_id: int, recorded: Any) -> str:
    """Where a run was executed; what was moved with its study is where that is now."""
    name = f"run-{run_id}"
    for study in _names(found.name):
        place = origin / f"BD-{study}-runs" / name
        if place.is_dir():
            return str(place)
    places = list(origin.glob("BD-*-runs"))
    is_here = len(places) == 1 and (places[0] / name).is_dir()  # it may have been renamed
    return str(places[0] / name if is_here else recorded or origin / name)


def _names(found: str) -> Iterator[str]:
    """What a study may be called whose name in the database begins with its user's."""
    yield found
    while found := found.partition("_")[2]:
        yield found


def _manifests(study: Study, found: ForeignStudy) -> dict[tuple[str, ...], dict[str, Any]]:
    """What runs were made with, for each set of files that some of them had."""
    made = {}
    for run_id, digests in found.run_files.items():
        key = tuple(digests)
        if key in made or not all(digest in found.files for digest in digests):
            continue
        script = str(found.runs[run_id].get("exec", ""))
        with tempfile.TemporaryDirectory() as place:
            given = []
            for digest in dict.fromkeys([*(d for d in digests if d != script), script]):
                if digest in found.files:
                    name, text = found.files[digest]
                    given.append(Path(place, Path(name).name))
                    given[-1].write_text(text)
            if script in found.files:
                made[key] = files.manifest(study.files, given[:-1], given[-1])
    return made


def _last_values(run_dir: Path, names: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    found = {}
    for name in names:
        file = quantity_file(str(run_dir), name)
        if Path(file).is_file():
            last = last_row(file)
            if last is not None:
                found[name] = last
    return found


# run directories


def _copy_runs(study: Study, found: ForeignStudy, origin: Path, imported: Imported) -> None:
    for run_id in found.runs:
        place = study.ask(partial(_place, run_id=run_id))
        own = study.run_dir(run_id)
        if place is not None and place.is_dir() and not own.exists():
            aside = own.with_name(f".{own.name}.unfinished")
            moving.remove(aside)
            shutil.copytree(place, aside, symlinks=True)
            aside.rename(own)
            reached("import.copied")
            imported.n_copied += 1


def _place(tables: Tables, run_id: int) -> Path | None:
    """Where the directory to be copied is; None for a run that was deleted or packed since."""
    if not tables.has_run(run_id) or archive_of(tables.run(run_id)) is not None:
        return None
    return origin_of(tables, tables.run(run_id))
