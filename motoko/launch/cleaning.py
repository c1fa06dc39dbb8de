"""Keeping a launcher out of run directories while these are moved away.

Whoever moves them holds a lock on a file beside the study's database from before it looks at
the runs until it is done. A launcher that claims a run meanwhile finds its old directory and
the lock, and waits. The lock of a process that died is free: what it had not moved yet is set
aside by the launcher, or moved by the next one that cleans.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from motoko.host import is_locked, lock
from motoko.study.study import Study


@contextmanager
def cleaning(study: Study) -> Iterator[None]:
    """Be the one who moves run directories of this study; waits for another such one."""
    fd = os.open(_file(study), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        lock(fd)
        yield
    finally:
        os.close(fd)


def check_not_cleaned(study: Study) -> None:
    """OSError (EAGAIN) while somebody moves run directories of this study."""
    if is_locked(_file(study)):
        raise OSError(errno.EAGAIN, "its study is being cleaned", _file(study))


def _file(study: Study) -> str:
    return str(study.state_dir / "cleaning.lock")
