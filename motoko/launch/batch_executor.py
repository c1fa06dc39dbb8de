"""Attempts become jobs of a batch system, three submissions at a time at most.

What the system has no room for is tried again later, and is no fault of a run. A job that it
does not take fails with its words, once: others that ask for the same wait, until somebody
tries that run again or the files of the study are changed.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel
from anyio import to_thread

from motoko.crashpoints import reached
from motoko.errors import MotokoError, SchedulerOutputError
from motoko.job import layout
from motoko.launch.attempt import Attempt
from motoko.launch.batch_generator import BatchGenerator, Refusal, Shape
from motoko.launch.batch_watch import BatchWatch
from motoko.launch.commands import NOT_EXECUTED, Answer
from motoko.launch.desk import Desk
from motoko.launch.environment import user_name
from motoko.launch.grouping import MOST_IN_ARRAY, Grouped, group_script
from motoko.launch.rendering import asked_walltime_s, job_script, render, shape_of
from motoko.launch.room import Room
from motoko.launch.rundir import Kit
from motoko.launch.starter import Starter
from motoko.launch.throttles import Throttles
from motoko.launch.ticket import (
    Ticket,
    add_ids,
    group_script_file,
    group_ticket,
    job_name,
    write_tickets,
)
from motoko.launch.tracking import Pace
from motoko.launch.trouble import Troubles
from motoko.study.study import Study

log = logging.getLogger(__name__)

#: So many runs of a study that are submitted one by one are claimed ahead.
_AHEAD = 64
#: So many submissions in that time are many.
_N_MANY, _BUSY_S = 4, 0.5
#: While the answers to some are awaited, the next one is under way.
_AT_ONCE = 3
#: A further array of a study has so large a share of the jobs that are there already.
_SHARE = 0.25
_LONGEST_PAUSE_S = 60.0
_FIRST_PAUSE_S = 1.0


class BatchExecutor(Starter):
    """Submits the attempts of studies; a `BatchWatch` follows the jobs."""

    watch: BatchWatch

    def __init__(
        self,
        generator: BatchGenerator,
        python_dir: Path,
        knock: str,
        inherited: Mapping[str, str],
        troubles: Troubles,
        *,
        max_concurrent: int | None = None,
        max_submitted: int | None = None,
        pace: Pace,
    ) -> None:
        super().__init__(python_dir, knock, inherited, troubles)
        self.watch = BatchWatch(generator, user_name(inherited), self, troubles, pace)
        self.generator = generator
        self._limits = {"max_concurrent": max_concurrent, "max_submitted": max_submitted}
        self._pace = pace
        # How long studies pause next that had no room.
        self._pauses: WeakKeyDictionary[Desk, float] = WeakKeyDictionary()
        self._wake = anyio.Event()
        self._starts: deque[float] = deque(maxlen=_N_MANY)
        in_hand, tracker = self.watch.in_hand, self.watch.tracker
        self._throttles = Throttles(generator, in_hand, tracker, troubles, pace, time.monotonic)
        self._has_throttles = anyio.Event()
        self._all_room = Room(
            self._desks,
            in_hand,
            self._throttles,
            lambda name: self._shared_limit(name, self._limits[name]),
            self._n_ready,
        )
        # Studies of which several runs are being submitted together.
        self._gathering: set[Desk] = set()
        # What the jobs of attempts ask for; None for what cannot be asked for.
        self._shapes: WeakKeyDictionary[Attempt, Shape | None] = WeakKeyDictionary()
        # How many jobs of a study have room in one array, where all of them had none.
        self._fits: WeakKeyDictionary[Desk, int] = WeakKeyDictionary()
        # Shapes that were refused, and the run that was.
        self._refusals: dict[tuple[Desk, Shape], int] = {}

    def add(self, desk: Desk) -> None:
        super().add(desk)
        generator = self.generator
        options = desk.study.config.options.get(generator.name, ())
        where = f"{desk.study.config.file}: {generator.name}_options"
        generator.dialect.check(options, where)

    def release(self) -> None:
        """Give back what was needed for asking; nothing is asked any more."""
        self.generator.close()

    # how much

    def n_wanted(self, desk: Desk) -> int:
        """How many further runs to claim: what there is room for, and some ahead.

        A commit costs much the same for one and for many: single ones are claimed again when
        half of those that were are submitted.
        """
        grouped = self._grouped(desk)
        ahead = _AHEAD if grouped.most == 1 else MOST_IN_ARRAY
        most = min(self._room(desk) * grouped.pack, ahead)
        if self.watch.in_hand.arrays and not desk.is_held and self._all_room.in_queue(desk) > 0:
            most = max(most, 1)  # one that waits says that its study wants a share
        n_ready = self._n_ready(desk)
        if grouped.most == 1 and n_ready > most // 2:
            return 0
        return max(0, most - n_ready)

    def _n_ready(self, desk: Desk) -> int:
        return sum(1 for attempt in desk.waiting if not self._is_refused(desk, attempt))

    def _grouped(self, desk: Desk) -> Grouped:
        config = desk.study.config
        return Grouped(config.array and self.generator.has_arrays, config.pack or 1)

    def _room(self, desk: Desk) -> int:
        """How many jobs of a study may be submitted now."""
        at_once = 0 if desk.is_held else self._at_once(desk)
        room = self._all_room.in_queue(desk) if at_once > 0 else 0
        return room if self._is_whole(desk) else int(min(room, at_once))

    def _at_once(self, desk: Desk) -> float:
        return self._all_room.at_once(desk, is_array=self._is_whole(desk))

    def _is_whole(self, desk: Desk) -> bool:
        """Whether arrays of a study may have more jobs than may execute at once."""
        return self._grouped(desk).has_array and self._throttles.are_kept

    @property
    def is_busy(self) -> bool:
        """Whether jobs are submitted one after the other: what there is to say is gathered."""
        starts = self._starts
        return len(starts) == _N_MANY and starts[0] > time.monotonic() - _BUSY_S

    @property
    def is_at_rest(self) -> bool:
        """Whether all is submitted for which there is room, and its system was asked."""
        if self._all_room.is_submitting or self._copying or self._next() is not None:
            return False
        is_throttled = not any(self._throttles.due(self._all_room.throttles()))
        return is_throttled and self.watch.is_at_rest

    # for the desks

    def walltime_s(self, desk: Desk, row: Mapping[str, Any]) -> float | None:
        """How long a run may take by the options of its job."""
        with suppress(ValueError):  # which is said when its script is written
            return asked_walltime_s(desk.study.config, self.generator, row)
        return None

    def end_left(self, run_dir: str, number: int) -> None:
        """What is left of an attempt ends with its job."""

    # submitting

    def schedule(self) -> None:
        for desk in self._desks:
            if self.n_wanted(desk) > 0:
                desk.claim()
            if not desk.waiting:
                self._troubles.over(desk.starting)
        self._wake.set()
        self._has_throttles.set()
        self._prepare_soon()

    async def run(self) -> None:
        """Submit what there is room for, until cancelled."""
        async with anyio.create_task_group() as group:
            for _ in range(_AT_ONCE):
                group.start_soon(self._submit_all)
            group.start_soon(self._throttle)

    async def _throttle(self) -> None:
        """Let arrays have the throttles that limits allow."""
        while True:
            await self._has_throttles.wait()
            self._has_throttles = anyio.Event()
            await self._throttles.send(self._all_room.throttles())
            await anyio.sleep(self._pace.least_s)

    async def _submit_all(self) -> None:
        while not self._is_closed:
            wake = self._wake
            await wake.wait()
            if wake is self._wake:
                self._wake = anyio.Event()
            while (found := self._next()) is not None:
                desk, attempts = found
                is_group = self._grouped(desk).most > 1
                if is_group:
                    self._gathering.add(desk)
                try:
                    await self._submit(desk, attempts)
                finally:
                    if is_group:
                        self._gathering.discard(desk)
                self.schedule()

    def _next(self) -> tuple[Desk, list[Attempt]] | None:
        for _ in range(len(self._desks)):
            self._desks.rotate(-1)
            desk = self._desks[-1]
            is_idle = desk in self._paused or desk in self._gathering
            if self._is_closed or is_idle or self._room(desk) <= 0:
                continue
            found = self._ready(desk)
            if found:
                return desk, found
        return None

    def _ready(self, desk: Desk) -> list[Attempt]:
        """The attempts of a study that are submitted next; more than one as a group."""
        grouped = self._grouped(desk)
        most = grouped.most
        if grouped.pack == 1:
            most = min(most, self._room(desk), self._fits.get(desk, most))
        found: list[Attempt] = []
        first: Shape | None = None
        for attempt in desk.waiting:
            is_being_made = desk in self._copying and not attempt.is_prepared
            if is_being_made or self._is_refused(desk, attempt):
                continue
            shape = self._shape(desk, attempt)
            if not found:
                first = shape
            if shape == first:
                found.append(attempt)
            if len(found) == most or first is None:
                break
        return found if self._is_enough(desk, found, most) else []

    def _is_enough(self, desk: Desk, found: list[Attempt], most: int) -> bool:
        """Whether runs are submitted now, or after more of them have come, or more room for
        an array: it costs the same whatever its size."""
        if not self._grouped(desk).has_array or not found:
            return True
        if len(found) < most and desk.may_get_more and self.n_wanted(desk) > 0:
            return False
        largest = min(MOST_IN_ARRAY, self._fits.get(desk, MOST_IN_ARRAY))
        is_all = len(found) < min(most, largest)
        return is_all or len(found) >= min(largest, _SHARE * self._all_room.n_jobs(desk))

    def _shape(self, desk: Desk, attempt: Attempt) -> Shape | None:
        if attempt not in self._shapes:
            with suppress(ValueError, MotokoError):  # which is said when its script is written
                return self._sure_shape(desk, attempt)
            self._shapes[attempt] = None
        return self._shapes[attempt]

    def _sure_shape(self, desk: Desk, attempt: Attempt) -> Shape:
        """The same; ValueError, ReservedOption for what cannot be asked for."""
        shape = self._shapes.get(attempt)
        if shape is None:
            shape = self._shapes[attempt] = shape_of(desk.study, self.generator, attempt)
        return shape

    def _is_refused(self, desk: Desk, attempt: Attempt) -> bool:
        if not self._refusals:
            return False
        shape = self._shape(desk, attempt)
        if shape is None:
            return False
        key = (desk, shape)
        if self._refusals.get(key) == attempt.run_id:  # somebody wants it tried again
            del self._refusals[key]
        return key in self._refusals

    def _prepared(self, desk: Desk, attempt: Attempt, kit: Kit) -> None:
        """Write its script ahead too: what is left then is one request."""
        attempt.exec_file = kit.exec_file
        shape = self._sure_shape(desk, attempt)
        environment = self._environments[desk.study]
        script = job_script(desk.study, environment, attempt, desk.generation)
        text = render(self.generator, script, _name(desk, attempt), shape)
        Path(attempt.run_dir, layout.job_script(attempt.number)).write_text(text)
        super()._prepared(desk, attempt, kit)

    async def _submit(self, desk: Desk, attempts: list[Attempt]) -> None:
        n_jobs = 1 if self._grouped(desk).pack > 1 else len(attempts)
        n_at_once = int(min(n_jobs, self._at_once(desk))) if self._is_whole(desk) else n_jobs
        with self._all_room.taken(desk, n_jobs, n_at_once):
            members = await self._taken(desk, attempts)
            if not members:
                return
            shape = self._sure_shape(desk, members[0])
            # One alone is no group, of which PBS makes no array.
            grouped = self._grouped(desk) if len(members) > 1 else Grouped()
            if grouped.has_array and n_at_once < len(members):
                grouped = grouped._replace(most_at_once=n_at_once)
            tickets = self._tickets(desk, members, grouped)
            self.watch.bells.listen(desk)
            try:
                answer = await to_thread.run_sync(
                    self._hand_over, desk.study, members, tickets, shape, grouped
                )
            except OSError as error:
                for attempt in members:
                    self._refused(desk, attempt, error)
                    if not attempt.has_process_ended:
                        desk.waiting.appendleft(attempt)
                return
        self._take_answer(desk, members, shape, tickets, grouped, answer)

    async def _taken(self, desk: Desk, attempts: list[Attempt]) -> list[Attempt]:
        """Those of these attempts that can begin now, taken from those that wait."""
        found: list[Attempt] = []
        for attempt in attempts:
            if attempt not in desk.waiting:
                continue  # somebody has withdrawn it meanwhile
            was_prepared = attempt.is_prepared
            if self._is_ready(desk, attempt):
                found.append(attempt)
            if not was_prepared:
                await anyio.lowlevel.checkpoint()
        return [attempt for attempt in found if not attempt.has_process_ended]

    def _is_ready(self, desk: Desk, attempt: Attempt) -> bool:
        """Take it from those that wait, if it can begin now."""
        desk.waiting.remove(attempt)
        if not attempt.is_prepared and not self._prepare(desk, attempt):
            if not attempt.has_process_ended and desk.held.get(attempt.run_id) is attempt:
                desk.waiting.appendleft(attempt)
            return False
        try:
            if attempt.is_found_finished(time.time()):
                desk.note(attempt)
                return False
        except Exception as error:
            self._refused(desk, attempt, error)
            return False
        return True

    def _tickets(self, desk: Desk, members: list[Attempt], grouped: Grouped) -> list[Ticket]:
        kind = self.generator.name
        name = _name(desk, members[0])
        if grouped.most == 1:
            return [Ticket(members[0].nonce, kind, name)]
        base = self.generator.array_base
        return [
            Ticket(attempt.nonce, kind, name, task=base + place if grouped.has_array else None)
            for place, attempt in enumerate(members)
        ]

    def _hand_over(
        self,
        study: Study,
        members: list[Attempt],
        tickets: list[Ticket],
        shape: Shape,
        grouped: Grouped,
    ) -> Answer:
        """Submit, in a thread: nothing may come between the answer and the tickets."""
        generator, first = self.generator, members[0]
        place, file = first.run_dir, layout.job_script(first.number)
        ticket_file = layout.job_ticket(first.run_dir, first.number)
        if grouped.most > 1:
            place, name = str(study.runs_dir), tickets[0].name
            names = (attempt.run_dir.rpartition("/")[2] for attempt in members)
            scripts = (layout.job_script(attempt.number) for attempt in members)
            files = [f"{name}/{script}" for name, script in zip(names, scripts, strict=True)]
            file = group_script_file(name)
            text = group_script(generator, name, shape, place, files, grouped)
            Path(place, file).write_text(text)
            ticket_file = group_ticket(study.runs_dir, name)
        write_tickets(ticket_file, tickets)
        reached("job.described")
        answer = generator.ask(generator.submit_command(file), self._pace.command_s, place)
        reached("job.submitted")
        if not answer.is_good:
            return answer
        try:
            job_id = generator.parse_submission(answer.output)
        except SchedulerOutputError as error:
            return Answer(None, answer.output, str(error))
        try:
            add_ids(ticket_file, self._ids(job_id, tickets))
        except OSError as error:  # it is found by its name, should the database not learn of it
            log.warning("job %s: %s", job_id, error)
        reached("job.known")
        return answer._replace(output=job_id)

    def _ids(self, job_id: str, tickets: list[Ticket]) -> list[str]:
        if tickets[0].task is None:
            return [job_id] * len(tickets)
        return self.generator.array_ids(job_id, len(tickets))

    def _take_answer(
        self,
        desk: Desk,
        members: list[Attempt],
        shape: Shape,
        tickets: list[Ticket],
        grouped: Grouped,
        answer: Answer,
    ) -> None:
        if answer.is_good:
            self._pauses.pop(desk, None)
            if (n_fit := self._fits.get(desk)) is not None:  # there may be room for more now
                self._fits[desk] = min(n_fit + n_fit // 4 + 1, MOST_IN_ARRAY)
            self._starts.append(time.monotonic())
            self._troubles.over(desk.starting)
            n_packed = len(members) if grouped.pack > 1 else None
            ids = self._ids(answer.output, tickets)
            array_id = self.generator.array_of(ids[0])
            if grouped.has_array and array_id is not None:
                self._throttles.submitted(array_id, grouped.most_at_once or math.inf)
            for attempt, ticket, own in zip(members, tickets, ids, strict=True):
                attempt.hear_of_job(packed=n_packed)
                self.watch.follow(desk, attempt, ticket._replace(id=own))
            return
        words = answer.words or answer.output or f"exit code {answer.code}"
        refusal = self._refusal(answer)
        if refusal is Refusal.UNCLEAR:
            self._troubles.met(desk.starting, words)
            for attempt, ticket in zip(members, tickets, strict=True):
                self.watch.seek(desk, attempt, ticket)
            self._back_off(*self._desks)
            return
        for attempt in members:
            if attempt.is_ending:
                desk.let_go(attempt)
        members = [attempt for attempt in members if not attempt.is_ending]
        is_known = (desk, shape) in self._refusals  # of one that was submitted beside it
        if members and refusal is Refusal.REFUSED and not is_known:
            command = self.generator.submit_command("")[0]
            why = f"{command} refused it: {words}"
            first = members.pop(0)
            self._refusals[desk, shape] = first.run_id
            self._troubles.met(
                desk.starting, f"{why}; other runs that ask for the same wait for a correction"
            )
            self._refuse(desk, first, why)
        elif not is_known:
            is_busy = refusal is Refusal.BUSY  # which may be for what this study asks for
            if is_busy and grouped.has_array:
                self._fits[desk] = len(members) // 2 or 1
            self._troubles.met(desk.starting, f"{refusal.value}: {words}")
            self._back_off(*([desk] if is_busy else self._desks))
        desk.waiting.extendleft(reversed(members))

    def _refusal(self, answer: Answer) -> Refusal:
        if answer.code is None or answer.code < 0:
            return Refusal.UNCLEAR
        if answer.code == NOT_EXECUTED:
            return Refusal.AWAY
        return self.generator.refusal(f"{answer.words}\n{answer.output}")

    def _back_off(self, *desks: Desk) -> None:
        """Try nothing of these studies for a while, longer each time."""
        for desk in desks:
            pause_s = self._pauses.get(desk, _FIRST_PAUSE_S)
            self._pause(desk, pause_s)
            self._pauses[desk] = min(2 * pause_s, _LONGEST_PAUSE_S)


def _name(desk: Desk, attempt: Attempt) -> str:
    return job_name(desk.study.name, attempt.run_id, attempt.number, attempt.nonce)
