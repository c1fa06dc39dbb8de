"""The throttles of arrays, as their batch system knows them, and changing them.

After a throttle was lowered, as many jobs as before may still execute, until the system has
told how many do. Of an array that another launcher submitted nobody knows what its throttle is,
so it is told one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from anyio import to_thread

from motoko.launch.allotment import Extent
from motoko.launch.batch_generator import BatchGenerator, Phase
from motoko.launch.desk import Desk
from motoko.launch.in_hand import InHand
from motoko.launch.tracking import Pace, Tracker
from motoko.launch.trouble import Troubles


@dataclass
class _Throttle:
    """What is known of that of one array."""

    #: What the system has; None if nobody knows.
    told: float | None = None
    #: So many jobs may execute at once, whatever it has now.
    bound: float = math.inf
    #: Since when it has that.
    since: float = math.inf
    #: When to try again, if it did not take another one.
    again_at: float = -math.inf
    pause_s: float = 0.0
    #: What there was to be counted, how many of it may execute, and whether some may begin.
    counted: tuple[int, int] = (-1, -1)
    n_begun: int = 0
    has_more: bool = True


class Throttles:
    """Those of all arrays in the hands of one batch system."""

    def __init__(
        self,
        generator: BatchGenerator,
        in_hand: InHand,
        tracker: Tracker,
        troubles: Troubles,
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self._generator = generator
        self._in_hand = in_hand
        self._tracker = tracker
        self._troubles = troubles
        self._pace = pace
        self._clock = clock
        self._known: dict[str, _Throttle] = {}
        self._changing = f"cannot change the throttles of arrays of {generator.name}"
        #: Whether arrays are submitted whole: where throttles cannot be changed, they are not.
        self.are_kept = bool(generator.has_arrays and generator.throttle_command("", 1))

    @property
    def are_open(self) -> bool:
        """Whether no array is known to have a throttle, or may have one."""
        known = (self._known.get(array_id) for array_id in self._in_hand.arrays)
        return not self.are_kept or all(k is not None and k.told == math.inf for k in known)

    def submitted(self, array_id: str, throttle: float) -> None:
        """An array was submitted with this throttle; infinite for none."""
        self._known[array_id] = _Throttle(throttle, throttle, self._clock())

    def extents(self, desk: Desk) -> dict[str, Extent]:
        """The arrays of a study that have jobs which may not have begun, the oldest first."""
        self._forget()
        found = {}
        for array_id, jobs in self._in_hand.arrays.items():
            if self.are_kept and next(iter(jobs.values())) is desk:
                extent = self._extent(array_id, jobs)
                if extent is not None:
                    found[array_id] = extent
        return found

    def _extent(self, array_id: str, jobs: Mapping[str, Desk]) -> Extent | None:
        known = self._known.setdefault(array_id, _Throttle())
        self._count(known, jobs)
        if not known.has_more:
            return None  # all of it executes: no throttle has a meaning
        if known.told is not None and self._tracker.told_at >= known.since:
            known.bound = max(known.told, min(known.bound, known.n_begun))
        return Extent(len(jobs), int(min(known.bound, len(jobs))))

    def _count(self, known: _Throttle, jobs: Mapping[str, Desk]) -> None:
        counted = self._tracker.n_answers, len(jobs)
        if known.counted != counted:
            phases = [self._phase(job_id) for job_id in jobs]
            known.counted = counted
            known.n_begun = sum(phase is not Phase.PENDING for phase in phases)
            known.has_more = any(phase in (None, Phase.PENDING) for phase in phases)

    def _phase(self, job_id: str) -> Phase | None:
        tracked = self._tracker.jobs.get(job_id)
        return None if tracked is None or tracked.status is None else tracked.status.phase

    def _forget(self) -> None:
        for array_id in self._known.keys() - self._in_hand.arrays.keys():
            del self._known[array_id]
        if not self._in_hand.arrays:
            self._troubles.over(self._changing)

    def due(self, wanted: Mapping[str, int]) -> Iterator[str]:
        """The arrays that are to be told another throttle now."""
        now = self._clock()
        for array_id, throttle in wanted.items():
            known = self._known.get(array_id)
            if known is None or now < known.again_at:
                continue
            n_left = len(self._in_hand.arrays.get(array_id, ()))
            if known.told is None or min(known.told, n_left) != min(throttle, n_left):
                yield array_id

    async def send(self, wanted: Mapping[str, int]) -> None:
        """Tell the batch system what has changed."""
        due = [(array_id, self._known[array_id]) for array_id in self.due(wanted)]
        for array_id, known in due:
            await self._send(array_id, known, wanted[array_id])

    async def _send(self, array_id: str, known: _Throttle, throttle: int) -> None:
        known.bound = max(known.bound, throttle)  # should the answer be lost
        known.told = None
        command = self._generator.throttle_command(array_id, throttle)
        answer = await to_thread.run_sync(self._generator.ask, command, self._pace.command_s)
        if answer.is_good:
            known.told, known.since, known.pause_s = throttle, self._clock(), 0.0
            self._troubles.over(self._changing)
            return
        if known.pause_s and array_id in self._in_hand.arrays:  # else all of it may have begun
            words = answer.words or answer.output
            self._troubles.met(self._changing, f"{' '.join(command)}: {words.strip()}")
        known.pause_s = min(max(self._pace.least_s, 2 * known.pause_s), self._pace.most_s)
        known.again_at = self._clock() + known.pause_s
