"""Who a process is, so that another one can say later whether it is still there."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import time
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


# No process lives longer than the system: read once.
_boot_id: list[str] = []
#: What opening a file fails with when the process or the system has no room for it: unknown is
#: not gone.
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: What locking a file fails with where the file system has no locks.
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def in_words(error: OSError) -> str:
    """What the system has refused, with the limit that was reached and what raises it."""
    text = error.strerror or str(error)
    if error.errno == errno.EMFILE:
        limit, pid = resource.getrlimit(resource.RLIMIT_NOFILE)[0], os.getpid()
        text += (
            f": process {pid} may have no more than {limit} open; `prlimit --pid {pid}"
            f" --nofile={max(1024, 2 * limit)}` raises that while it runs, `ulimit -n` before"
        )
    elif error.errno == errno.ENFILE:
        text += ": so it is for the whole system; `sysctl fs.file-max` shows its limit"
    return text


def host_name() -> str:
    """The name of this host, as ``$HOSTNAME`` of a shell has it."""
    return os.uname().nodename


def boot_id() -> str:
    """An id that changes with each start of the system; empty where there is none."""
    if not _boot_id:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                _boot_id.append(file.read().strip())
        except FileNotFoundError:
            return ""
    return _boot_id[0]


def boot_clock() -> float:
    """Seconds since the system was started, in which nobody sets a clock: all processes of a
    boot read the same, and it goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def awake_clock() -> float:
    """Seconds of the same kind, in which no machine was asleep: as long as processes of this
    one have had to execute, whoever reads it, and what timers wait by."""
    return time.monotonic()


def process_start_time(pid: int) -> Optional[int]:
    """When the process started, in clock ticks since boot; None when it cannot be told.

    Together with the host's boot id this tells a process from a later one of the same pid.
    """
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def is_alive(pid: int, start_time: Optional[int] = None) -> bool:
    """Whether the process is there, and is the one that started then; a zombie is not."""
    fields = _stat(pid)
    if fields:
        return fields[0] not in ("Z", "X") and start_time in (None, int(fields[19]))
    if os.path.exists("/proc/self/stat") or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class Kin(namedtuple("Kin", ["group", "session", "start_time"])):
    """The group and the session that a process is in, and when it started: in clock ticks
    since boot."""

    __slots__ = ()


def process_kin(pid: int) -> Optional[Kin]:
    """Of a process that is there; None for none, and for a zombie."""
    fields = _stat(pid)
    if not fields or fields[0] in ("Z", "X"):
        return None
    return Kin(int(fields[2]), int(fields[3]), int(fields[19]))


def is_stopped(pid: int) -> bool:
    """Whether the process is there and does nothing until it is told to go on (SIGCONT)."""
    fields = _stat(pid)
    return bool(fields) and fields[0] == "T"  # type: ignore[index]


def _stat(pid: int) -> Optional[list[str]]:
    # Fields from the third (state) on: the second is the program's name and may hold anything.
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].decode().split()
    except OSError as error:
        if error.errno in NO_ROOM:  # which says nothing of the process
            raise
        return None
    return fields if len(fields) > 19 else None


def lock(fd: int) -> None:
    """Lock a file for its descriptor alone, once nobody else has; not without locks there."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def is_locked(file: str) -> Optional[bool]:
    """Whether some process of this host holds an exclusive lock on a file; False without one.

    None where the file system has no locks. OSError when it cannot be told now.
    Asks with a shared lock on an opening of its own, which it holds for an instant.
    """
    try:
        fd = os.open(file, os.O_RDONLY)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    finally:
        os.close(fd)
    return False


def has_locks(directory: str) -> bool:
    """Whether the file system of a directory has locks."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in NO_LOCKS
    finally:
        os.close(fd)
    return True


def is_same(fd: int, file: str | os.PathLike[str]) -> bool:
    """Whether the file of that name is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(file))
    except FileNotFoundError:
        return False
