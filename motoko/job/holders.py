"""Processes of an attempt, found by the token that they have inherited: no lock is needed.

A program may close all descriptors of what it starts, the token's among them, as Python's
``subprocess`` does. That is found by the session or process group of the attempt's shell.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from motoko.host import NO_ROOM, boot_id, host_name, is_locked, process_kin
from motoko.job import layout
from motoko.job.token import read_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import FrozenSet, Optional, Set, Tuple

    from motoko.job.layout import StrPath
    from motoko.job.token import Token

_RUN = "run-"
#: Sessions and groups that had processes at the last look, the processes themselves, which may
#: have been about to lead such, and when the youngest of all had started. What began before
#: that, and is none of these, never has any again.
_looked: Tuple[int, FrozenSet[int]] = (-1, frozenset())
#: No group of an attempt's is that of the system's first process, or this one's own (0).
_FIRST_PID = 2


def is_held(run_dir: StrPath, attempt: int, known: Optional[Token] = None) -> bool:
    """Whether a process of the attempt, on this host, still lives; False without a token.

    One that has not inherited the token is found by its session or process group. Takers lock
    a file that has no name yet, so nobody ever waits for, or is refused because of, this
    question. ``known`` is its token, if that was read already. OSError when it cannot be told
    now.
    """
    file = layout.token_file(run_dir, attempt)
    locked = is_locked(file)
    if locked is None:
        locked = has_holders(file)
    return locked or bool(find_kin(run_dir, attempt, known))


def find_holders(run_dir: str, attempt: int) -> list[int]:
    """Ids of the processes of this user here that belong to the attempt.

    They have its token open for writing, while somebody who merely reads the file is none of
    them, or are `find_kin`.
    """
    found = {*_holders(layout.token_file(run_dir, attempt)), *find_kin(run_dir, attempt)}
    return sorted(found - {os.getpid()})


def find_kin(run_dir: StrPath, attempt: int, known: Optional[Token] = None) -> list[int]:
    """Ids of the processes here in the session or group that the attempt's shell leads, or has
    led, which were told of this attempt and work in its directory, or were told of that, too.
    OSError when it cannot be told now. ``known`` is its token, if that was read already."""
    taken = known or read_token(run_dir, attempt)
    if taken is None or taken.pid is None or taken.pid < _FIRST_PID:
        return []
    if (taken.host, taken.boot) != (host_name(), boot_id()):
        return []
    if not _may_have_kin(taken.pid, taken.start_time):
        return []
    return [pid for pid in _pids() if _is_kin(pid, taken.pid, run_dir, attempt)]


def _may_have_kin(leader: int, start_time: Optional[int]) -> bool:
    """Whether there may be processes in what a process leads, or has led, that started then."""
    global _looked
    youngest, there = _looked
    if start_time is None or start_time >= youngest or leader in there:
        youngest, there = _looked = _look()
    return leader in there


def _look() -> Tuple[int, FrozenSet[int]]:
    youngest = -1
    leaders: Set[int] = set()
    seen: Set[int] = set()
    while new := set(_pids()) - seen:  # some are started meanwhile
        seen |= new
        for kin in filter(None, map(process_kin, new)):
            leaders |= {kin.group, kin.session}
            youngest = max(youngest, kin.start_time)
    return youngest, frozenset(leaders | seen)


def has_holders(token: str) -> bool:
    """Whether a process here, this one too, has taken or inherited a token. OSError when it
    cannot be told now."""
    return any(True for _ in _holders(token))


def find_writers(file: StrPath) -> list[int]:
    """Ids of the processes here, this one too, that have a file open for writing. OSError when
    it cannot be told now."""
    return list(_holders(os.fspath(file)))


def _holders(token: str) -> Iterator[int]:
    try:
        wanted = os.stat(token)
    except OSError:
        return
    seen: set[int] = set()
    # One that is started while others are looked at may be the last that is left.
    while new := {int(name) for name in os.listdir("/proc") if name.isdigit()} - seen:
        seen |= new
        yield from (pid for pid in sorted(new) if _has_open(pid, wanted))


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


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _is_kin(pid: int, leader: int, run_dir: StrPath, attempt: int) -> bool:
    kin = process_kin(pid)
    if kin is None or leader not in (kin.group, kin.session):
        return False
    try:
        told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        works_in = os.path.join(os.readlink(f"/proc/{pid}/cwd"), "")
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        return False  # gone, or another user's
    values = dict(one.partition(b"=")[::2] for one in told)
    if values.get(b"MOTOKO_ATTEMPT") != b"%d" % attempt:
        return False
    place = os.path.realpath(run_dir)
    if works_in.startswith(os.path.join(place, "")):  # also after the directory was renamed
        return True
    # A copy of the directory is none of the process that works in the original.
    is_told = os.path.realpath(os.fsdecode(values.get(b"MOTOKO_RUN_DIR", b""))) == place
    return is_told and os.path.basename(place) not in works_in.split(os.sep)


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
        return any(_is_token(pid, fd, wanted) for fd in fds)
    except OSError as error:
        if error.errno in NO_ROOM:  # which says nothing of the process
            raise
        return False  # gone, or another user's


def _is_token(pid: int, fd: str, wanted: os.stat_result) -> bool:
    try:
        found = os.stat(f"/proc/{pid}/fd/{fd}")
        is_it = (found.st_ino, found.st_dev) == (wanted.st_ino, wanted.st_dev)
        return is_it and _is_writable(pid, fd)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        return False  # closed, or in a file system that is away


def _is_writable(pid: int, fd: str) -> bool:
    for line in Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False
