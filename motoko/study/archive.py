"""Run directories packed away: they leave the file system, and can be read as before.

An archive is a zip file in ``BD-<study>-archives``, beside the run directories::

    archive.json        {"format": 1, "study", "created", "motoko", "runs": [ids]}
    runs.csv            what the database says of them, a row each, as `motoko export`
    run-<id>/...        the directory of each, with modes; links are kept as links

The database keeps all rows; a run that is packed has the entry ``archive``, the name of the zip
file, until its directory is back: when somebody asks for that, or its next attempt begins.
Packing writes the archive, reads it back, tells the database, and removes directories last;
ended in between, nothing is lost, and the next call goes on. No directory is removed of which
an archive does not have all that lies in it.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko import __version__
from motoko.columns import is_motokos
from motoko.crashpoints import reached
from motoko.durable import force_directory, force_file_system, locked
from motoko.errors import AlreadyRunning, ArchiveDamaged, SchemaError
from motoko.model import states
from motoko.phrases import counted
from motoko.store.tables import Tables
from motoko.study import copies, moving
from motoko.study.archive_file import add, open_archive

if TYPE_CHECKING:
    from motoko.study.study import Study

FORMAT = 1
#: The entry of a run: the archive that its directory is in.
ARCHIVE = "archive"
#: The fact of a study: the number of its last archive. None is given twice: an archive may be
#: moved to another place, and back.
LAST_ARCHIVE = "last_archive"
#: What ends the name of a directory that is being removed.
_REMOVED = ".packed"
_DESCRIPTION = "archive.json"
_ROWS = "runs.csv"
#: An archive has no more runs than this, so that few are lost with one.
_MOST_RUNS = 1000
#: Nor has it more files, unless it has one run alone: to read, or to write, anything of an
#: archive is to have its whole list of files in memory.
_MOST_FILES = 50_000
_RUNS_A_COMMIT = 1000
#: How long another command that is just about to be done is waited for.
_PATIENCE_S = 5.0


@dataclass
class Packed:
    """What was packed."""

    n_runs: int = 0
    n_files: int = 0
    n_bytes: int = 0
    #: Of the archives that were written.
    n_bytes_packed: int = 0
    archives: tuple[Path, ...] = ()


def packing_lock(study: Study) -> Path:
    """A file that is there since runs of the present database were packed for the first
    time."""
    return study.state_dir / "archive.lock"


def archives_dir(study: Study) -> Path:
    """Where the archives of a study lie."""
    return study.runs_dir.with_name(f"BD-{study.config.study}-archives")


def archive_files(study: Study) -> list[Path]:
    """The archives of a study, oldest first."""
    return [file for _, file in sorted(_numbered(study))]


def _numbered(study: Study) -> list[tuple[int, Path]]:
    """The archives of a study with their numbers; others' files may lie beside them."""
    files = archives_dir(study).glob("archive-*.zip")
    numbers = ((path.stem.removeprefix("archive-"), path) for path in files)
    return [(int(number), path) for number, path in numbers if number.isdecimal()]


def archive_of(row: Mapping[str, Any]) -> str | None:
    """The archive that a run with these entries is in; None if it is not packed."""
    name = row.get(ARCHIVE)
    return str(name) if is_motokos(ARCHIVE, name) else None


def own_entries(row: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a run, without the one that says where it is packed."""
    packed = archive_of(row) is not None
    return {name: value for name, value in row.items() if not (packed and name == ARCHIVE)}


def packable(study: Study, run_ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
    """Those of the runs that are over and have a directory, with their entries."""
    rows = study.ask(lambda tables: {i: tables.run(i) for i in run_ids})
    over = {run_id: row for run_id, row in rows.items() if _is_over(row)}
    return {run_id: row for run_id, row in over.items() if study.run_dir(run_id).is_dir()}


def pack(
    study: Study,
    run_ids: Sequence[int],
    *,
    is_busy: Callable[[int], bool],
    alone: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Packed:
    """Pack the directories of runs that are over, but for those whose scripts go on.

    The study must be connected to its server. ``alone`` keeps a launcher out of directories
    while these are removed; those of runs that somebody puts back meanwhile stay, and those in
    which something was written since they were looked at. OSError when there is no room, or
    when one cannot be removed, and SchemaError where the entry ``archive`` is the user's own:
    nothing is removed then. AlreadyRunning while another one packs.
    """
    packed = Packed()
    with _no_other(study):
        for left in study.runs_dir.glob(f".run-*{_REMOVED}"):
            moving.remove(left)
        for unfinished in archives_dir(study).glob(".archive-*.zip.*"):
            unfinished.unlink(missing_ok=True)
        ready = packable(study, run_ids)
        _check_has_no_own(study, ready)
        ready = {run_id: row for run_id, row in ready.items() if not is_busy(run_id)}
        there: dict[str, list[int]] = {}  # where an earlier call was ended
        for run_id, row in ready.items():
            name = archive_of(row)
            if name is not None and _has_all_of(study, run_id, name):
                there.setdefault(name, []).append(run_id)
        for name, some in there.items():
            _let_go(study, {i: ready[i] for i in some}, name, alone)
        done = {run_id for some in there.values() for run_id in some}
        chosen = [run_id for run_id in ready if run_id not in done]
        for some in _shares(study, chosen):
            _pack_some(study, {i: ready[i] for i in some}, packed, alone)
    return packed


def unpack(study: Study, run_ids: Iterable[int]) -> int:
    """Bring the directories of packed runs back to where they were; how many.

    A directory that is there already stays as it is. AlreadyRunning while another one packs,
    and ArchiveDamaged, once all others are back, when some cannot be read.
    """
    n_back = n_left = 0
    damage: dict[str, ArchiveDamaged] = {}
    with _no_other(study):
        named = study.ask(lambda tables: [(i, archive_of(tables.run(i))) for i in run_ids])
        packed = [(run_id, name) for run_id, name in named if name is not None]
        for start in range(0, len(packed), _RUNS_A_COMMIT):
            there = []
            for run_id, name in packed[start : start + _RUNS_A_COMMIT]:
                try:
                    n_back += bring_back(study, run_id, name)
                except ArchiveDamaged as error:
                    n_left += 1
                    damage.setdefault(name, error)
                else:
                    there.append(run_id)
            if not there:
                continue
            # Or, without power, nothing would say where to find them again.
            force_file_system(study.runs_dir)
            reached("archive.unpacked")
            study.database.write(partial(_forget_archive, run_ids=there))
    if damage:
        first, *others = damage.values()
        for other in others:
            first.add_note(str(other))
        first.add_note(
            f"{counted(n_left, 'run')} left packed, {counted(n_back, 'run')} unpacked"
        )
        raise first
    return n_back


def bring_back(study: Study, run_id: int, archive: str, place: Path | None = None) -> bool:
    """Put the directory of a packed run back to where it was, or into another place, and say
    nothing to the database; False if there is one already. ArchiveDamaged when that cannot be
    read."""
    place = place or study.run_dir(run_id)
    if place.exists():
        return False
    open_archive(archives_dir(study) / archive).extract(run_id, place)
    return True


def unpacked(study: Study, run_id: int, archive: str) -> Path:
    """A directory with the files of a packed run, to be read; made when first asked for."""
    return copies.copy_of(study.directory, archives_dir(study) / archive, run_id)


def is_as_packed(study: Study, run_id: int, archive: str, copy: Path) -> bool:
    """Whether all that lies in the copy of a packed run is in its archive, too, as far as that
    can be read; does not ask the database."""
    try:
        reader = open_archive(archives_dir(study) / archive)
        return reader.has_all_of(run_id, copy, trusts_times=True)
    except (ArchiveDamaged, FileNotFoundError):
        return True


def packed_facts(study: Study, run_id: int, archive: str) -> Mapping[str, Any]:
    """What the packed directory of a run says of its last attempt; nothing if it has no file
    that does. ArchiveDamaged when it cannot be read."""
    return open_archive(archives_dir(study) / archive).facts(run_id)


def _check_has_no_own(study: Study, rows: Mapping[int, Mapping[str, Any]]) -> None:
    """SchemaError where what would say that a run is packed is an entry of the user's own."""
    allowed = "motoko archive keeps there where a run is packed: give the entry another name"
    for kind, fields in (("job", study.schema.job), ("run", study.schema.run)):
        if ARCHIVE in fields:
            found = f"found it declared under {kind}"
            raise SchemaError(study.name, ARCHIVE, found, allowed)
    for run_id, row in rows.items():
        if ARCHIVE in row and archive_of(row) is None:
            found = f"found {row[ARCHIVE]!r} in run {run_id}"
            raise SchemaError(study.name, ARCHIVE, found, allowed)


def _is_over(row: Mapping[str, Any]) -> bool:
    return row["state"] != states.CREATED and row["state"] not in states.ACTIVE


@contextmanager
def _no_other(study: Study) -> Iterator[None]:
    try:
        with locked(packing_lock(study), _PATIENCE_S):
            yield
    except TimeoutError:
        what = f"a command that packs runs of study {study.name!r}"
        raise AlreadyRunning(what, "another process") from None


def _shares(study: Study, run_ids: Iterable[int]) -> Iterator[list[int]]:
    """The runs that one archive is to have, for each that is needed."""
    share: list[int] = []
    n_files = 0
    for run_id in run_ids:
        more = _n_files(study.run_dir(run_id))
        if share and (len(share) == _MOST_RUNS or n_files + more > _MOST_FILES):
            yield share
            share, n_files = [], 0
        share.append(run_id)
        n_files += more
    if share:
        yield share


def _n_files(directory: Path) -> int:
    """How many files and directories there are in one."""
    return sum(len(dirs) + len(names) for _, dirs, names in os.walk(directory))


def _pack_some(
    study: Study,
    rows: Mapping[int, Mapping[str, Any]],
    packed: Packed,
    alone: Callable[[], AbstractContextManager[None]],
) -> None:
    run_ids = list(rows)
    for run_id in run_ids:
        moving.check_removable(study.run_dir(run_id))
    directory = archives_dir(study)
    directory.mkdir(parents=True, exist_ok=True)
    there = max((number for number, _ in _numbered(study)), default=0)
    number = study.database.write(partial(_new_number, there=there))
    file = directory / f"archive-{number}.zip"
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(aside, "x", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            described = {
                "format": FORMAT,
                "study": study.config.study,
                "created": time.time(),
                "motoko": __version__,
                "runs": run_ids,
            }
            archive.writestr(_DESCRIPTION, json.dumps(described))
            archive.writestr(_ROWS, _rows(study, run_ids))
            for run_id in run_ids:
                added = add(archive, study.run_dir(run_id), f"run-{run_id}")
                packed.n_files += added.n_files
                packed.n_bytes += added.n_bytes
        with zipfile.ZipFile(aside) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ArchiveDamaged(str(aside), f"{damaged} cannot be read back")
        with open(aside, "rb") as written:
            os.fsync(written.fileno())
        aside.replace(file)
        force_directory(directory)
    finally:
        aside.unlink(missing_ok=True)
    reached("archive.made")
    packed.n_runs += len(_let_go(study, rows, file.name, alone))
    packed.n_bytes_packed += file.stat().st_size
    packed.archives += (file,)


def _let_go(
    study: Study,
    rows: Mapping[int, Mapping[str, Any]],
    archive: str,
    alone: Callable[[], AbstractContextManager[None]],
) -> list[int]:
    """Remove the directories of runs that an archive has, as long as these and they are as they
    were when they were looked at; which of them are."""

    def is_same(run_id: int) -> bool:
        return _has_all_of(study, run_id, archive, trusts_times=True)

    with alone():
        same = {run_id: row for run_id, row in rows.items() if is_same(run_id)}
        told: list[int] = study.database.write(
            partial(_set_archive, rows=same, archive=archive)
        )
        reached("archive.told")
        for run_id in filter(is_same, told):  # the database may have been away for long
            _remove(study.run_dir(run_id))
    return told


def _remove(directory: Path) -> None:
    """Remove a directory, of which nobody ever finds a part in its place."""
    aside = directory.with_name(f".{directory.name}{_REMOVED}")
    directory.rename(aside)
    moving.remove(aside)


def _rows(study: Study, run_ids: list[int]) -> bytes:
    from motoko.study.frame import as_csv, frame

    with study.database.read() as tables:
        return as_csv(frame(tables, run_ids, study.directory))


def _new_number(tables: Tables, *, there: int) -> int:
    """A number that no archive has had, wherever that lies by now."""
    number = max(there, tables.fact(LAST_ARCHIVE) or 0) + 1
    tables.set_fact(LAST_ARCHIVE, number)
    return number


def _set_archive(
    tables: Tables, *, rows: Mapping[int, Mapping[str, Any]], archive: str
) -> list[int]:
    told = []
    for run_id, before in rows.items():
        if not tables.has_run(run_id):
            continue  # deleted meanwhile
        row = tables.run(run_id)
        if _is_over(row) and row.get("nonce") == before.get("nonce"):
            tables.update_run(run_id, {ARCHIVE: archive}, is_decided=True)
            told.append(run_id)
    return told


def _forget_archive(tables: Tables, *, run_ids: Sequence[int]) -> None:
    for run_id in run_ids:
        if tables.has_run(run_id):
            tables.update_run(run_id, {ARCHIVE: None}, is_decided=True)


def _has_all_of(study: Study, run_id: int, archive: str, *, trusts_times: bool = False) -> bool:
    """Whether an archive has everything that lies in the directory of a run."""
    try:
        reader = open_archive(archives_dir(study) / archive)
        place = study.run_dir(run_id)
        return reader.has_all_of(run_id, place, trusts_times=trusts_times)
    except (ArchiveDamaged, FileNotFoundError):  # what it had may be removed just now
        return False
