"""Which code runs are made with: all files of their study, the commit, the interpreter.

It is part of the manifest that a run refers to, so that a run costs nothing more. What is long
(the digests of the files, the packages of the interpreter) lies in ``.bd/code``, once for each
content. Files of a study are looked at when those that runs are given have changed, and
every few seconds else, by whoever makes a run: that is a `stat` of each, and reading few small
ones that are new. What takes longer (git, many files) threads do, for the looks to come.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

from motoko.study.commit import Difference, find_commit
from motoko.study.files import FileStore, content_digest, digest_of
from motoko.study.remembered import Remembered, State, read_object, state_of

#: Digests of files that have not changed since, beside the database.
_KNOWN = "digests.json"
#: What is kept of versions, each content once.
CODE = "code"
_LOOK_S = 10.0
#: How much of the time may be spent with looking at files, where that is slow.
_SHARE = 0.02
#: Of a study with more files, or with files that change again and again, the rest is not told.
_MOST_FILES = 2000
_MOST_ENTRIES = 10_000
_MOST_VERSIONS = 200
#: A larger file is data: of it only its size and the time of its last change are told.
_LARGEST = 1 << 20
#: What one look reads at most, a file counting as some size at least; a thread reads the rest.
_MOST_READ = 16 << 20
_LEAST = 1 << 16

Digests = dict[str, str]


class Versions:
    """The present code of one study."""

    def __init__(self, directory: Path, state_dir: Path) -> None:
        self._directory = directory
        self._digests = Remembered(state_dir / _KNOWN)
        self._store = FileStore(state_dir / CODE)
        self._difference = Difference(directory)
        self._last: dict[str, Any] = {}
        self._made: dict[str, dict[str, Any]] = {}
        self._given = ""
        self._due = 0.0
        self._seen: set[str] = set()
        self._reader: threading.Thread | None = None

    def with_code(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest of a run that is made now, with the code around its files."""
        given = manifest["key"]
        begun = time.monotonic()
        if begun >= self._due or given != self._given:
            self._given = given
            self._last = self._look()
            ended = time.monotonic()
            self._due = ended + max(_LOOK_S, (ended - begun) / _SHARE)
            self._made.clear()
        made = self._made.get(given)
        if made is None:
            content = f"{given} {json.dumps(self._last, sort_keys=True)}".encode()
            key = hashlib.blake2b(content, digest_size=10).hexdigest()
            made = self._made[given] = {**manifest, "key": key, "code": self._last}
        return made

    def look_ahead(self) -> None:
        """Have a thread find out what the first look would else have to."""
        self._start(self._read_ahead)

    def _look(self) -> dict[str, Any]:
        present, n_left = self._present(_MOST_READ)
        self._digests.save(present.keys())
        if n_left:
            self._start(self._read_ahead)
        content = _plain(present)
        files = digest_of(content)
        found: dict[str, Any] = {}
        if files in self._seen or len(self._seen) < _MOST_VERSIONS:
            self._seen.add(files)
            found["files"] = self._store.keep_content(content)
        found["python"] = self._store.keep_content(_plain(interpreter()))
        commit = find_commit(self._directory)
        if commit is not None:
            found["commit"] = commit
            is_changed = self._difference.of(files, commit)
            if is_changed is not None:
                found["is_changed"] = is_changed
        return found

    def _present(self, most_read: float) -> tuple[Digests, int]:
        """What the study's files are now, by their names, and of how many that would be a
        digest but for what was to be read; of these and of large ones it is size and time.
        Those that cannot be looked at are left out."""
        found: Digests = {}
        n_read = n_left = 0
        for name, entry in _files(self._directory):
            with suppress(OSError):
                status = entry.stat()
                state = state_of(status)
                digest = self._digests.get(name, state)
                if digest is None and status.st_size <= _LARGEST:
                    n_read += max(status.st_size, _LEAST)
                    if n_read <= most_read:
                        digest = self._read(name, state)
                    else:
                        n_left += 1
                found[name] = _by_state(state) if digest is None else digest
        return found, n_left

    def _start(self, work: Callable[[], None]) -> None:
        if self._reader is None or not self._reader.is_alive():
            self._reader = threading.Thread(target=work, name="digests", daemon=True)
            self._reader.start()

    def _read_ahead(self) -> None:
        present, _ = self._present(inf)
        self._digests.save(present.keys())
        commit = find_commit(self._directory)
        if commit is not None:
            self._difference.of(digest_of(_plain(present)), commit)

    def _read(self, name: str, state: State) -> str:
        digest = content_digest(self._directory / name)
        self._digests.put(name, state, digest)
        return digest

    def stored(self, code: Mapping[str, Any], part: str) -> dict[str, Any]:
        """The files, or the interpreter, that a manifest refers to; empty if that is lost, or
        nobody else may read it."""
        return read_object(self._store.path(str(code.get(part, "none"))))

    def changed_since(self, code: Mapping[str, Any] | None) -> list[str]:
        """Names of the files that are not any more what they were; new ones do not count.

        Only those are read that have another time than when they were read last, and the size
        that they had then.
        """
        before = self.stored(code or {}, "files")
        changed = [name for name, was in before.items() if not self._is_still(name, was)]
        self._digests.save()
        return changed

    def _is_still(self, name: str, was: str) -> bool:
        """Whether a file is what it was: a digest, or its size and time."""
        try:
            status = (self._directory / name).stat()
            state = state_of(status)
            if not stat.S_ISREG(status.st_mode):
                return False
            if was == _by_state(state):
                return True
            if " " in was:
                return False
            read = self._digests.last(name)
            if read is not None and read[0] == state:
                return bool(read[1] == was)
            has_other_size = read is not None and read[1] == was and read[0][1] != state[1]
            if has_other_size or status.st_size > _LARGEST:
                return False
            return self._read(name, state) == was
        except OSError:
            return False


def _by_state(state: State) -> str:
    """What is told of a file whose content is not read."""
    return f"{state[1]} bytes of {state[0]}"


def _files(directory: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The files of a study by their names in it, as many as are told at most: neither hidden
    directories, nor what runs have left."""
    n_files, n_entries = _MOST_FILES, _MOST_ENTRIES
    left = [""]
    while left and n_files and n_entries:
        place = left.pop(0)
        try:
            with os.scandir(directory / place) as entries:
                found = sorted(islice(entries, n_entries), key=lambda one: one.name)
        except OSError:
            continue
        n_entries -= len(found)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if not _is_left_out(entry.name):
                    left.append(f"{place}{entry.name}/")
            elif n_files and _is_file(entry):
                n_files -= 1
                yield f"{place}{entry.name}", entry


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _is_left_out(name: str) -> bool:
    is_of_runs = name.startswith("BD-") and name.endswith(("-runs", "-archives"))
    return is_of_runs or name.startswith((".", "motoko-backup-")) or name == "__pycache__"


@cache
def interpreter() -> dict[str, Any]:
    """The present Python and its packages."""
    packages: dict[str, str] = {}
    for place in sys.path:
        with suppress(OSError):
            for name in os.listdir(place or "."):
                if name.endswith((".dist-info", ".egg-info")):
                    project, _, version = name.rpartition(".")[0].partition("-")
                    packages.setdefault(project, version.partition("-py")[0])
    return {
        "version": sys.version.split()[0],
        "executable": sys.executable,
        "packages": dict(sorted(packages.items())),
    }


def _plain(value: Any) -> bytes:
    return json.dumps(value).encode()
