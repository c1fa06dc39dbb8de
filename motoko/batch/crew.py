"""Processes that do jobs. One that dies takes nothing with it but the job that it was at."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from motoko.batch.doing import BatchWorker, do
from motoko.batch.models import BatchJob

_ENDING_S = 5.0
_MOMENT_S = 0.02
_PR_SET_PDEATHSIG = 1

#: What came of a job: its record in JSON, or how the process ended that was at it.
Result = tuple[int, bytes | str]


class _Work(NamedTuple):
    """What all processes of a crew know."""

    worker: BatchWorker
    jobs: Sequence[BatchJob]
    place: Path


class _Member:
    """One process, at one job at a time."""

    def __init__(self, work: _Work, others: Iterable[Connection]) -> None:
        # Forked, so that workers of notebooks and of scripts without a main guard can be used.
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        close = [self.connection, *others]
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, close, work, os.getpid())
        )
        self.process.start()
        theirs.close()
        #: Readable when the process has ended. Its end of the pipe tells less: whatever it has
        #: forked has that too.
        self.death = _death_of(self.process)
        self.index: int | None = None

    def begin(self, index: int) -> None:
        """Give it a job; it may be dead, which is seen when its answer is wanted."""
        self.index = index
        with suppress(OSError):
            self.connection.send(index)

    def result(self, *, is_dead: bool) -> Result:
        """What came of its job, which may be that it ``is_dead``."""
        assert self.index is not None
        index, self.index = self.index, None
        if is_dead:  # nobody is left who would send the rest of anything
            os.set_blocking(self.connection.fileno(), False)
        try:
            return index, self.connection.recv_bytes()
        except (EOFError, OSError):
            self._kill()
            self.process.join()
            return index, _how_it_ended(self.process.exitcode)

    def end(self, *, at_once: bool) -> None:
        """Have it end, by force if need be: then with all that it has started."""
        if at_once:
            self._kill()
        self.connection.close()
        self.process.join(_ENDING_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()
        os.close(self.death)

    def _kill(self) -> None:
        """Kill it, and what it has started, which would go on with half a job."""
        # It may have no group yet, or none may be left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.ident or 0, signal.SIGKILL)
        self.process.kill()


class Crew:
    """As many processes as may work at once; a context manager that leaves none behind."""

    def __init__(
        self,
        size: int,
        worker: BatchWorker,
        jobs: Sequence[BatchJob],
        place: Path,
    ) -> None:
        """Relative paths are meant from ``place``."""
        self._size = size
        self._work = _Work(worker, jobs, place)
        self._members: dict[Connection, _Member] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for member in self._members.values():
            member.end(at_once=kind is not None)

    def results(
        self,
        indexes: Iterator[int],
        after: Callable[[], object],
        pause: Callable[[], object],
    ) -> Iterator[Result]:
        """Do the jobs with these indexes, taken one by one; results as they come.

        ``after`` is called after those that came at once, ``pause`` when none comes for a
        moment.
        """
        idle: list[_Member] = []
        while True:
            self._begin(indexes, idle)
            busy = [member for member in self._members.values() if member.index is not None]
            if not busy:
                return
            told: dict[Any, _Member] = {member.connection: member for member in busy}
            told |= {member.death: member for member in busy}
            ready = wait(told, _MOMENT_S)
            if not ready:
                pause()
                ready = wait(told)
            for member in dict.fromkeys(told[one] for one in ready):
                result = member.result(is_dead=member.death in ready)
                if isinstance(result[1], str):
                    del self._members[member.connection]
                    member.end(at_once=False)  # it was ended, with all that was left of it
                else:
                    idle.append(member)
                yield result
                # While this one is recorded, a worker that is free goes on.
                self._begin(indexes, idle)
            after()

    def _begin(self, indexes: Iterator[int], idle: list[_Member]) -> None:
        while idle or len(self._members) < self._size:
            index = next(indexes, None)
            if index is None:
                return
            member = idle.pop() if idle else self._hire()
            member.begin(index)

    def _hire(self) -> _Member:
        member = _Member(self._work, self._members)
        self._members[member.connection] = member
        return member


def _death_of(process: BaseProcess) -> int:
    """A descriptor that can be read once a process has ended."""
    try:
        return os.pidfd_open(process.ident or 0)
    except (AttributeError, OSError):  # a Python, or a kernel, without them
        return os.dup(process.sentinel)  # if it has forked others, once these have ended too


def _serve(
    connection: Connection,
    to_close: Iterable[Connection],
    work: _Work,
    parent: int,
) -> None:
    """Do jobs until nobody has any more."""
    # Half a job of a process whose parent is gone is nobody's.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.setsid()  # what it starts can be ended with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and decides
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for other in to_close:
        other.close()
    with suppress(EOFError, ConnectionError):
        while True:
            job = work.jobs[connection.recv()]
            connection.send_bytes(do(job, work.worker, work.place))
            sys.stdout.flush()


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
