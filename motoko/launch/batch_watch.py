"""Following batch jobs: what scripts leave tells of their ends, the batch system of the rest.

One status query at a time, for all jobs. Whatever it says, an outcome record stands above it;
without one, a job is over when the system says so, or when it is gone for certain.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import anyio
from anyio import to_thread

from motoko.errors import SchedulerOutputError
from motoko.job import holders, layout, token
from motoko.job.outcome import Outcome, read_outcome
from motoko.job.shell import REFUSED
from motoko.launch.absence import keep_absences, recall_absence
from motoko.launch.accounts import ask_accounts
from motoko.launch.attempt import Attempt
from motoko.launch.batch_cancels import Cancels, is_by_system, is_kept_from_turn
from motoko.launch.batch_generator import BatchGenerator, JobStatus, Phase
from motoko.launch.bells import Bells
from motoko.launch.blame import COARSE_S, KILLED, blame, blame_loss
from motoko.launch.desk import Desk
from motoko.launch.folding import Folding
from motoko.launch.in_hand import Held, InHand
from motoko.launch.ticket import Ticket, Tickets, write_tickets
from motoko.launch.tracking import Pace, Tracker
from motoko.launch.trouble import Troubles
from motoko.launch.withdrawal import gives_up
from motoko.model import states

log = logging.getLogger(__name__)

_MOST_ACCOUNTED = 50


class Starting(Protocol):
    """What the watch needs of whoever submits."""

    def schedule(self) -> None:
        """Submit what there is room for."""

    def queue(self, desk: Desk, attempt: Attempt) -> None:
        """Submit an attempt that nobody has begun, when there is room."""


class _Ended(NamedTuple):
    """An end that is not recorded yet: the script's word of it, or the system's."""

    since: float
    outcome: Outcome | None
    status: JobStatus | None


class BatchWatch(Folding):
    """The attempts that are in the hands of one batch system."""

    def __init__(
        self,
        generator: BatchGenerator,
        user: str,
        starting: Starting,
        troubles: Troubles,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(troubles)
        self._generator = generator
        self._user = user
        self._starting = starting
        self._pace = pace
        self._clock = clock
        self.tracker = Tracker(pace)
        self.bells = Bells(self.look)
        self._asking = f"degraded: cannot tell what becomes of jobs of {generator.name}"
        self._wake = anyio.Event()
        self.in_hand = InHand(generator.array_of)
        # Attempts that have begun without this batch system, as far as anybody knows.
        self._strange: dict[str, Held] = {}
        self._ends: dict[str, _Ended] = {}
        self._tickets: dict[Desk, Tickets] = {}
        # Attempts that are to end.
        self._leaving: dict[str, Held] = {}
        self._cancels = Cancels(generator, self.tracker, pace, clock)

    # for whoever submits

    @property
    def is_at_rest(self) -> bool:
        """Whether it was asked what becomes of all jobs, and no end is to be settled."""
        return not self._ends and self.tracker.was_asked

    def follow(self, desk: Desk, attempt: Attempt, ticket: Ticket) -> None:
        """Look after the job of an attempt."""
        assert ticket.id is not None
        self.in_hand.add(ticket.id, Held(desk, attempt))
        self.tracker.track(ticket.id, ticket.name, self._clock())
        attempt.hear_of_job(generator=self._generator.name, id=ticket.id)
        self.bells.listen(desk)
        if attempt.is_ending:
            self._cancel_one(desk, attempt)
        desk.note(attempt)
        self._wake.set()

    def seek(self, desk: Desk, attempt: Attempt, ticket: Ticket) -> None:
        """Look for a job that may have been submitted."""
        log.info("run %s: looking for its job %s", attempt.title, ticket.name)
        self.in_hand.seek(ticket.key, Held(desk, attempt))
        self.tracker.seek(ticket.key, self._clock())
        self.bells.listen(desk)
        self._wake.set()

    # what scripts leave

    def poll(self, desk: Desk) -> None:
        super().poll(desk)
        for job in (*self.in_hand, *self._strange.values()):
            is_begun = job.attempt.pid is not None
            if job.desk is desk and (is_begun or job.attempt.nonce in self._strange):
                self.look(desk, job.attempt)
        self.bells.look(desk)

    def look(self, desk: Desk, attempt: Attempt) -> None:
        """Look for the token and the outcome of an attempt."""
        if attempt.has_process_ended:
            return
        try:
            left = None  # of what was handed on, the script's own end says nothing
            if not attempt.is_handed_on:
                left = read_outcome(attempt.run_dir, attempt.number, attempt.nonce)
            taken = token.read_token(attempt.run_dir, attempt.number)
        except OSError as error:
            self._troubles.met(attempt.looking, error)
            return
        if taken is not None and taken.nonce == attempt.nonce and taken.pid is not None:
            assert taken.started is not None
            attempt.begin(taken.pid, taken.started, taken.host)
        if left is not None:
            attempt.begin(left.pid, left.begin, left.host, left.took)
        self.fold(desk, attempt)
        if left is not None:
            self._left(desk, attempt, left)

    def _left(self, desk: Desk, attempt: Attempt, left: Outcome) -> None:
        job_id = attempt.batch.get("id")
        tracked = self.tracker.jobs.get(str(job_id))
        status = tracked.status if tracked is not None else None
        is_told = status is not None and status.phase is Phase.ENDED
        has_spoken = attempt.reading.said.final_word is not None
        is_packed = len(self.in_hand.of(job_id)) > 1
        is_own = left.exit <= KILLED or attempt.is_ending
        is_sure = left.exit == 0 or (is_packed and is_own)
        if is_sure or has_spoken or is_told or tracked is None:
            self._finish(desk, attempt, left.exit, left.end, status)
        elif attempt.nonce not in self._ends or self._ends[attempt.nonce].outcome is None:
            # It may have been killed, and why only the batch system knows.
            self._ends[attempt.nonce] = _Ended(self._clock(), left, None)
            self.tracker.hurry()
            self._wake.set()

    def _finish(
        self,
        desk: Desk,
        attempt: Attempt,
        code: int | None,
        ended: float,
        status: JobStatus | None,
    ) -> None:
        is_told = status is not None and status.phase is Phase.ENDED
        attempt.hear_of_job(state=status.state if status and is_told else None, reason=None)
        if code != 0 and not attempt.is_ending:
            said = None if status is None else self._judged(status)
            blame(self._generator, attempt, code, said)
        self.end(desk, attempt, code, ended)

    def _ended(self, desk: Desk, attempt: Attempt) -> None:
        job_id = attempt.batch.get("id")
        if job_id is not None and self.in_hand.leave(job_id, attempt):
            if (tracked := self.tracker.jobs.get(job_id)) is not None:
                tracked.begun = tracked.begun or attempt.start_time
        elif job_id is not None:
            self.tracker.drop(job_id)
            self._cancels.drop(job_id)
        self._ends.pop(attempt.nonce, None)
        self._strange.pop(attempt.nonce, None)
        self._starting.schedule()

    # the loop

    async def run(self) -> None:
        """Ask the batch system, and cancel, until cancelled."""
        while True:
            next_at = min([self.tracker.due_at, *self._deadlines()])
            with anyio.move_on_after(max(0.0, next_at - self._clock())):
                await self._wake.wait()
            self._wake = anyio.Event()
            await self.step()

    async def ring(self) -> None:
        """Hear what scripts leave, until cancelled."""
        while True:
            await anyio.sleep(self._pace.bell_s)
            for desk in {job.desk for job in self.in_hand}:
                self.bells.look(desk)

    async def step(self) -> None:
        """Do what is due."""
        self._cancel_leaving()
        await self._cancels.send()
        if self.tracker.due_at <= self._clock():
            await self._ask()
        self._settle()

    def _deadlines(self) -> Iterator[float]:
        for ended in self._ends.values():
            yield ended.since + self._patience_s(ended)
        yield self._cancels.due_at

    def _patience_s(self, ended: _Ended) -> float:
        if ended.outcome is not None:
            return self._pace.word_s
        status = ended.status
        is_clear = status is not None and (status.failure or status.is_cancelled)
        return min(COARSE_S, self._pace.record_s) if is_clear else self._pace.record_s

    async def _ask(self) -> None:
        generator = self._generator
        command = generator.status_command(self._user)
        asked_at = self._clock()
        answer = await to_thread.run_sync(generator.ask, command, self._pace.command_s)
        try:
            if not answer.is_good:
                raise SchedulerOutputError(command[0], answer.words or answer.output)
            statuses = generator.parse_status(answer.output)
            news = self.tracker.answered(statuses, self._clock(), asked_at)
        except SchedulerOutputError as error:
            self.tracker.failed(self._clock())
            self._troubles.met(self._asking, answer.words or str(error))
            return
        since = self.tracker.unknown_since
        if since is None:
            self._troubles.over(self._asking)
        elif self._clock() - since >= 2 * self._pace.least_s:
            self._troubles.met(self._asking, "it says that there are no jobs at all")
        keep_absences(self.tracker, self.in_hand, self._pace.n_confirm)
        news += await self._account(news)
        for status in news:
            for job in self.in_hand.of(status.id):
                self._hear(job, status)
        self._take_found()
        self._starting.schedule()  # how many jobs of arrays execute is known anew

    async def _account(self, told: list[JobStatus]) -> list[JobStatus]:
        """Look up what the queue does not say: where jobs are, and with what they ended."""
        ends = [end.status for end in self._ends.values() if end.status is not None]
        ends += [s for s in told if s.is_cancelled or self._is_handed_on(s.id)]
        untold = [s.id for s in ends if s.phase is Phase.ENDED and self._is_unclear(s)]
        ids = self.tracker.to_account(self._clock(), _MOST_ACCOUNTED, untold)
        return await ask_accounts(self._generator, self.tracker, ids, self._pace.command_s)

    def _is_unclear(self, status: JobStatus) -> bool:
        """Whether an end lacks its code, or it is not known who has cancelled a job."""
        if not status.is_cancelled:
            return status.exit_code is None and not status.failure
        return not status.was_placed and status.canceller is None

    def _judged(self, status: JobStatus) -> JobStatus:
        """A status by which a job is cancelled only if somebody has done that."""
        tracked = self.tracker.jobs.get(status.id)
        known = [job.attempt.start_time for job in self.in_hand.of(status.id)]
        known += [tracked.begun] if tracked is not None else []
        begun = min((time for time in known if time is not None), default=None)
        return status._replace(is_cancelled=False) if is_by_system(status, begun) else status

    def _is_handed_on(self, job_id: str) -> bool:
        return any(job.attempt.is_handed_on for job in self.in_hand.of(job_id))

    def _hear(self, job: Held, status: JobStatus) -> None:
        desk, attempt = job
        if status.phase is not Phase.ENDED:
            attempt.hear_of_job(state=status.state, reason=status.reason or None)
            desk.note(attempt, is_urgent=False)
            return
        if status.failure is not None and status.reason:
            self._cancel(status.id)  # it will never begin, and stands in the queue
        ended = self._ends.get(attempt.nonce)
        if ended is None:
            self._ends[attempt.nonce] = _Ended(self._clock(), None, status)
        else:
            self._ends[attempt.nonce] = ended._replace(status=status)

    def _take_found(self) -> None:
        for key, status in self.tracker.found().items():
            del self.tracker.sought[key]
            for desk, attempt in self.in_hand.take_sought(key):
                log.info("run %s: its job is %s", attempt.title, status.id)
                ticket = Ticket(attempt.nonce, self._generator.name, status.name, status.id)
                try:
                    write_tickets(layout.job_ticket(attempt.run_dir, attempt.number), [ticket])
                except OSError as error:  # it is found again, unless the database learns of it
                    self._troubles.met(attempt.looking, error)
                self.follow(desk, attempt, ticket)

    def _settle(self) -> None:
        """Record the ends that are clear by now."""
        now = self._clock()
        for nonce, ended in list(self._ends.items()):
            job = self.in_hand.find(nonce)
            if job is None:
                del self._ends[nonce]
                continue
            desk, attempt = job
            if ended.outcome is None:
                self.look(desk, attempt)  # it may have come by now
                if attempt.has_process_ended or self._ends.get(nonce) != ended:
                    continue
            is_due = now >= ended.since + self._patience_s(ended)
            if ended.outcome is not None and (ended.status is not None or is_due):
                left = ended.outcome
                self._finish(desk, attempt, left.exit, left.end, ended.status)
            elif is_due:
                assert ended.status is not None
                code = ended.status.exit_code
                if attempt.pid is None and self._goes_again(desk, attempt, ended.status):
                    continue
                if attempt.reading.refusals and self._lives(attempt):
                    self._ends[nonce] = ended._replace(since=now)
                    continue
                is_packed = attempt.batch.get("packed", 1) > 1  # the code is the last one's
                is_no_code = is_packed or (code == REFUSED and bool(attempt.reading.refusals))
                self._finish(
                    desk, attempt, None if is_no_code else code, time.time(), ended.status
                )
        for job_id in self.tracker.gone(now):
            for job in self.in_hand.of(job_id):
                self._lose(job_id, *job)
        for key in self.tracker.not_found(now):
            del self.tracker.sought[key]
            for desk, attempt in self.in_hand.take_sought(key):
                self._unfound(desk, attempt)

    def _goes_again(self, desk: Desk, attempt: Attempt, status: JobStatus) -> bool:
        """Submit a packed run again whose job ended before its turn came."""
        is_packed = attempt.batch.get("packed", 1) > 1
        if not is_packed or self._judged(status).is_cancelled or attempt.is_ending:
            return False
        log.info("run %s: job %s ended before its turn", attempt.title, status.id)
        self._ended(desk, attempt)
        attempt.hear_of_job(id=None, state=None, packed=None, missing=None)
        self._starting.queue(desk, attempt)
        return True

    def _lose(self, job_id: str, desk: Desk, attempt: Attempt) -> None:
        """Nobody knows of the job of an attempt any more."""
        offsets = dict(attempt.reading.offsets)
        self.look(desk, attempt)
        if attempt.has_process_ended or attempt.nonce in self._ends:
            return
        if self._lives(attempt) or offsets != attempt.reading.offsets:
            self.tracker.is_alive(job_id)
            return
        blame_loss(self._generator, attempt)
        self.end(desk, attempt, None, time.time())

    def _lives(self, attempt: Attempt) -> bool:
        """Whether the script executes, or may, as another job of the same attempt."""
        try:
            is_held = holders.is_held(attempt.run_dir, attempt.number)
            return is_held or self.tracker.has_another(attempt.batch["id"])
        except OSError as error:
            self._troubles.met(attempt.looking, error)
            return True

    def _unfound(self, desk: Desk, attempt: Attempt) -> None:
        """A job was never submitted, or is gone."""
        self.look(desk, attempt)
        if attempt.has_process_ended:
            return
        if attempt.is_ending or attempt.pid is not None:
            attempt.lose(f"its job is gone from {self._generator.name}, without an outcome")
            self.end(desk, attempt, None, time.time())
        else:
            log.info("run %s: it has no job, and is submitted again", attempt.title)
            attempt.hear_of_job(missing=None)
            self._starting.queue(desk, attempt)
            self._starting.schedule()

    # ending

    def withdraw(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """End the job of an attempt whose run somebody has put into this state."""
        if attempt in desk.waiting:
            desk.call_off(attempt, state)
        elif not attempt.has_process_ended:
            log.info("run %s: cancelled, since it was set to %s", attempt.title, state)
            attempt.withdraw(state)
            self._cancel_one(desk, attempt)
        elif not attempt.is_over:
            desk.call_off(attempt, state)

    def _cancel_one(self, desk: Desk, attempt: Attempt) -> None:
        """Cancel a job; of one that other runs share, end this run alone."""
        self._leaving[attempt.nonce] = Held(desk, attempt)
        self._wake.set()

    def _cancel_leaving(self) -> None:
        """Cancel jobs, now that it is known who shares them."""
        leaving, self._leaving = self._leaving, {}
        for desk, attempt in leaving.values():
            job_id = attempt.batch.get("id")
            if job_id is None or attempt.has_process_ended:
                continue
            if all(job.attempt.is_ending for job in self.in_hand.of(job_id)):
                self._cancel(job_id)
                continue
            try:
                if is_kept_from_turn(attempt, desk.generation):
                    self.end(desk, attempt, None, time.time())
            except OSError as error:
                self._troubles.met(attempt.looking, error)
                self._leaving[attempt.nonce] = Held(desk, attempt)

    def _cancel(self, job_id: str) -> None:
        self._cancels.add(job_id)
        self._wake.set()

    # what another launcher submitted

    def adopt(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """Find out what became of an attempt that another launcher submitted, and go on."""
        if gives_up(attempt, state) and not attempt.is_ending:
            attempt.withdraw(state)
        try:
            tickets = self._tickets.setdefault(desk, Tickets(desk.study.runs_dir))
            ticket = tickets.of(attempt.run_dir, attempt.number, attempt.nonce)
            taken = token.read_token(attempt.run_dir, attempt.number)
        except OSError as error:
            self._troubles.met(attempt.looking, error)
            if attempt.is_withdrawn:
                desk.let_go(attempt)  # the next launcher looks again
                return
            ticket, taken = None, None
        job_id = attempt.batch.get("id") or (ticket.id if ticket is not None else None)
        if job_id is not None:
            ticket = None if attempt.is_handed_on else ticket
            name = ticket.name if ticket is not None else ""
            known = Ticket(attempt.nonce, self._generator.name, name, job_id)
            self.follow(desk, attempt, known)
            recall_absence(attempt, self.tracker.jobs[job_id], self._clock())
            self.look(desk, attempt)
        elif ticket is not None:
            self.seek(desk, attempt, ticket)
            recall_absence(attempt, self.tracker.sought[ticket.key], self._clock())
            self.look(desk, attempt)
        elif taken is not None or not (attempt.is_withdrawn or state == states.SUBMITTED):
            self._strange[attempt.nonce] = Held(desk, attempt)
            self.look(desk, attempt)
            self._see_strange(desk, attempt)
        elif attempt.is_withdrawn:
            desk.call_off(attempt, state)
        else:
            self._starting.queue(desk, attempt)
        self._starting.schedule()

    def _see_strange(self, desk: Desk, attempt: Attempt) -> None:
        """An attempt that this batch system knows nothing of goes on, or is over."""
        taken = token.read_token(attempt.run_dir, attempt.number)
        is_elsewhere = taken is not None and not token.is_here(taken)
        if attempt.has_process_ended or is_elsewhere:
            return
        if not holders.is_held(attempt.run_dir, attempt.number):
            self.end(desk, attempt, None, time.time())

    # the end of the launcher

    async def insist(self) -> None:
        """Nothing is to be waited for: what was cancelled is cancelled again if need be."""

    def close(self, desk: Desk) -> None:
        """Follow the attempts of a study no longer; they go on."""
        for attempt in desk.held.values():
            if attempt.pid is not None:
                self.fold(desk, attempt)
