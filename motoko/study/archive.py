"""Run directories packed away: they leave the file system, and can be read as before.

An archive is a zip file in ``BD-<study>-archives``, beside the run directories::

    archive.json        {"format": 1, "study", "created", "motoko", "runs": [ids]}
    runs.csv            what the database says of them, a row each, as `motoko export`
    run-<id>/...        the directory of each, with modes; links are kept as links

The database keeps all rows; a run that is packed has the entry ``archive``, the name of the zip
file. Packing writes the archive, reads it back, tells the database, and removes directories
last; ended in between, nothing is lost, and the next call goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from motoko import __version__
from motoko.crashpoints import reached
from motoko.durable import force_directory
from motoko.errors import ArchiveDamaged
from motoko.model import states
from motoko.store.tables import Tables

if TYPE_CHECKING:
    from motoko.study.study import Study

FORMAT = 1
#: The entry of a run: the archive that its directory is in.
ARCHIVE = "archive"
_DESCRIPTION = "archive.json"
_ROWS = "runs.csv"
#: An archive has no more runs than this, so that few are lost with one, and one run is found
#: fast: to read anything of an archive is to read its whole list of files.
_MOST_RUNS = 1000
_RUNS_A_COMMIT = 1000
#: The oldest time that a zip file can say.
_OLDEST = (1980, 1, 1, 0, 0, 0)


@dataclass
class Packed:
    """What was packed."""

    n_runs: int = 0
    n_files: int = 0
    n_bytes: int = 0
    #: Of the archives that were written.
    n_bytes_packed: int = 0
    archives: tuple[Path, ...] = ()


def archives_dir(study: Study) -> Path:
    """Where the archives of a study lie."""
    return study.runs_dir.with_name(f"BD-{study.config.study}-archives")


def packable(study: Study, run_ids: Iterable[int]) -> list[int]:
    """Those of the runs that are over and have a directory."""
    open_states = {states.CREATED, *states.ACTIVE}
    over = study.ask(
        lambda tables: [i for i in run_ids if tables.run(i)["state"] not in open_states]
    )
    return [run_id for run_id in over if study.run_dir(run_id).is_dir()]


def pack(study: Study, run_ids: Sequence[int], *, is_busy: Callable[[int], bool]) -> Packed:
    """Pack the directories of runs that are over, but for those whose scripts go on.

    The study must be connected to its server. OSError when there is no room: nothing is
    removed then.
    """
    packed = Packed()
    chosen = []
    ready = packable(study, run_ids)
    names = study.ask(lambda tables: [tables.run(run_id).get(ARCHIVE) for run_id in ready])
    for run_id, name in zip(ready, names, strict=True):
        if is_busy(run_id):
            continue
        if name is not None and run_id in _packed_in(archives_dir(study) / name):
            shutil.rmtree(study.run_dir(run_id))  # where an earlier call was ended
        else:
            chosen.append(run_id)
    for start in range(0, len(chosen), _MOST_RUNS):
        _pack_some(study, chosen[start : start + _MOST_RUNS], packed)
    return packed


def unpack(study: Study, run_ids: Iterable[int]) -> int:
    """Bring the directories of packed runs back to where they were; how many."""
    back = []
    named = study.ask(lambda tables: [(i, tables.run(i).get(ARCHIVE)) for i in run_ids])
    for run_id, name in named:
        if name is None or study.run_dir(run_id).exists():
            continue
        _reader(archives_dir(study) / name).extract(run_id, study.run_dir(run_id))
        back.append(run_id)
    reached("archive.unpacked")
    _tell(study, back, None)
    return len(back)


def unpacked(study: Study, run_id: int, archive: str, cache: Path) -> Path:
    """A directory with the files of a packed run, to be read; made when first asked for."""
    place = cache / archive.removesuffix(".zip") / f"run-{run_id}"
    if not place.exists():
        _reader(archives_dir(study) / archive).extract(run_id, place)
    return place


def _pack_some(study: Study, run_ids: list[int], packed: Packed) -> None:
    directory = archives_dir(study)
    directory.mkdir(parents=True, exist_ok=True)
    numbers = [int(p.stem.removeprefix("archive-")) for p in directory.glob("archive-*.zip")]
    file = directory / f"archive-{max(numbers, default=0) + 1}.zip"
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
                _add(archive, study.run_dir(run_id), f"run-{run_id}", packed)
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
    _tell(study, run_ids, file.name)
    reached("archive.told")
    for run_id in run_ids:
        shutil.rmtree(study.run_dir(run_id))
    packed.n_runs += len(run_ids)
    packed.n_bytes_packed += file.stat().st_size
    packed.archives += (file,)


def _rows(study: Study, run_ids: list[int]) -> str:
    from motoko.study.frame import frame

    with study.database.read() as tables:
        return str(frame(tables, run_ids, study.directory).to_csv())


def _tell(study: Study, run_ids: Sequence[int], archive: str | None) -> None:
    for start in range(0, len(run_ids), _RUNS_A_COMMIT):
        some = run_ids[start : start + _RUNS_A_COMMIT]
        study.database.write(partial(_set_archive, run_ids=some, archive=archive))


def _set_archive(tables: Tables, *, run_ids: Sequence[int], archive: str | None) -> None:
    for run_id in run_ids:
        tables.update_run(run_id, {ARCHIVE: archive}, is_decided=True)


def _add(archive: zipfile.ZipFile, directory: Path, name: str, packed: Packed) -> None:
    """Add a directory with all below it; sockets and the like, which nobody could read, stay
    out."""
    found = directory.lstat()
    archive.writestr(_info(f"{name}/", found), b"")
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            inside = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                _add(archive, Path(entry.path), inside, packed)
                continue
            found = entry.stat(follow_symlinks=False)
            info = _info(inside, found)
            if entry.is_symlink():
                archive.writestr(info, os.fsencode(Path(entry.path).readlink()))
            elif entry.is_file(follow_symlinks=False):
                info.compress_type = zipfile.ZIP_DEFLATED
                with open(entry.path, "rb") as source, archive.open(info, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                packed.n_files += 1
                packed.n_bytes += found.st_size


def _info(name: str, found: os.stat_result) -> zipfile.ZipInfo:
    when = time.localtime(found.st_mtime)[:6]
    info = zipfile.ZipInfo(name, max(when, _OLDEST))
    info.external_attr = found.st_mode << 16
    info.file_size = found.st_size
    return info


def _packed_in(file: Path) -> Collection[int]:
    try:
        return _reader(file).runs.keys()
    except (OSError, ArchiveDamaged):
        return ()


def _reader(file: Path) -> _Reader:
    """An archive that is open; its list of files was read once. ArchiveDamaged if it cannot."""
    try:
        found = file.stat()
        return _known_reader(file, found.st_mtime_ns, found.st_size)
    except (zipfile.BadZipFile, EOFError, FileNotFoundError) as error:
        raise ArchiveDamaged(str(file), str(error)) from error


@lru_cache(maxsize=4)
def _known_reader(file: Path, mtime_ns: int, size: int) -> _Reader:
    return _Reader(file)


class _Reader:
    """The runs in an archive."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._archive = zipfile.ZipFile(file)
        #: What there is of each run.
        self.runs: dict[int, list[zipfile.ZipInfo]] = {}
        for info in self._archive.infolist():
            number = info.filename.partition("/")[0].removeprefix("run-")
            if info.filename.startswith("run-") and number.isdecimal():
                self.runs.setdefault(int(number), []).append(info)

    def extract(self, run_id: int, place: Path) -> None:
        """Put a run's directory into a place that is not there yet, in one step."""
        if run_id not in self.runs:
            raise ArchiveDamaged(str(self._file), f"has no run-{run_id}")
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            for info in self.runs[run_id]:
                _extract_one(self._archive, info, aside, info.filename.partition("/")[2])
            aside.replace(place)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ArchiveDamaged(str(self._file), str(error)) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _extract_one(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: Path, name: str
) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise ArchiveDamaged(str(archive.filename), f"{info.filename} leads out of its run")
    mode = info.external_attr >> 16
    target = place / name
    if info.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
    elif stat.S_ISLNK(mode):
        target.symlink_to(os.fsdecode(archive.read(info)))
    else:
        with archive.open(info) as source, open(target, "xb") as written:
            shutil.copyfileobj(source, written, 1 << 20)
        target.chmod(stat.S_IMODE(mode))
