"""Copies of packed run directories, which are made to be read and given up again.

They lie in a private directory of this machine, by study and archive, and stay for whoever asks
again; one that lacks a file is made anew. What was not asked for in the last hour goes when all
of them together have become too large, the longest unused first, and when it was not asked for
in a week. Nobody looks at each one that is made: there may be more for a while.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from motoko.paths import private_directory
from motoko.study import moving
from motoko.study.archive_file import Archive, open_archive

#: All copies together may have so many bytes on the disk.
MOST_BYTES = 2 << 30
#: Somebody may still read what was asked for in this time.
_IN_USE_S = 3600.0
_UNUSED_S = 7 * 24 * 3600.0
#: Of so many copies is remembered that they are whole.
_MOST_REMEMBERED = 10_000
#: Modified when somebody has last looked whether there are too many.
_LOOKED = "looked"
_REMOVED = ".removed"


class Copy(NamedTuple):
    """The copy of one run."""

    used: float
    place: Path


def copy_of(study_dir: Path, archive: Path, run_id: int) -> Path:
    """A directory with the files of a packed run, to be read; made when first asked for.
    ArchiveDamaged when its archive cannot be read."""
    reader = open_archive(archive)
    place = _place_of(study_dir) / f"{archive.stem}-{reader.mark}" / f"run-{run_id}"
    with suppress(FileNotFoundError):
        os.utime(place)
        if _keeper(_all_copies()).is_whole(place, reader, run_id):
            return place
        _remove(place)
    reader.extract(run_id, place)
    os.utime(place)
    with suppress(OSError):  # it is there to be read, whatever becomes of others
        _keeper(_all_copies()).note(sum(info.file_size for info in reader.runs[run_id]))
    return place


def drop(study_dir: Path) -> int:
    """Remove all copies of a study's runs; how many."""
    copies = list(_below(_place_of(study_dir)))
    for copy in copies:
        _remove(copy.place)
    shutil.rmtree(_place_of(study_dir), ignore_errors=True)
    return len(copies)


class Keeper:
    """Sees to it that copies are whole, and not too many."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._n_bytes_new = 0
        #: The copies that were seen to be whole: which it was, and in which hour.
        self._whole: dict[Path, tuple[int, float]] = {}

    def is_whole(self, place: Path, reader: Archive, run_id: int) -> bool:
        """Whether a copy still has all its files, which is looked at once an hour: who cleans
        up among temporary files removes, one by one, what nobody has read for days."""
        seen = place.stat().st_ino, time.time() // _IN_USE_S
        if self._whole.get(place) == seen:
            return True
        if not reader.is_all_in(run_id, place):
            return False
        if len(self._whole) >= _MOST_REMEMBERED:
            self._whole.clear()
        self._whole[place] = seen
        return True

    def note(self, n_bytes: int) -> None:
        """A copy was made that has so many bytes."""
        self._n_bytes_new += n_bytes
        try:
            looked = (self._directory / _LOOKED).stat().st_mtime
        except FileNotFoundError:
            looked = 0.0
        if self._n_bytes_new > MOST_BYTES // 10 or abs(time.time() - looked) > _IN_USE_S:
            self._n_bytes_new = 0
            (self._directory / _LOOKED).touch()
            self.bound(time.time())

    def bound(self, now: float) -> None:
        """Remove what is too old, and what is too much."""
        sizes = {}
        for study in _directories(self._directory):
            for copy in _below(study):
                if now - copy.used > _UNUSED_S:
                    _give_up(copy)
                    continue
                with suppress(FileNotFoundError):  # another process removes it too
                    sizes[copy] = _n_bytes(copy.place)
        n_bytes = sum(sizes.values())
        for copy in sorted(sizes):
            if n_bytes <= MOST_BYTES or now - copy.used < _IN_USE_S:
                break
            if _give_up(copy):
                n_bytes -= sizes[copy]


def _all_copies() -> Path:
    return private_directory(is_for_data=True) / "unpacked"


def _place_of(study_dir: Path) -> Path:
    return _all_copies() / blake2b(os.fsencode(study_dir), digest_size=8).hexdigest()


@lru_cache(maxsize=4)
def _keeper(directory: Path) -> Keeper:
    return Keeper(directory)


def _below(study: Path) -> Iterator[Copy]:
    """The copies of one study; with them what was left of some by who was killed."""
    for archive in _directories(study):
        for place in _directories(archive):
            with suppress(FileNotFoundError):
                yield Copy(place.stat().st_mtime, place)


def _directories(place: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(place) if entry.is_dir()]
    except FileNotFoundError:
        return []


def _n_bytes(place: Path) -> int:
    """What files take on the disk."""
    return sum(
        Path(directory, name).lstat().st_blocks * 512
        for directory, _, names in os.walk(place)
        for name in names
    )


def _give_up(copy: Copy) -> bool:
    """Remove a copy, unless somebody has asked for it meanwhile; whether it is gone."""
    with suppress(FileNotFoundError):
        if copy.place.stat().st_mtime != copy.used:
            return False
        _remove(copy.place)
    return True


def _remove(place: Path) -> None:
    """Remove a copy, of which nobody ever finds a part in its place."""
    aside = place.with_name(f".{place.name}.{os.getpid()}{_REMOVED}")
    with suppress(FileNotFoundError):
        place.rename(aside)
        moving.remove(aside)
