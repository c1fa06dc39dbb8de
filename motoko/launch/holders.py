"""Processes of an attempt that outlived its first one, found by the token they hold."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from motoko.job import layout


def find_holders(run_dir: str, attempt: int) -> list[int]:
    """Ids of the processes of this user here that have inherited the attempt's token.

    Theirs is open for writing; somebody who merely reads the file is none of them.
    """
    try:
        wanted = os.stat(layout.token_file(run_dir, attempt))
    except OSError:
        return []
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _has_open(pid, wanted)]


def end_holders(run_dir: str, attempt: int, number: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal to all of them; how many there were."""
    pids = find_holders(run_dir, attempt)
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return len(pids)


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                found = os.stat(f"/proc/{pid}/fd/{fd}")
                is_token = (found.st_ino, found.st_dev) == (wanted.st_ino, wanted.st_dev)
                if is_token and _is_writable(pid, fd):
                    return True
    except OSError:
        pass  # gone, or another user's
    return False


def _is_writable(pid: int, fd: str) -> bool:
    for line in Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False
