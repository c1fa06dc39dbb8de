"""What is done before an attempt starts, on whatever system: run directories are made ahead.

Those that get large files, and those that are packed away, are made in a thread, one of each
study at a time.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Mapping
from pathlib import Path

from anyio import to_thread
from anyio.abc import TaskGroup

from motoko.config.retry import INFRASTRUCTURE, SUBMISSION
from motoko.crashpoints import reached
from motoko.errors import MotokoError
from motoko.job import holders
from motoko.job.outcome import read_outcome
from motoko.launch.aside import Aside, strange_attempts
from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.launch.environment import Environment
from motoko.launch.executing import held_attempts
from motoko.launch.failure import is_transient
from motoko.launch.folding import Folding
from motoko.launch.handing import Handing
from motoko.launch.rundir import Kit, RunDirs
from motoko.launch.trouble import Troubles
from motoko.study.archive import archive_of
from motoko.study.study import Study

log = logging.getLogger(__name__)

#: How long to wait when the system refuses for now.
PAUSE_S = 1.0
_HELD_PAUSE_S = 0.05
#: How long killed processes of an earlier attempt may take to be gone.
_PATIENCE_S = 10.0


class Starter(ABC):
    """Starts the attempts of studies; how, others say."""

    #: Who follows them.
    watch: Folding

    def __init__(
        self, python_dir: Path, knock: str, inherited: Mapping[str, str], troubles: Troubles
    ) -> None:
        """``knock`` is the socket that scripts are told of, ``inherited`` their environment."""
        self._troubles = troubles
        self._python_dir = python_dir
        self._knock = knock
        self._inherited = inherited
        self._desks: deque[Desk] = deque()
        self._dirs: dict[Study, RunDirs] = {}
        self._environments: dict[Study, Environment] = {}
        # Studies in which nothing is tried for now, and what ends that.
        self._paused: dict[Desk, asyncio.TimerHandle] = {}
        self._preparing: asyncio.Handle | None = None
        self._is_closed = False
        self._aside = Aside(troubles, lambda: self.schedule())
        # Studies for which a run directory is being made in a thread.
        self._copying: set[Desk] = set()
        #: Where work in threads is waited for; set before anything starts.
        self.group: TaskGroup | None = None
        #: Who follows what scripts hand on.
        self.handing: Handing | None = None

    def hands_on_by(self, handing: Handing) -> None:
        """Let the jobs be followed that scripts have handed their work on to."""
        self.handing = handing
        self.watch.on_handed = handing.take

    def adopt(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """Find out what became of an attempt that another launcher began."""
        self._watch_of(attempt).adopt(desk, attempt, state)

    def withdraw(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """End an attempt whose run somebody has put into this state."""
        self._aside.put_back(attempt)
        self._watch_of(attempt).withdraw(desk, attempt, state)

    def _watch_of(self, attempt: Attempt) -> Folding:
        assert self.handing is not None
        return self.handing.watch_of(attempt) if attempt.is_handed_on else self.watch

    def add(self, desk: Desk) -> None:
        """Serve this study too."""
        study = desk.study
        self._desks.append(desk)
        self._dirs[study] = RunDirs(study, self._knock)
        self._environments[study] = Environment(study, self._python_dir, self._inherited)

    def close(self) -> None:
        """Start nothing any more; what executes goes on."""
        self._is_closed = True
        self._aside.close()
        for handle in (*self._paused.values(), self._preparing):
            if handle is not None:
                handle.cancel()

    def _shared_limit(self, name: str, otherwise: int | None) -> int | None:
        """A limit that holds over all studies now, wherever it was set."""
        key = f"workflow.{name}"
        return least(*(desk.limits.get(key) for desk in self._desks)) or otherwise

    @abstractmethod
    def schedule(self) -> None:
        """Start what there is room for; studies take turns."""

    @property
    def _idle_desks(self) -> list[Desk]:
        """Those for which a run directory can be made now, and none is being made."""
        busy = {*self._copying, *self._paused}
        return [desk for desk in self._desks if desk not in busy]

    def _prepare_soon(self) -> None:
        if self._preparing is not None or self._is_closed:
            return
        waiting = (a for desk in self._idle_desks for a in desk.waiting)
        if any(not a.is_prepared and a.lost is None for a in waiting):
            self._preparing = asyncio.get_running_loop().call_soon(self._prepare_next)

    def _prepare_next(self) -> None:
        """Make one run directory ahead, then see whether anything else has happened."""
        self._preparing = None
        for desk in self._idle_desks:
            for attempt in desk.waiting:
                # What was lost may still turn out to have finished, as long as it is in place.
                if not attempt.is_prepared and attempt.lost is None:
                    self._prepare(desk, attempt)
                    if attempt.has_process_ended:
                        desk.waiting.remove(attempt)
                    self._prepare_soon()
                    return

    def _prepare(self, desk: Desk, attempt: Attempt) -> bool:
        """Make the run directory; False when that cannot be done, now or at all."""
        try:
            held = held_attempts(attempt.run_dir)
            if strange := strange_attempts(attempt, held):
                self._put_aside(desk, attempt, strange)
                return False
            if not self._end_earlier(desk, attempt, held) or self._has_finished(desk, attempt):
                return False
            dirs = self._dirs[desk.study]
            kit = dirs.kit(attempt)
            if kit.has_large or archive_of(attempt.row) is not None:
                self._copying.add(desk)
                assert self.group is not None
                self.group.start_soon(self._copy, desk, attempt, kit)
                return False
            dirs.make(attempt, desk.generation, kit)
            self._prepared(desk, attempt, kit)
        except Exception as error:
            self._refused(desk, attempt, error)
        return attempt.is_prepared

    async def _copy(self, desk: Desk, attempt: Attempt, kit: Kit) -> None:
        """Make a run directory with large files, in a thread.

        It is the only one of its study that is being made, so the next one cannot overtake it,
        and no later attempt of a run that was withdrawn meanwhile begins in it.
        """
        try:
            make = self._dirs[desk.study].make
            await to_thread.run_sync(make, attempt, desk.generation, kit)
            if attempt in desk.waiting:
                self._prepared(desk, attempt, kit)
        except Exception as error:
            if attempt in desk.waiting:
                self._refused(desk, attempt, error)
        finally:
            self._copying.remove(desk)
        if attempt in desk.waiting and attempt.has_process_ended:
            desk.waiting.remove(attempt)
        self.schedule()

    def _prepared(self, desk: Desk, attempt: Attempt, kit: Kit) -> None:
        """The run directory is made: do what else can be done ahead, which may fail."""
        attempt.exec_file = kit.exec_file
        attempt.is_prepared = True

    def _put_aside(self, desk: Desk, attempt: Attempt, strange: list[int]) -> None:
        """Let it wait for processes of others, once it is back among those that wait; others
        of its study go on."""
        loop = asyncio.get_running_loop()
        loop.call_soon(self._aside.add, desk, attempt, strange)
        self._pause(desk, 0.0)

    def _end_earlier(self, desk: Desk, attempt: Attempt, earlier: Collection[int]) -> bool:
        """End what earlier attempts left executing here; whether that is done."""
        for number in earlier:
            holders.end_holders(attempt.run_dir, number)
            reached("holders.ended")
        left = [number for number in earlier if holders.is_held(attempt.run_dir, number)]
        if not left:
            return True
        now = time.monotonic()
        attempt.waits_since = attempt.waits_since or now
        if now - attempt.waits_since < _PATIENCE_S:
            self._pause(desk, _HELD_PAUSE_S)
        else:
            why = f"processes of its attempt {left[0]} are still there and cannot be ended"
            self._refuse(desk, attempt, why, INFRASTRUCTURE)
        return False

    def _has_finished(self, desk: Desk, attempt: Attempt) -> bool:
        """Whether the attempt before this one, which was lost, has finished after all."""
        lost = attempt.lost
        if lost is None:
            return False
        left = read_outcome(attempt.run_dir, lost["number"], lost["nonce"])
        if left is None:
            return False
        if desk.find_finished(attempt, left) is None:
            attempt.hear_late(left)
            return False
        log.info("run %s: attempt %d has finished after all", attempt.title, lost["number"])
        return True

    def _refused(self, desk: Desk, attempt: Attempt, error: Exception) -> None:
        """A run could not be started: try again in a while, or give it up."""
        if isinstance(error, OSError):
            is_gone = error.errno == errno.ENOENT and not desk.study.directory.is_dir()
            if is_transient(error) or is_gone or _is_shut(desk.study.runs_dir, error):
                self._troubles.met(desk.starting, error)
                self._pause(desk, PAUSE_S)
                return
            where = f" ({error.filename})" if error.filename else ""
            why = f"{error.strerror or error}{where}{_whose(desk, attempt, error)}"
        elif isinstance(error, MotokoError):
            why = str(error)
        else:
            log.error("run %s cannot start", attempt.title, exc_info=error)
            why = f"{type(error).__name__}: {error}"
        self._refuse(desk, attempt, why)

    def _refuse(
        self, desk: Desk, attempt: Attempt, why: str, failure: str = SUBMISSION
    ) -> None:
        log.warning("run %s cannot start: %s", attempt.title, why)
        attempt.refuse(why, time.time(), failure)
        desk.note(attempt)

    def queue(self, desk: Desk, attempt: Attempt) -> None:
        """Start an attempt of an earlier launcher that nobody has begun."""
        desk.waiting.append(attempt)

    def _pause(self, desk: Desk, pause_s: float) -> None:
        """Start nothing of this study for a while; others go on."""

        def resume() -> None:
            del self._paused[desk]
            self.schedule()

        if desk not in self._paused and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._paused[desk] = loop.call_later(pause_s, resume)


def _whose(desk: Desk, attempt: Attempt, error: OSError) -> str:
    """The key that puts a run directory where none can be made, if it is one."""
    config = desk.study.config
    place = str(error.filename or "")
    if config.outpath is None or not place or not Path(attempt.run_dir).is_relative_to(place):
        return ""
    return f"; outpath of {config.file} puts run directories there"


def _is_shut(runs_dir: Path, error: OSError) -> bool:
    """Whether nobody can write where run directories are any more, which is no run's fault."""
    is_refused = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
    return is_refused and runs_dir.is_dir() and not os.access(runs_dir, os.W_OK | os.X_OK)


def least(*limits: int | None) -> int | None:
    """The limit that binds; None if there is none."""
    return min((limit for limit in limits if limit is not None), default=None)
