"""Processes of an attempt that outlived its first one, found by the token they hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from motoko.job import layout

_RUN = "run-"


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


def find_held(runs_dir: str) -> set[tuple[int, int]]:
    """Run and number of the attempts, in run directories here, that `find_holders` finds
    processes of: asked of the processes, of which there are fewer than runs."""
    found: set[tuple[int, int]] = set()
    start = str(Path(runs_dir).resolve() / _RUN)
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        with suppress(OSError):  # gone, or another user's
            for fd in Path("/proc", pid, "fd").iterdir():
                target = str(fd.readlink())
                if target.startswith(start) and _is_writable(int(pid), fd.name):
                    found.update(_tokens(Path(target).parent, fd.stat()))
    return found


def _tokens(run_dir: Path, wanted: os.stat_result) -> Iterator[tuple[int, int]]:
    """The run and the attempt whose token this is, if it is one."""
    run_id = run_dir.name.removeprefix(_RUN)
    prefix = f"{layout.PREFIX}token-"
    for file in run_dir.iterdir():
        number = file.name.removeprefix(prefix)
        if file.name.startswith(prefix) and number.isdecimal() and run_id.isdecimal():
            status = file.stat()
            if (status.st_ino, status.st_dev) == (wanted.st_ino, wanted.st_dev):
                yield int(run_id), int(number)


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
