"""A directory in a file system that has no locks."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest


def refuse_locks(
    place: Path, monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSYS
) -> None:
    """Have locks in a directory, or of a file, fail as in a file system without them."""
    flock = fcntl.flock

    def refuse(fd: Any, how: int) -> None:
        opened = fd if isinstance(fd, int) else fd.fileno()
        if Path(f"/proc/self/fd/{opened}").readlink().is_relative_to(place):
            raise OSError(number, os.strerror(number))
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", refuse)
