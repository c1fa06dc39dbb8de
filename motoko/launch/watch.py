"""Following attempts that execute: their ends, walltimes, what they write, who cancels them."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import NamedTuple, Protocol

import anyio

from motoko.crashpoints import reached
from motoko.job import holders
from motoko.launch.adoption import Fate, Finding, examine
from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.launch.folding import Folding
from motoko.launch.generator import LocalGenerator, LocalProcess
from motoko.launch.slots import Slots
from motoko.launch.trouble import Troubles
from motoko.launch.withdrawal import gives_up
from motoko.model import states

log = logging.getLogger(__name__)

#: How long processes have between being asked to end and being made to.
GRACE_S = 10.0
#: How long to wait when files cannot be read.
_PAUSE_S = 1.0
#: How long the ends of killed processes may take that a launcher waits for when it stops.
_LAST_EXITS_S = 2.0
#: How long what is killed together with its shell takes to be gone, as a rule.
_DYING_S = 0.02
_CLAIMED = frozenset({states.SUBMITTED})


class _Asked(NamedTuple):
    attempt: Attempt
    process: LocalProcess
    timer: asyncio.TimerHandle


class Starting(Protocol):
    """What a watch needs of whoever starts attempts."""

    def schedule(self) -> None:
        """Start what there is room for."""

    def queue(self, desk: Desk, attempt: Attempt) -> None:
        """Start an attempt that nobody has begun, when there is room."""


class Watch(Folding):
    """The attempts that execute, on this host as a rule."""

    def __init__(
        self,
        generator: LocalGenerator,
        slots: Slots,
        starting: Starting,
        troubles: Troubles,
        grace_s: float = GRACE_S,
    ) -> None:
        super().__init__(troubles)
        self._generator = generator
        self._slots = slots
        self._starting = starting
        self._grace_s = grace_s
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._followed: dict[str, Attempt] = {}
        # Attempts that hold a slot although they have no process to follow, and those whose
        # fate is asked for again and again.
        self._seated: set[str] = set()
        self._unclear: dict[str, tuple[Desk, Attempt]] = {}
        # Attempts whose processes were asked to end, and what will insist on it, by nonce.
        self._asked: dict[str, _Asked] = {}
        self._has_exited = asyncio.Event()

    def follow(self, desk: Desk, attempt: Attempt, process: LocalProcess) -> None:
        """See to it that the end of a process is recorded, and comes in time."""
        attempt.process = process
        self._followed[attempt.nonce] = attempt
        self._seat(desk, attempt)
        process.follow(lambda code: self._exited(desk, attempt, code))
        left_s = attempt.walltime.left_s
        if left_s is not None:
            loop = asyncio.get_running_loop()
            self._timers[attempt.nonce] = loop.call_later(
                max(0.0, left_s), self._time_out, attempt
            )

    async def insist(self) -> None:
        """End at once what was asked to end, and hear how it did."""
        for nonce in list(self._asked):
            self._insist(nonce)
        with anyio.move_on_after(_LAST_EXITS_S):
            while any(a.is_ending and a.process is not None for a in self._followed.values()):
                self._has_exited.clear()
                await self._has_exited.wait()

    def close(self, desk: Desk) -> None:
        """Follow the attempts of a study no longer; they go on."""
        for attempt in desk.held.values():
            if attempt.pid is not None:
                self.fold(desk, attempt)
            self._cancel_timer(attempt)
            if attempt.process is not None:
                self._followed.pop(attempt.nonce, None)
                attempt.process.leave()

    def poll(self, desk: Desk) -> None:
        """Look at everything that would not speak up by itself."""
        for of, attempt in list(self._unclear.values()):
            if of is desk:
                self._ask_again(desk, attempt)
        super().poll(desk)

    # ends

    def _exited(self, desk: Desk, attempt: Attempt, code: int | None) -> None:
        now = time.time()
        attempt.process = None
        self._followed.pop(attempt.nonce, None)
        self._has_exited.set()
        self._cancel_timer(attempt)
        if code is None:  # not a child of this process: only its files tell
            self.adopt(desk, attempt, attempt.state)
            self._ask_soon(desk, attempt)
        elif code < 0 and not attempt.is_ending and self._goes_on(attempt):
            # Somebody has killed the shell alone: what it has started may still finish.
            attempt.shell_code = code
            self._unclear[attempt.nonce] = (desk, attempt)
            self._ask_soon(desk, attempt)
        else:
            self._end_of_shell(desk, attempt, code, now)

    def _end_of_shell(self, desk: Desk, attempt: Attempt, code: int, now: float) -> None:
        # The next one starts before the files of this one are read.
        self._unseat(desk, attempt)
        self._starting.schedule()
        self.end(desk, attempt, code, now)

    def _goes_on(self, attempt: Attempt) -> bool:
        try:
            return holders.is_held(attempt.run_dir, attempt.number)
        except OSError:
            return True  # it is asked again

    def _ask_soon(self, desk: Desk, attempt: Attempt, pause_s: float = _DYING_S) -> None:
        """Ask what became of an attempt whose shell is gone, until that is clear."""

        def ask() -> None:
            del self._timers[attempt.nonce]
            if attempt.nonce in self._unclear:
                self._ask_again(desk, attempt)
                self._ask_soon(desk, attempt, min(2 * pause_s, _PAUSE_S))

        if attempt.nonce in self._unclear:
            loop = asyncio.get_running_loop()
            self._timers[attempt.nonce] = loop.call_later(pause_s, ask)

    def _ask_again(self, desk: Desk, attempt: Attempt) -> None:
        if not attempt.is_ending and attempt.walltime.is_over:
            attempt.time_out()
        if attempt.is_ending:
            self._end_holders(attempt.run_dir, attempt.number)
        if attempt.shell_code is None:
            self.adopt(desk, attempt, attempt.state)
        elif not self._goes_on(attempt):
            del self._unclear[attempt.nonce]
            self._end_of_shell(desk, attempt, attempt.shell_code, time.time())

    def _ended(self, desk: Desk, attempt: Attempt) -> None:
        self._unseat(desk, attempt)

    def _time_out(self, attempt: Attempt) -> None:
        self._cancel_timer(attempt)
        if attempt.process is not None:
            log.info("run %s: its walltime is over", attempt.title)
            attempt.time_out()
            self._ask_to_end(attempt, attempt.process)

    def _ask_to_end(self, attempt: Attempt, process: LocalProcess) -> None:
        if attempt.nonce not in self._asked:
            process.ask_to_end()
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._grace_s, self._insist, attempt.nonce)
            self._asked[attempt.nonce] = _Asked(attempt, process, timer)

    def _insist(self, nonce: str) -> None:
        attempt, process, timer = self._asked.pop(nonce)
        timer.cancel()
        process.insist()
        # Some may have left the group, or it cannot be told any more whose that is.
        self.end_left(attempt.run_dir, attempt.number)

    def end_left(self, run_dir: str, number: int) -> None:
        """End what is left of an attempt that was told to end."""
        try:
            if holders.is_held(run_dir, number):
                holders.end_holders(run_dir, number)
        except OSError as error:
            log.warning("cannot end what is left in %s for now: %s", run_dir, error)
            asyncio.get_running_loop().call_later(_PAUSE_S, self.end_left, run_dir, number)

    def _end_holders(self, run_dir: str, number: int) -> None:
        with suppress(OSError):  # who polls comes again
            holders.end_holders(run_dir, number)

    def withdraw(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """End an attempt whose run somebody has put into this state."""
        if attempt in desk.waiting:
            desk.call_off(attempt, state)
        elif attempt.process is not None:
            log.info("run %s: ended, since it was set to %s", attempt.title, state)
            attempt.withdraw(state)
            self._ask_to_end(attempt, attempt.process)
        elif attempt.nonce in self._unclear:
            attempt.withdraw(state)
            self._end_holders(attempt.run_dir, attempt.number)
        elif attempt.has_process_ended and not attempt.is_over:
            desk.call_off(attempt, state)

    # what another launcher began

    def adopt(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """Find out what became of an attempt whose run is in this state, and go on."""
        was_unclear = self._unclear.pop(attempt.nonce, None) is not None
        is_given_up = gives_up(attempt, state)
        if is_given_up and not attempt.is_ending:
            attempt.withdraw(state)
        try:
            finding = examine(attempt)
        except OSError as error:
            log.warning("run %s: cannot tell what became of it: %s", attempt.title, error)
            self._unclear[attempt.nonce] = (desk, attempt)
            return
        reached("launcher.adopted")
        if finding.fate is Fate.UNSTARTED and attempt.is_withdrawn:
            desk.call_off(attempt, state)
            return
        if finding.fate is Fate.UNSTARTED and state in _CLAIMED:
            self._starting.queue(desk, attempt)
            return
        if finding.started is not None:
            attempt.begin(finding.pid, finding.started, finding.host, finding.age_s)
        if finding.fate is Fate.ENDED:
            assert finding.outcome is not None
            self.end(desk, attempt, finding.outcome.exit, finding.outcome.end)
        elif finding.fate is Fate.REBOOTED:
            attempt.lose(f"its host {finding.host} was started anew while it executed")
            self.end(desk, attempt, None, time.time())
        elif finding.fate is Fate.UNTOLD:
            attempt.lose(finding.fate.value)
            self.end(desk, attempt, None, time.time())
        elif finding.fate in (Fate.UNSTARTED, Fate.VANISHED):
            self.end(desk, attempt, None, time.time())
        elif finding.fate is not Fate.RUNNING or not self._find(desk, attempt, finding):
            if not was_unclear:
                log.info("run %s: %s", attempt.title, finding.fate.value)
            self._unclear[attempt.nonce] = (desk, attempt)
            if finding.fate is not Fate.ELSEWHERE:
                self._seat(desk, attempt)
        if is_given_up:
            self.withdraw(desk, attempt, state)
        self._starting.schedule()

    def _find(self, desk: Desk, attempt: Attempt, finding: Finding) -> bool:
        process = self._generator.find(finding.pid) if finding.pid is not None else None
        if process is None:
            return False
        if attempt.process is None:
            log.info("run %s goes on, process %d", attempt.title, process.pid)
            self.follow(desk, attempt, process)
        self.fold(desk, attempt)
        return True

    def _seat(self, desk: Desk, attempt: Attempt) -> None:
        if attempt.nonce not in self._seated:
            self._seated.add(attempt.nonce)
            self._slots.take(attempt.nproc, attempt.title)
            desk.n_running += 1

    def _unseat(self, desk: Desk, attempt: Attempt) -> None:
        if attempt.nonce in self._seated:
            self._seated.remove(attempt.nonce)
            self._slots.release(attempt.nproc)
            desk.n_running -= 1

    def _cancel_timer(self, attempt: Attempt) -> None:
        with suppress(KeyError):
            self._timers.pop(attempt.nonce).cancel()
