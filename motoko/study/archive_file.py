"""One archive: run directories in a zip file, written and read back."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from motoko.errors import ArchiveDamaged
from motoko.job.layout import RUN_FILE

_CHUNK = 1 << 20
#: The times that a zip file can say, here and everywhere: 1980 to 2107.
_OLDEST_S, _LATEST_S = 315_700_000, 4_354_700_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What damaged bytes are taken for when a zip file is read.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OverflowError)
#: What comes of names in it that cannot be those of one directory.
_MISFITS = (FileExistsError, IsADirectoryError, NotADirectoryError)


class Added(NamedTuple):
    """How many files were put into an archive, and of how many bytes."""

    n_files: int = 0
    n_bytes: int = 0


def add(archive: zipfile.ZipFile, directory: Path, name: str) -> Added:
    """Add a directory with all below it; sockets and the like, which nobody could read, stay
    out."""
    n_files = n_bytes = 0
    archive.writestr(_info(f"{name}/", directory.lstat()), b"")
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            inside = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                below = add(archive, Path(entry.path), inside)
                n_files, n_bytes = n_files + below.n_files, n_bytes + below.n_bytes
                continue
            found = entry.stat(follow_symlinks=False)
            info = _info(inside, found)
            if entry.is_symlink():
                archive.writestr(info, os.fsencode(Path(entry.path).readlink()))
            elif entry.is_file(follow_symlinks=False):
                info.compress_type = zipfile.ZIP_DEFLATED
                with open(entry.path, "rb") as source, archive.open(info, "w") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
                n_files, n_bytes = n_files + 1, n_bytes + found.st_size
    return Added(n_files, n_bytes)


def _info(name: str, found: os.stat_result) -> zipfile.ZipInfo:
    """How a file is entered; its comment has what a zip file cannot say: the time to the
    nanosecond, and the bytes of a name that is no UTF-8."""
    plain = name.encode("utf-8", "backslashreplace").decode("utf-8")
    when = time.localtime(min(max(found.st_mtime, _OLDEST_S), _LATEST_S))[:6]
    info = zipfile.ZipInfo(plain, when)
    info.external_attr = found.st_mode << 16
    info.file_size = found.st_size
    info.comment = b"%d" % found.st_mtime_ns
    if plain != name:
        info.comment += b" " + os.fsencode(name).hex().encode()
    return info


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a file in its run's directory; that of the directory itself is empty."""
    raw = info.comment.partition(b" ")[2]
    name = os.fsdecode(bytes.fromhex(raw.decode())) if raw else info.filename
    return name.partition("/")[2]


def _time_ns(info: zipfile.ZipInfo) -> int:
    raw = info.comment.partition(b" ")[0]
    if raw.removeprefix(b"-").isdigit():
        return int(raw)
    return int(time.mktime((*info.date_time, 0, 0, -1))) * 10**9


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """What shows that an archive is damaged is ArchiveDamaged."""
    try:
        yield
    except ArchiveDamaged:
        raise
    except _DAMAGE as error:
        raise ArchiveDamaged(str(file), str(error) or type(error).__name__) from error
    except OSError as error:  # a place in the file that there is not
        if error.errno != errno.EINVAL or error.filename is not None:
            raise
        raise ArchiveDamaged(str(file), str(error)) from error


def open_archive(file: Path) -> Archive:
    """An archive that is open; its list of files was read once. ArchiveDamaged if it cannot."""
    try:
        found = file.stat()
        return _known_reader(file, found.st_mtime_ns, found.st_size)
    except FileNotFoundError as error:
        raise ArchiveDamaged(str(file), str(error)) from error


@lru_cache(maxsize=4)
def _known_reader(file: Path, mtime_ns: int, size: int) -> Archive:
    with _named(file):
        return Archive(file)


# A process and those that it forks have one place in an open file, which each of them moves.
os.register_at_fork(after_in_child=_known_reader.cache_clear)


class Archive:
    """The runs in an archive. Whatever is asked raises ArchiveDamaged for one that is."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._archive = zipfile.ZipFile(file)
        #: Tells it from another one that has had its name.
        self.mark = f"{file.stat().st_mtime_ns:x}"
        #: What there is of each run.
        self.runs: dict[int, list[zipfile.ZipInfo]] = {}
        for info in self._archive.infolist():
            number = info.filename.partition("/")[0].removeprefix("run-")
            if info.compress_type not in _METHODS:
                raise ArchiveDamaged(str(file), f"{info.filename} is packed in another way")
            if info.filename.startswith("run-") and number.isdecimal():
                self.runs.setdefault(int(number), []).append(info)

    def extract(self, run_id: int, place: Path) -> None:
        """Put a run's directory into a place that is not there yet, in one step."""
        self._check_has(run_id)
        place.parent.mkdir(parents=True, exist_ok=True)
        # Other threads, too, may do this now.
        aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            with _named(self._file):
                try:
                    for info in self.runs[run_id]:
                        self._extract_one(info, aside)
                except _MISFITS as error:
                    raise ArchiveDamaged(str(self._file), str(error)) from error
            try:
                aside.replace(place)
            except OSError:
                if not place.is_dir():  # else another process was faster
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def is_all_in(self, run_id: int, place: Path) -> bool:
        """Whether a place has, by their names, all files that there are of a run."""
        with _named(self._file):
            names = [_name(info) for info in self.runs.get(run_id, ())]
        return all(os.path.lexists(place / name) for name in names)

    def facts(self, run_id: int) -> Mapping[str, Any]:
        """What a run's own file says; nothing if there is none that can be read."""
        self._check_has(run_id)
        with _named(self._file):
            try:
                raw = self._archive.read(f"run-{run_id}/{RUN_FILE}")
            except KeyError:
                return {}
        try:
            facts = json.loads(raw)
        except (ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def _check_has(self, run_id: int) -> None:
        if run_id not in self.runs:
            raise ArchiveDamaged(str(self._file), f"has no run-{run_id}")

    def has_all_of(self, run_id: int, directory: Path, *, trusts_times: bool = False) -> bool:
        """Whether all that lies in a directory is in here, as it is there. What has the same
        size and time is not read, if these are trusted."""
        with _named(self._file):
            known = {_name(info).rstrip("/"): info for info in self.runs.get(run_id, ())}
            return bool(known) and all(
                name in known and self._is(known[name], entry, trusts_times)
                for name, entry in _below(directory)
            )

    def _is(self, info: zipfile.ZipInfo, entry: os.DirEntry[str], trusts_times: bool) -> bool:
        found = entry.stat(follow_symlinks=False)
        if stat.S_IFMT(info.external_attr >> 16) != stat.S_IFMT(found.st_mode):
            return False
        if entry.is_symlink():
            return self._archive.read(info) == os.fsencode(Path(entry.path).readlink())
        if entry.is_dir(follow_symlinks=False):
            return True
        if info.file_size != found.st_size:
            return False
        if trusts_times and found.st_mtime_ns == _time_ns(info):
            return True
        with self._archive.open(info) as packed, open(entry.path, "rb") as there:
            while chunk := there.read(_CHUNK):
                if packed.read(len(chunk)) != chunk:
                    return False
            return not packed.read(1)

    def _extract_one(self, info: zipfile.ZipInfo, place: Path) -> None:
        name = _name(info)
        if name.startswith("/") or ".." in name.split("/"):
            raise ArchiveDamaged(str(self._file), f"{info.filename} leads out of its run")
        mode = info.external_attr >> 16
        target = place / name
        if info.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            target.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(mode):
            target.symlink_to(os.fsdecode(self._archive.read(info)))
            return
        with self._archive.open(info) as source, open(target, "xb") as written:
            shutil.copyfileobj(source, written, _CHUNK)
        when = _time_ns(info)
        os.utime(target, ns=(when, when))
        target.chmod(stat.S_IMODE(mode))


def _below(directory: Path, above: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All that a directory has and that can be packed, with its name as seen from there."""
    with os.scandir(directory) as entries:
        for entry in entries:
            is_dir = entry.is_dir(follow_symlinks=False)
            if is_dir or entry.is_symlink() or entry.is_file():
                yield f"{above}{entry.name}", entry
            if is_dir:
                yield from _below(Path(entry.path), f"{above}{entry.name}/")
