"""The processes of workflows on this host, found by the locks that they hold."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from motoko.daemon import Office
from motoko.paths import WORKFLOW_STATE

_LOCK = re.compile(
    rf"(?P<directory>.*)/{re.escape(WORKFLOW_STATE)}/(?:(?P<kind>server|launcher|orchestrator)(?:-(?P<name>.*))?)\.lock"
    r"(?P<removed> \(deleted\))?"
)
_TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """One process of a workflow; times in seconds, ``since`` in seconds since the epoch."""

    directory: str
    kind: str
    run_name: str
    pid: int
    cpu_s: float
    memory_bytes: int
    since: float | None
    #: Whether its directory was removed under it.
    is_removed: bool


def find() -> list[Process]:
    """All processes of workflows of this user on this host, by directory and kind."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            for lock in _locks(name):
                process = _process(int(name), lock)
                if process is not None:
                    found.add(process)
    return sorted(found, key=lambda p: (p.directory, p.kind, p.run_name, p.pid, p.is_removed))


def _locks(pid: str) -> Iterator[re.Match[str]]:
    """The locks that a process has open; none of another user's."""
    with suppress(OSError):
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():
            return
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                match = _LOCK.fullmatch(str(Path(f"/proc/{pid}/fd/{fd}").readlink()))
                if match:
                    yield match


def _process(pid: int, lock: re.Match[str]) -> Process | None:
    since = None
    is_removed = lock["removed"] is not None
    if not is_removed:
        owner = Office(Path(lock.string), "").last_owner()
        if owner is None or owner.pid != pid:
            return None  # it only looks at the lock
        since = owner.began
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return Process(
        directory=lock["directory"],
        kind=lock["kind"],
        run_name=unquote(lock["name"] or ""),
        pid=pid,
        cpu_s=(int(stat[11]) + int(stat[12])) * _TICKS_S,
        memory_bytes=pages * _PAGE,
        since=since,
        is_removed=is_removed,
    )
