"""Artifacts in one file, to be unpacked elsewhere."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from motoko.artifacts.manifest import MANIFEST, Artifact, encoded

_COMPRESSION = {".gz": "gz", ".tgz": "gz", ".xz": "xz", ".bz2": "bz2"}


def write_archive(
    archive: Path, artifacts: Sequence[Artifact], places: Mapping[str, Path]
) -> Path:
    """Write a new tar file of one directory, which is a store; ``places`` by name.

    The same artifacts give the same members. FileExistsError.
    """
    top = archive.name.split(".")[0] or "artifacts"
    aside = archive.with_name(f".{archive.name}.{os.getpid()}.new")
    try:
        with open(aside, "xb") as file:
            mode = f"w:{_COMPRESSION.get(archive.suffix, '')}"
            with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]
                manifest = encoded(artifacts)
                member = tarfile.TarInfo(f"{top}/{MANIFEST}")
                member.size = len(manifest)
                tar.addfile(member, io.BytesIO(manifest))
                for artifact in artifacts:
                    name = f"{top}/{artifact.path}"
                    tar.add(places[artifact.name], name, filter=_without_owner)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, archive)
        except FileExistsError:
            why = "is there already; an archive goes into a new file"
            raise FileExistsError(errno.EEXIST, why, str(archive)) from None
    finally:
        aside.unlink(missing_ok=True)
    return archive


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
