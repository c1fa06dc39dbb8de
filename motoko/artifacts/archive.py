"""Artifacts in one file, to be unpacked elsewhere."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from motoko.artifacts.content import Content, Hashed, Listing, below
from motoko.artifacts.manifest import MANIFEST, Artifact, encoded
from motoko.errors import UnknownArchive

_COMPRESSION = {
    ".tar": "",
    ".tar.gz": "gz",
    ".tgz": "gz",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
}


class Archive:
    """A new tar file of one directory, which is a store."""

    def __init__(self, tar: tarfile.TarFile, top: str) -> None:
        self._tar = tar
        self._top = top

    def add_manifest(self, artifacts: Sequence[Artifact]) -> None:
        """Say which artifacts there are."""
        manifest = encoded(artifacts)
        member = tarfile.TarInfo(f"{self._top}/{MANIFEST}")
        member.size = len(manifest)
        self._tar.addfile(member, io.BytesIO(manifest))

    def add(self, path: Path, name: str) -> Content:
        """Add the data of an artifact; what they were when they were added."""
        if not path.is_dir():
            return self._add_file(path, name)
        listing = Listing()
        self._add_other(path, name)
        for found, inner in below(path):
            if listing.add(found, inner):
                listing.add_file(inner, self._add_file(found, f"{name}/{inner}"))
            else:
                self._add_other(found, f"{name}/{inner}")
        return listing.content()

    def _add_file(self, path: Path, name: str) -> Content:
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            member = tarfile.TarInfo(f"{self._top}/{name}")
            member.size, member.mode = facts.st_size, facts.st_mode & 0o7777
            member.mtime = facts.st_mtime
            hashed = Hashed(file)
            self._tar.addfile(member, hashed)
            hashed.read()  # what was added to it meanwhile makes it another one
            return hashed.content()

    def _add_other(self, path: Path, name: str) -> None:
        self._tar.add(path, f"{self._top}/{name}", recursive=False, filter=_without_owner)


@contextmanager
def new_archive(file: Path) -> Iterator[Archive]:
    """A new archive, which is there when the block has come to its end, and not before.

    Its name says how it is compressed. FileExistsError, UnknownArchive.
    """
    suffix = next((s for s in _COMPRESSION if file.name.endswith(s)), None)
    if suffix is None:
        raise UnknownArchive(str(file), list(_COMPRESSION))
    if os.path.lexists(file):
        raise _taken(file)
    aside = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        with open(aside, "xb") as opened:
            mode = f"w:{_COMPRESSION[suffix]}"
            with tarfile.open(fileobj=opened, mode=mode) as tar:  # type: ignore[call-overload]
                yield Archive(tar, file.name.removesuffix(suffix) or "artifacts")
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(aside, file)
        except FileExistsError:
            raise _taken(file) from None
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


def _taken(file: Path) -> FileExistsError:
    why = "is there already; an archive goes into a new file"
    return FileExistsError(errno.EEXIST, why, str(file))


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
