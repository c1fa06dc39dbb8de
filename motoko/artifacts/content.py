"""What artifacts consist of: copies that are hashed on their way, and digests of what is there.

The digest of a file is the SHA-256 of its content. That of a directory is the SHA-256 of a text
with a line for everything in it, sorted by path: ``file DIGEST PATH``, ``link TARGET PATH`` or
``dir - PATH``, where a backslash, a line feed and what is no UTF-8 are written as Python does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from motoko.durable import force_directory
from motoko.errors import PathOutside

_CHUNK = 1 << 20
#: So much is forced to disk at a time, so that nobody waits long who wants to stop.
_FORCED_AT_ONCE = 64 << 20

#: Called again and again while data are read and copied; what it raises ends that.
Meanwhile = Callable[[], object]


def go_on() -> None:
    """Nothing happens meanwhile."""


class Content(NamedTuple):
    """What was copied, or found: its digest and how many bytes of files it has."""

    sha256: str
    size: int


def copy_file(source: Path, target: Path, meanwhile: Meanwhile = go_on) -> Content:
    """Copy a file with its mode and modification time; on disk when this returns."""
    if source.exists() and not source.is_dir() and not _is_regular(source):
        raise PathOutside(str(source), _odd(source))
    mark = hashlib.sha256()
    size = 0
    with open(source, "rb") as read, open(target, "xb") as written:
        while chunk := read.read(_CHUNK):
            mark.update(chunk)
            size += len(chunk)
            written.write(chunk)
            if size % _FORCED_AT_ONCE == 0:
                os.fdatasync(written.fileno())
            meanwhile()
        written.flush()
        shutil.copystat(source, target)
        os.fsync(written.fileno())
    return Content(mark.hexdigest(), size)


def copy_dir(source: Path, target: Path, meanwhile: Meanwhile = go_on) -> Content:
    """Copy a directory and all that is in it; on disk when this returns.

    Links inside it stay links. A link that leads out of it to a file becomes that file's
    content; other links, and what is neither file nor directory, raise PathOutside.
    """
    listing = Listing()
    top = source.resolve()
    target.mkdir()
    for path, name in below(source):
        made = target / name
        if path.is_symlink() and _stays_inside(path, top):
            made.symlink_to(path.readlink())
            listing.add_link(name, path.readlink())
        elif path.is_dir() and not path.is_symlink():
            made.mkdir()
            listing.add_dir(name)
        elif _is_regular(path):
            listing.add_file(name, copy_file(path, made, meanwhile))
        else:
            raise PathOutside(str(path), _odd(path))
    for directory, _, _ in os.walk(target):
        force_directory(Path(directory))
    return listing.content()


def content_of(path: Path, meanwhile: Meanwhile = go_on) -> Content:
    """The digest of a file or a directory as it is now."""
    if not path.is_dir():
        return _content_of_file(path, meanwhile)
    listing = Listing()
    for found, name in below(path):
        if listing.add(found, name):
            listing.add_file(name, _content_of_file(found, meanwhile))
    return listing.content()


def remove(path: Path) -> None:
    """Remove a file or a directory with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _content_of_file(path: Path, meanwhile: Meanwhile) -> Content:
    with open(path, "rb") as file:
        hashed = Hashed(file)
        while hashed.read(_CHUNK):
            meanwhile()
        return hashed.content()


class Hashed:
    """A file that is read once, and what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._mark = hashlib.sha256()
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or less at its end."""
        chunk = self._file.read(size)
        self._mark.update(chunk)
        self._size += len(chunk)
        return chunk

    def content(self) -> Content:
        """What was read."""
        return Content(self._mark.hexdigest(), self._size)


class Listing:
    """The text that the digest of a directory is taken of."""

    def __init__(self) -> None:
        self._lines: list[tuple[bytes, bytes]] = []
        self._size = 0

    def add(self, path: Path, name: Path) -> bool:
        """Add what lies there; whether it is a file, for `add_file`."""
        if path.is_symlink():
            self.add_link(name, path.readlink())
        elif path.is_dir():
            self.add_dir(name)
        elif _is_regular(path):
            return True
        else:
            self._add("odd", "-", name)
        return False

    def add_file(self, name: Path, content: Content) -> None:
        """Add a file."""
        self._add("file", content.sha256, name)
        self._size += content.size

    def add_link(self, name: Path, target: Path) -> None:
        """Add a link."""
        self._add("link", _escaped(str(target)), name)

    def add_dir(self, name: Path) -> None:
        """Add a directory, without what is in it."""
        self._add("dir", "-", name)

    def _add(self, kind: str, mark: str, name: Path) -> None:
        path = _escaped(name.as_posix())
        self._lines.append((os.fsencode(name), f"{kind} {mark} {path}\n".encode()))

    def content(self) -> Content:
        """What it all amounts to."""
        lines = b"".join(line for _, line in sorted(self._lines))
        return Content(hashlib.sha256(lines).hexdigest(), self._size)


def _escaped(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace("\n", "\\n")
    return plain.encode("utf-8", "backslashreplace").decode()


def below(directory: Path) -> Iterator[tuple[Path, Path]]:
    """All that is in a directory, at any depth: its path, and that from the directory on."""
    waiting = [Path()]
    while waiting:
        name = waiting.pop()
        with os.scandir(directory / name) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                found = name / entry.name
                yield directory / found, found
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(found)


def _stays_inside(link: Path, top: Path) -> bool:
    """Whether a link leads to something inside, and would from another place too."""
    is_relative = not link.readlink().is_absolute()
    return is_relative and link.exists() and link.resolve().is_relative_to(top)


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _odd(path: Path) -> str:
    if not path.is_symlink():
        return "is neither a file nor a directory, and cannot be kept"
    if path.exists():
        return f"is a link to {path.readlink()}, which is no file inside; copy it there first"
    return f"is a link to {path.readlink()}, which leads nowhere; remove it first"
