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
from contextlib import ExitStack, contextmanager
from pathlib import Path

from motoko.durable import locked
from motoko.errors import AlreadyRunning
from motoko.host import host_name, is_locked
from motoko.paths import local_lock_file
from motoko.study.study import Study

#: How long another one who is just about to be done is waited for.
_PATIENCE_S = 5.0


@contextmanager
def cleaning(study: Study) -> Iterator[None]:
    """Be the one who moves run directories of this study; AlreadyRunning if another one is."""
    file = _file(study)
    with ExitStack() as held:
        try:
            fd = held.enter_context(locked(file, _PATIENCE_S))
        except TimeoutError:
            owner = file.read_text(errors="replace").strip()
            what = f"a command that moves run directories of study {study.name!r}"
            raise AlreadyRunning(what, owner or "another process") from None
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(fd, 0)
        os.write(fd, f"process {os.getpid()} on {host_name()}, since {since}\n".encode())
        yield


def check_not_cleaned(study: Study) -> None:
    """OSError (EAGAIN) while somebody moves run directories of this study."""
    file = _file(study)
    is_cleaned = is_locked(str(file))
    if is_cleaned is None:
        is_cleaned = is_locked(str(local_lock_file(file)))
    if is_cleaned:
        raise OSError(errno.EAGAIN, "its study is being cleaned", str(file))


def _file(study: Study) -> Path:
    return study.state_dir / "cleaning.lock"
