"""Bringing a study of BlackDynamite into a directory of Motoko's.

The original is only read. Jobs and runs keep their numbers, states, entries and times, and the
configuration files that they were made with; run directories are referred to where they are
(the entry ``origin`` of a run), or copied.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from motoko.columns import FIXED, RUN_ENTRIES
from motoko.config import TYPES, read_study
from motoko.crashpoints import reached
from motoko.errors import ConfigError, ForeignDatabase, SchemaError, StudyExists, StudyNotFound
from motoko.job.layout import quantity_file
from motoko.job.quantities import last_row
from motoko.model import states
from motoko.paths import STUDY_FILE, STUDY_STATE
from motoko.store.foreign import ForeignStudy, read_foreign
from motoko.store.rebuild import insert_job, insert_run
from motoko.store.tables import Tables
from motoko.study import files, moving
from motoko.study.study import ORIGIN, Study
from motoko.workflow import control
from motoko.workflow.workflow import Workflow

FOREIGN_DATABASE = "bd.zeo"
#: In a study while it is imported.
_UNFINISHED = ".motoko-import"
_EXEC_FILE = "launch.sh"
#: What every run has there under a name that is Motoko's own here, or that says nothing here.
_LEFT_OUT = frozenset({"id", "exec", "run_path"})
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
    What a call has left that was killed is made anew.
    Raises StudyNotFound, StudyExists, ForeignDatabase, and SchemaError for values that are not
    of the type that is declared for them.
    """
    file, origin = find_foreign(source)
    target = target.absolute()
    unfinished = target / _UNFINISHED
    is_again = unfinished.exists()
    if (target / STUDY_STATE).exists() and not is_again:
        raise StudyExists(str(target))
    found = _chosen(read_foreign(file), file, study)
    target.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    _write_config(target, origin, found)
    reached("import.configured")
    workflow = Workflow(str(target / STUDY_FILE))
    [manager] = workflow.task_managers.values()
    if is_again:
        control.stop_all(workflow)
        moving.remove(manager.base.state_dir)
    imported = Imported(target, manager.base.config.study)
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        _fill(manager.base, found, origin, imported)
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


def _write_config(target: Path, origin: Path, found: ForeignStudy) -> None:
    """``bd.yaml`` as it is there, if it is of this study, else one of what is stored."""
    try:
        config = read_study(origin / STUDY_FILE)
    except ConfigError:
        config = None
    declared = {name for name in found.job_types if name != "id"}
    if config is not None and set(config.job) == declared:
        for given in files.given_files(config):
            is_inside = given.resolve().is_relative_to(origin.resolve())
            name = os.path.relpath(given, origin) if is_inside else given.name
            _copy(given, target / name)
        shutil.copyfile(config.file, target / STUDY_FILE)
        return
    content = {
        "study": found.name,
        "job": {n: t for n, t in found.job_types.items() if n != "id"},
        "run": {n: t for n, t in found.run_types.items() if _is_own(n) and t in TYPES},
        "config_files": [],
    }
    content["config_files"] = _write_stored(target, found)
    (target / STUDY_FILE).write_text(yaml.safe_dump(content, sort_keys=False))


def _write_stored(target: Path, found: ForeignStudy) -> list[str]:
    """Write the files that runs were made with, as the last of them has them."""
    names = []
    for digests in list(found.run_files.values())[-1:]:
        for digest in digests:
            if digest in found.files:
                name, text = found.files[digest]
                (target / Path(name).name).write_text(text)
                names.append(Path(name).name)
    return [name for name in names if name != _EXEC_FILE]


def _copy(file: Path, place: Path) -> None:
    if not file.is_file() or file.name == STUDY_FILE:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, place)


def _is_own(name: str) -> bool:
    return name not in RUN_ENTRIES and name not in _LEFT_OUT


# the database


def _fill(study: Study, found: ForeignStudy, origin: Path, imported: Imported) -> None:
    manifests = _manifests(study, found)
    rows = {run_id: _row(study, found, run_id, origin, manifests) for run_id in found.runs}

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
        tables.set_fact("imported_from", {"path": str(origin), "study": found.name})

    study.database.write(add_jobs)
    reached("import.jobs")
    ids = sorted(rows)
    for start in range(0, len(ids), _RUNS_A_COMMIT):
        some = ids[start : start + _RUNS_A_COMMIT]
        study.database.write(partial(_add_runs, rows=rows, ids=some, found=found))
    imported.n_jobs, imported.n_runs = len(found.jobs), len(rows)
    n_same = len(ids) - len({_task(study, row) for row in rows.values()})
    if n_same:
        imported.notes.append(f"{n_same} runs are repetitions of others: they stay runs")


def _add_runs(
    tables: Tables,
    *,
    rows: Mapping[int, dict[str, Any]],
    ids: Iterable[int],
    found: ForeignStudy,
) -> None:
    for run_id in ids:
        row = rows[run_id]
        insert_run(tables, run_id, row, b"")
        last = _last_values(Path(row[ORIGIN]), found.quantities.get(run_id, ()))
        if last:
            tables.set_quantities(run_id, last)


def _task(study: Study, row: Mapping[str, Any]) -> tuple[Any, ...]:
    declared = tuple(repr(row.get(name)) for name in study.schema.run)
    return (row["job_id"], row["run_name"], row["nproc"], row.get("machine_name"), declared)


def _row(
    study: Study,
    found: ForeignStudy,
    run_id: int,
    origin: Path,
    manifests: Mapping[tuple[str, ...], dict[str, Any]],
) -> dict[str, Any]:
    entries = dict(found.runs[run_id])
    place = _run_dir(origin, run_id, entries.get("run_path"))
    own = {n: v for n, v in entries.items() if n not in FIXED and n not in _LEFT_OUT}
    try:
        row = study.schema.convert_run(own)
    except SchemaError as error:
        raise SchemaError(study.name, f"run {run_id}", str(error), "mend bd.yaml") from error
    row |= {n: v for n, v in entries.items() if n in FIXED and n not in _LEFT_OUT}
    row["state"] = states.normalise(str(entries.get("state", states.CREATED)))
    row["run_name"] = str(entries.get("run_name") or found.name)
    row["nproc"] = int(entries.get("nproc") or 1)
    row[ORIGIN] = place
    if row["state"] == states.FINISHED:
        row["has_finished"] = 1
    manifest = manifests.get(tuple(found.run_files.get(run_id, ())))
    if manifest is not None:
        row["files"] = manifest["key"]
    return row


def _run_dir(origin: Path, run_id: int, recorded: Any) -> str:
    """Where a run was executed; what was moved with its study is where that is now."""
    beside = sorted(origin.glob(f"BD-*-runs/run-{run_id}"))
    return str(beside[0] if beside else recorded or origin / f"run-{run_id}")


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
        place, own = Path(study.run_row(run_id)[ORIGIN]), study.run_dir(run_id)
        if place.is_dir() and not own.exists():
            aside = own.with_name(f".{own.name}.unfinished")
            moving.remove(aside)
            shutil.copytree(place, aside, symlinks=True)
            aside.rename(own)
            reached("import.copied")
            imported.n_copied += 1
