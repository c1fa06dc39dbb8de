"""Processes that a call of a batch has left behind, found by what they have inherited from it.

What it has forked has its file open. What was started anew has no file of it any more, as
Python's ``subprocess`` closes all, but was told its id in the environment.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from motoko.host import NO_ROOM
from motoko.job.holders import find_writers

__all__ = ["end", "find_writers", "told"]

#: In the environment of what a batch starts: the ids of the calls that it belongs to.
VARIABLE = "MOTOKO_BATCH"
_LOOK_S = 0.01


@contextmanager
def told(call_id: str) -> Iterator[None]:
    """Inside the block all that this process starts is told the id.

    Workers start programs as they like, and may be called in this very process: nothing but
    its environment reaches them all.
    """
    _tell([*_ids(os.environ.get(VARIABLE, "")), call_id])
    try:
        yield
    finally:
        _tell([one for one in _ids(os.environ.get(VARIABLE, "")) if one != call_id])


def end(call_id: str, file: Path, wait_s: float) -> None:
    """Kill all that was told the id, or has the file open for writing, but for this process and
    those that it comes from. TimeoutError if some are still there after ``wait_s``."""
    deadline = time.monotonic() + wait_s
    spared = {os.getpid(), *_ancestors()}
    while found := {*find_writers(file), *_find_told(call_id)} - spared:
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(found)} cannot be ended")
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_S)


def _find_told(call_id: str) -> Iterator[int]:
    start = f"{VARIABLE}=".encode()
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError as error:
            if error.errno in NO_ROOM:  # which says nothing of the process
                raise
            continue  # gone, or another user's
        told_ids = (v[len(start) :].decode("latin-1") for v in variables if v.startswith(start))
        if any(call_id in _ids(ids) for ids in told_ids):
            yield pid


def _ancestors() -> Iterator[int]:
    pid = os.getppid()
    while pid > 1:
        yield pid
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return
        pid = int(stat.rpartition(b")")[2].split()[1])


def _ids(text: str) -> list[str]:
    return [one for one in text.split(":") if one]


def _tell(ids: list[str]) -> None:
    if ids:
        os.environ[VARIABLE] = ":".join(ids)
    else:
        os.environ.pop(VARIABLE, None)
