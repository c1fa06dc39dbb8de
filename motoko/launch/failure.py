"""Which class of failure an attempt belongs to."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from motoko.config.retry import APPLICATION, INFRASTRUCTURE, MEMORY, WALLTIME
from motoko.job.outcome import Outcome
from motoko.job.verdict import DIED

#: Errors of the system that another try in a while may not meet.
TRANSIENT: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ESTALE,
    }
)


#: Signals by which somebody ends a process from outside: whoever kills, or a host that goes
#: down. A program that runs into an error of its own ends by others.
_FROM_OUTSIDE: Final = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP})


def is_transient(error: OSError) -> bool:
    """Whether what failed may work in a while, with nothing changed by the user."""
    return error.errno in TRANSIENT


def classify(
    exit_code: int | None,
    *,
    timed_out: bool = False,
    out_of_memory: bool = False,
    is_hindered: bool = False,
    warned: bool = False,
) -> str:
    """The class of an attempt that failed; the exit code is None when nobody knows it.

    A script that somebody killed is a matter of infrastructure, whether a launcher was there to
    see it or not. A program that ended badly where it could not write (a full disk, a read-only
    one) may have failed for just that, and another try later may not. Who was warned that its
    walltime is nearly over, and did not end well after that, has ended for want of time. A code
    of 128 + SIGKILL is a shell's word for a program of its own that was killed.
    """
    if timed_out:
        return WALLTIME
    if out_of_memory and exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return MEMORY
    if warned:
        return WALLTIME
    if exit_code is None or exit_code in _FROM_OUTSIDE or is_hindered:
        return INFRASTRUCTURE
    return APPLICATION


def with_removal(cause: str | None, run_dir: str) -> str | None:
    """The cause of a failure; that its directory was removed under it, if it was."""
    try:
        os.stat(run_dir)
    except FileNotFoundError:
        gone = f"its directory {run_dir} was removed or renamed while it executed"
        return gone if cause in (None, DIED) else f"{cause}; {gone}"
    except OSError:
        pass
    return cause


def is_lost(attempt: Mapping[str, Any]) -> bool:
    """Whether nobody knows how an attempt ended, of which this is recorded, and an outcome that
    comes later says so: of work that was handed on, that of the script says nothing."""
    is_unknown = attempt.get("class") == INFRASTRUCTURE and attempt.get("exit_code") is None
    return is_unknown and not attempt.get("batch", {}).get("handed_on")


def late_words(left: Outcome) -> str:
    """That an attempt, which was given up, has ended like this."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(left.end))
    return f"after it was given up: it ended with exit code {left.exit} at {when}"


def signal_name(exit_code: int | None) -> str | None:
    """The signal that ended a process; None if it ended by itself."""
    if exit_code is None or exit_code >= 0:
        return None
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"


class MemoryKills:
    """Counts the processes that the system killed for want of memory, in this control group."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = _counter_file() if file is None else file
        self._n_seen = self._count()

    def has_new(self) -> bool:
        """Whether there was one since the last call; False where that cannot be known."""
        before, self._n_seen = self._n_seen, self._count()
        return self._n_seen > before

    def _count(self) -> int:
        if self._file is None:
            return 0
        try:
            words = self._file.read_text().split()
        except OSError:
            return 0
        counted = dict(zip(words[::2], words[1::2], strict=False))
        return int(counted.get("oom_kill", "0"))


def _counter_file() -> Path | None:
    for group_file, mount, name in (
        ("memory", "/sys/fs/cgroup/memory", "memory.oom_control"),
        ("", "/sys/fs/cgroup", "memory.events"),
    ):
        group = own_group(group_file)
        if group is not None:
            for directory in (Path(mount + group), Path(mount)):
                if (directory / name).is_file():
                    return directory / name
    return None


def own_group(controller: str) -> str | None:
    """The control group of this process: that of a version 1 controller, or ("") version 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controller in controllers.split(","):
            return group
    return None
