"""Files that are whole at every moment, and one writer at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from motoko.host import NO_LOCKS, is_same
from motoko.paths import local_lock_file

_LOOK_S = 0.01


def replace_file(
    file: Path,
    parts: Iterable[bytes],
    *,
    is_forced: bool = True,
    between: Callable[[], object] = lambda: None,
) -> None:
    """Put content under a name in one step: readers see the old or the new one, never a part.

    Only one writer at a time may do so, since the content is prepared under one other name;
    what a writer that died has left there is overwritten. Unless ``is_forced``, a machine that
    loses power may forget it. ``between`` is called when all is ready and nothing has changed.
    """
    aside = file.with_name(f".{file.name}.new")
    try:
        with open(aside, "wb", buffering=0) as opened:
            for part in parts:
                write_all(opened.fileno(), part)
            if is_forced:
                os.fsync(opened.fileno())
        between()
        os.replace(aside, file)
    except OSError as error:
        if error.filename != str(aside):
            raise
        raise OSError(error.errno, error.strerror, str(file)) from error  # nobody knows aside
    if is_forced:
        force_directory(file.parent)


def write_all(fd: int, content: bytes) -> None:
    """Write everything: in one call, unless the system takes only a part of it."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def force_file(file: Path) -> None:
    """Have the content of a file on disk, whoever wrote it."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def copy_file(source: Path | str, target: Path | str) -> None:
    """Copy content and time of a file, onto the disk."""
    shutil.copy2(source, target)
    force_file(Path(target))


def force_directory(directory: Path) -> None:
    """Have the names in a directory on disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def force_file_system(directory: Path) -> None:
    """Have all that was written to the file system of a directory on disk, and wait for no
    other one: that of a server that does not answer may never say it has done so."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):  # which is Linux's
        os.sync()
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(fd)


@contextmanager
def locked(file: Path, wait_s: float) -> Iterator[int]:
    """Inside the block nobody else is inside one with this file, which is made if needed.

    Gives its descriptor. Where the file system has no locks, this holds on one machine alone.
    Raises TimeoutError when the lock is not free within ``wait_s``. The file may be removed
    inside the block.
    """
    deadline = time.monotonic() + wait_s
    while True:
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        guard = fd
        try:
            guard = _lock(fd, file, deadline)
            if is_same(fd, file):
                yield fd
                return
        finally:
            os.close(fd)
            if guard != fd:
                os.close(guard)


def _lock(fd: int, file: Path, deadline: float) -> int:
    """Lock a descriptor, or one that stands for it where it cannot be; which one it is."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{file} is locked by another process") from None
            time.sleep(_LOOK_S)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            break
    other = os.open(local_lock_file(file), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return _lock(other, file, deadline)
    except BaseException:
        os.close(other)
        raise
