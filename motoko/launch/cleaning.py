"""Keeping a launcher out of run directories while these are moved away.

Whoever moves them holds a lock on a file beside the study's database from before it looks at
the runs until it is done. A launcher that claims a run meanwhile finds its old directory and
the lock, and waits. The lock of a process that died is free: what it had not moved yet is set
aside by the launcher, or moved by the next one that cleans.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from motoko.errors import AlreadyRunning
from motoko.host import host_name, is_locked, try_lock
from motoko.study.study import Study

#: How long another one who is just about to be done is waited for.
_PATIENCE_S = 5.0
_PAUSE_S = 0.05


@contextmanager
def cleaning(study: Study) -> Iterator[None]:
    """Be the one who moves run directories of this study; AlreadyRunning if another one is."""
    fd = os.open(_file(study), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not try_lock(fd):
            if time.monotonic() > deadline:
                owner = os.pread(fd, 1000, 0).decode(errors="replace").strip()
                what = f"a command that moves run directories of study {study.name!r}"
                raise AlreadyRunning(what, owner or "another process")
            time.sleep(_PAUSE_S)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()} on {host_name()}, since {since}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def check_not_cleaned(study: Study) -> None:
    """OSError (EAGAIN) while somebody moves run directories of this study."""
    if is_locked(_file(study)):
        raise OSError(errno.EAGAIN, "its study is being cleaned", _file(study))


def _file(study: Study) -> str:
    return str(study.state_dir / "cleaning.lock")
