"""One study on the launcher's desk: what is in its hands, and the commits that say so.

While one commit is under way in a thread, further news gather and go into the next. A commit
that fails because the database is away loses nothing, and says nothing twice: before the next
one it is found out whether it took place.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import anyio
from anyio import to_thread

from motoko.crashpoints import reached
from motoko.errors import (
    ConflictsExhausted,
    DaemonError,
    DatabaseUnavailable,
    ForeignDatabase,
    NoSpaceLeft,
    StudyNotFound,
)
from motoko.job.outcome import Outcome
from motoko.launch.allowance import allow
from motoko.launch.attempt import Attempt
from motoko.launch.executing import Inherited, find_inherited
from motoko.launch.gathering import Gathering
from motoko.launch.late import GivenUp
from motoko.launch.pauses import Pauses
from motoko.launch.record import Record
from motoko.launch.sentinels import purposes, sentinels
from motoko.launch.space import is_full
from motoko.launch.trouble import Troubles, unexpected
from motoko.launch.withdrawal import gives_up
from motoko.launch.work import Claim, Done, Work
from motoko.model import policy, states
from motoko.store.feed import Change
from motoko.study.study import Study
from motoko.study.system_dirs import placed
from motoko.study.waiting import DELETED

log = logging.getLogger(__name__)

#: What ends the launcher: it serves another's database, none, or not any more.
_FATAL = (DaemonError, ForeignDatabase, StudyNotFound)

#: How long to wait after a commit that failed: first, and at most.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
#: How long the last commit, of a launcher that is told to end, may take.
_LAST_COMMIT_S = 5.0


class Executing(Protocol):
    """What a desk needs of whoever executes its attempts."""

    @property
    def is_busy(self) -> bool:
        """Whether runs begin so fast that what there is to say of them is to be gathered."""

    def n_wanted(self, desk: Desk) -> int:
        """How many further runs to claim now."""

    def schedule(self) -> None:
        """Start what can be started."""

    def adopt(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """Find out what became of an attempt that another launcher began; its run is in this
        state now."""

    def withdraw(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """End an attempt whose run somebody has put into this state."""

    def end_left(self, run_dir: str, number: int) -> None:
        """End what is left of an attempt that an earlier launcher told to end."""

    def walltime_s(self, desk: Desk, row: Mapping[str, Any]) -> float | None:
        """How long a run may take by what stands above its walltime: infinite where that says
        so, None where it does not say."""


class _Unsure(NamedTuple):
    """A commit of which nobody knows whether it took place, and what it says of attempts."""

    work: Work
    records: Sequence[tuple[Attempt, Record]]


class Desk:
    """The attempts of one study that this launcher looks after."""

    def __init__(
        self,
        study: Study,
        epoch: str,
        executing: Executing,
        troubles: Troubles,
        only: Container[int] | None = None,
    ) -> None:
        """``only`` are the runs that may begin, if not all may."""
        self.study = study
        self._only = only
        self.generation = ""
        #: All attempts in this launcher's hands, by run.
        self.held: dict[int, Attempt] = {}
        #: Those that wait for a free slot.
        self.waiting: deque[Attempt] = deque()
        #: How many hold a slot.
        self.n_running = 0
        #: Whether somebody wants no run to begin.
        self.is_held = False
        #: Limits that somebody has set, which stand above those of the files.
        self.limits: Mapping[str, int] = {}
        #: Whether there may be runs to claim.
        self.has_created = True
        self._executing = executing
        self._epoch = epoch
        self._troubles = troubles
        #: What there may be troubles with, in words.
        self.recording = f"cannot write in the database of {study.name}"
        self.writing = f"cannot write in {study.runs_dir}"
        self.starting = f"cannot start runs in {study.runs_dir}"
        self._given_up = GivenUp(study)
        self._purposes = purposes(study)
        self._dirty: dict[str, Attempt] = {}
        self._stored: dict[int, bytes] = {}
        self._pauses = Pauses(self.look)
        # Runs to be claimed once their attempt is let go.
        self._passed_over: set[int] = set()
        self._manifests: dict[str, Mapping[str, Any]] = {}
        self._next = Gathering(self._are_many)
        self._has_tried = asyncio.Event()
        self._committing_thread: int | None = None
        self._unsure: _Unsure | None = None
        self._is_first = True
        self._is_search = True
        self._is_closing = False
        self._is_busy = self._is_claiming = False

    # news

    def look(self) -> None:
        """Look at the database soon: runs may have been made or changed."""
        self.has_created = True
        self._next.commit_soon()

    def claim(self) -> None:
        """Claim runs at once, if there may be some."""
        if self.has_created:
            self._next.commit()

    def note(self, attempt: Attempt, *, is_urgent: bool = True) -> None:
        """Something about the attempt may have to be recorded, at once or a little later."""
        if not attempt.has_news:
            return
        self._dirty[attempt.nonce] = attempt
        if is_urgent or self._executing.is_busy:
            self._next.commit_soon()
        else:
            self._next.commit_later(lambda: attempt.nonce in self._dirty)

    def _are_many(self) -> bool:
        return self._executing.is_busy and bool(self.n_running or self.waiting)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is to be written, and no run to be claimed that has room."""
        has_news = self._next.is_due or self._has_unsaid
        may_claim = self.has_created and not self.is_held and self._executing.n_wanted(self) > 0
        return self._has_tried.is_set() and not (self._is_busy or has_news or may_claim)

    @property
    def may_get_more(self) -> bool:
        """Whether there may be runs that are about to be claimed."""
        return self.has_created or self._is_claiming

    @property
    def _has_unsaid(self) -> bool:
        return bool(self._dirty) or self._unsure is not None

    def limit(self, name: str) -> int | None:
        """A limit of the study that holds now; None without."""
        found: int | None = self.limits.get(name, getattr(self.study.config, name))
        return found

    async def wait_until_tried(self) -> None:
        """Wait until the database has answered for the first time, or has failed to."""
        await self._has_tried.wait()

    # the loop

    async def run(self) -> None:
        """Serve the study until cancelled; DaemonError when another launcher took it over."""
        loop = asyncio.get_running_loop()

        def heard(_: Change) -> None:
            if threading.get_ident() != self._committing_thread:
                with suppress(RuntimeError):  # the loop is over
                    loop.call_soon_threadsafe(self.look)

        stop = self.study.database.feed.listen(heard)
        try:
            self._next.commit()
            pause_s = _FIRST_PAUSE_S
            while True:
                await self._next.wait()
                if await self._commit():
                    pause_s = _FIRST_PAUSE_S
                else:
                    await anyio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    self._next.commit()
        finally:
            stop()
            self._next.stop()
            self._pauses.stop()

    async def close(self) -> None:
        """Record what is known, if the database answers soon."""
        self._is_closing = True
        with anyio.move_on_after(_LAST_COMMIT_S):
            while self._has_unsaid and await self._commit():
                pass

    async def _commit(self) -> bool:
        """Record all news and claim runs; False when the database did not answer."""
        dirty: list[Attempt] = []
        self._is_busy = True
        try:
            if self._unsure is not None:
                work, records = self._unsure
                work.n_claims, work.is_search = 0, False  # the next one does, if there is room
                await self._make(work, records)
            dirty, self._dirty = list(self._dirty.values()), {}
            await self._record(dirty)
        except (DatabaseUnavailable, ConflictsExhausted) as error:
            self._is_search = True  # a pack may hide what has been claimed without an answer
            is_out_of_space = await self._is_out_of_space()  # a server dies of it, too
            why = NoSpaceLeft("").why if is_out_of_space else getattr(error, "why", error)
            self._troubles.met(self.recording, why)
            return False
        except _FATAL:
            raise
        except Exception as error:
            if self._troubles.met(self.recording, unexpected(error)):
                log.exception("study %s: a commit failed", self.study.name)
            await self._record_each(dirty)
            return False
        finally:
            self._has_tried.set()
            self._is_busy = self._is_claiming = False
        if self._troubles.is_met(self.recording) and await self._is_out_of_space():
            return False  # a commit of nothing needs no space: it says nothing of the next one
        self._troubles.over(self.recording)
        return True

    async def _is_out_of_space(self) -> bool:
        return await to_thread.run_sync(is_full, str(self.study.state_dir))

    async def _record_each(self, attempts: Sequence[Attempt]) -> None:
        """Record what could not be recorded together, until the database goes away."""
        for i, attempt in enumerate(attempts):
            try:
                await self._record_alone(attempt)
            except (DatabaseUnavailable, ConflictsExhausted):
                self._is_search = True
                for rest in attempts[i:]:
                    self._dirty[rest.nonce] = rest
                return

    async def _record_alone(self, attempt: Attempt) -> None:
        """Record what could not be recorded together with others, or give it up."""
        self._dirty.pop(attempt.nonce, None)
        try:
            await self._record([attempt], may_claim=False)
        except (DatabaseUnavailable, ConflictsExhausted, *_FATAL):
            raise
        except Exception as error:
            if self._troubles.met(attempt.recording, unexpected(error)):
                log.exception("run %s: cannot be recorded", attempt.title)
            self._dirty.pop(attempt.nonce, None)

    async def _record(self, attempts: Iterable[Attempt], *, may_claim: bool = True) -> None:
        inherited: Collection[Inherited] = ()
        if self._is_first:
            inherited = await to_thread.run_sync(find_inherited, self.study)
        records = [(attempt, attempt.take_record()) for attempt in attempts]
        work = Work(
            epoch=self._epoch,
            records=[record for _, record in records],
            held={run_id: self._stored.get(run_id, b"") for run_id in self.held},
            n_claims=self._n_claims() if may_claim else 0,
            known_manifests=frozenset(self._manifests),
            inherited=inherited,
            delayed=self._pauses.present(),
            policy=self.study.config.policy,
            is_first=self._is_first,
            is_search=self._is_search and not self._is_closing,
            only=self._only,
        )
        if work.n_claims:
            # Until news says otherwise, also while this goes on.
            self.has_created, self._is_claiming = False, True
        await self._make(work, records)

    async def _make(self, work: Work, records: Sequence[tuple[Attempt, Record]]) -> None:
        try:
            done = await to_thread.run_sync(self._write, work)
        except (DatabaseUnavailable, asyncio.CancelledError):
            self.has_created = True
            self._unsure = _Unsure(work, records)
            raise
        except BaseException:
            self.has_created, self._unsure = True, None
            for attempt, record in records:
                attempt.put_back(record)
                self._dirty[attempt.nonce] = attempt
            raise
        self._is_first, self._unsure = False, None
        for attempt, record in records:
            attempt.settle(record)
            self._troubles.over(attempt.recording)
            self._let_go_if_over(attempt)
        try:
            self._take_over(work, done)
        except Exception:
            self._is_search = True  # some of what was claimed may be in nobody's hands
            raise

    def _write(self, work: Work) -> Done:
        self._committing_thread = threading.get_ident()
        try:
            done = work.commit(self.study.database)
            if done.claimed:
                reached("launcher.claimed")
            if work.records:
                reached("launcher.recorded")
            return done
        finally:
            self._committing_thread = None

    def _n_claims(self) -> int:
        if self._is_closing or self._is_search or not self.has_created:
            return 0
        return self._executing.n_wanted(self)

    # what a commit brought

    def _take_over(self, work: Work, done: Done) -> None:
        self.generation = done.generation
        self.is_held = done.is_held
        self.limits = done.limits
        self._manifests.update(done.manifests)
        self._stored = done.stored
        self._passed_over |= done.passed_over
        if not self.held.keys() >= self._passed_over:
            self._passed_over &= self.held.keys()
            self.look()
        if work.n_claims and done.has_more:
            self.has_created = True
        for record in done.retried:
            log.warning(
                "run %s.%d: attempt %d failed (%s: %s); it is tried again",
                self.study.name,
                record.run_id,
                record.number,
                record.facts.get("class"),
                record.facts.get("cause"),
            )
        for run_id, why in done.refused.items():
            log.warning("run %s.%d cannot be executed: %s", self.study.name, run_id, why)
        for run_id, why in done.out_of_reach.items():
            self._troubles.met(f"cannot look after run {self.study.name}.{run_id}", why)
        if not self._is_closing:
            self._pauses.add(done.delayed)
        for run_id, row in done.changed.items():
            self._follow(run_id, row)
        for claim in done.claimed:
            self.waiting.append(self._hold(claim))
        for one in done.left:
            log.info("run %s.%d: ending what is left of it", self.study.name, one.run_id)
            self._executing.end_left(str(self.study.run_dir(one.run_id)), one.number)
        for claim in done.given_up:
            self._given_up.add(claim)
        if work.is_first:
            self.look_for_late()
        if work.is_search:
            self._is_search = False
            for claim in done.found:
                self._executing.adopt(self, self._hold(claim), claim.row["state"])
        self._executing.schedule()

    def _hold(self, claim: Claim) -> Attempt:
        attempt = self._attempt(claim.row, claim.job, known=claim.known, before=claim.before)
        attempt.task, attempt.earlier = claim.task, claim.earlier
        self.held[attempt.run_id] = attempt
        return attempt

    def _attempt(self, row: Mapping[str, Any], job: Mapping[str, Any], **told: Any) -> Attempt:
        config, run_dir = self.study.config, str(self.study.run_dir(row["id"]))
        row = placed(row, self.study.directory)
        attempt = Attempt(
            self.study.schema,
            row,
            job,
            run_dir,
            manifest=self._manifests.get(row.get("files", "")),
            completion=config.completion,
            default_walltime=config.walltime,
            policy=policy.of_run(row, config.policy),
            resources={"walltime": config.walltime, "mem": config.mem},
            **told,
        )
        allow(attempt, config, self._executing.walltime_s(self, row))
        attempt.files = sentinels(
            config.sentinels, attempt.title, run_dir, row, job, self._purposes
        )
        return attempt

    def find_finished(self, attempt: Attempt, left: Outcome) -> Attempt | None:
        """The attempt before one that has not begun, if its outcome, which came late, is a
        success; it then stands in the place of the other. OSError when it cannot be read."""
        assert attempt.lost is not None
        own = {"attempt": attempt.lost["number"], "nonce": attempt.lost["nonce"]}
        claim = Claim({**attempt.row, **own}, attempt.job, attempt.lost)
        former = self._former(claim, instead_of=attempt.nonce)
        if not former.has_ended(left) or states.is_bad(former.state):
            return None
        self._take(former)
        return former

    def look_for_late(self, run_id: int | None = None) -> None:
        """Record how attempts that were given up, of this run or of some, have ended since."""
        for claim, left in self._given_up.found(run_id):
            former = self._former(claim, instead_of=claim.row["nonce"])
            log.info("run %s: it has ended after all, with code %d", former.title, left.exit)
            with suppress(OSError):  # the next launcher looks again
                if former.run_id not in self.held and former.has_ended(left):
                    self._take(former)

    def _former(self, claim: Claim, *, instead_of: str) -> Attempt:
        """An attempt that was given up, as if it had gone on."""
        row = {**claim.row, "state": states.RUNNING}
        return self._attempt(row, claim.job, known=claim.known, instead_of=instead_of)

    def _take(self, attempt: Attempt) -> None:
        self.held[attempt.run_id] = attempt
        self.note(attempt)

    def _follow(self, run_id: int, row: Mapping[str, Any] | None) -> None:
        """Somebody has changed a run: end its attempt if that is what it means."""
        attempt = self.held.get(run_id)
        if attempt is None:
            return
        if row is None or row.get("nonce") != attempt.nonce:
            self._executing.withdraw(self, attempt, DELETED if row is None else row["state"])
        elif gives_up(attempt, row["state"]):
            self._executing.withdraw(self, attempt, row["state"])
        else:
            attempt.policy = policy.of_run(row, self.study.config.policy)

    def call_off(self, attempt: Attempt, state: str) -> None:
        """Nothing of an attempt executes, nor will: its run was put into this state."""
        if attempt in self.waiting:
            self.waiting.remove(attempt)
        if state in (states.CREATED, DELETED):  # it has no part in what the run is now
            self.let_go(attempt)
        else:
            attempt.refuse(f"the run was set to {state}", time.time(), None)
            self.note(attempt)

    def _let_go_if_over(self, attempt: Attempt) -> None:
        if attempt.is_over and not attempt.has_news:
            self._given_up.note(attempt)
            self.let_go(attempt)

    def let_go(self, attempt: Attempt) -> None:
        """Look after an attempt no longer."""
        self._troubles.over(attempt.looking)
        self._troubles.over(attempt.recording)
        if self.held.get(attempt.run_id) is attempt:
            del self.held[attempt.run_id]
            if attempt.run_id in self._passed_over:
                self._passed_over.remove(attempt.run_id)
                self.look()
