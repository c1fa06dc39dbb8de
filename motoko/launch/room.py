"""How many further jobs limits allow, of each study and of all together."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from motoko.launch.allotment import Allotment, Part, allot
from motoko.launch.desk import Desk
from motoko.launch.in_hand import InHand
from motoko.launch.throttles import Throttles

#: So many jobs are in the hands of a batch system, unless somebody says otherwise.
MOST_SUBMITTED = 500


@dataclass(eq=False)
class Submission:
    """Jobs that are being submitted, and how many of them may execute at once."""

    desk: Desk
    n_jobs: int
    n_at_once: int


class Room:
    """What there is of it in one batch system."""

    def __init__(
        self,
        desks: Collection[Desk],
        in_hand: InHand,
        throttles: Throttles,
        shared_limit: Callable[[str], int | None],
        n_ready: Callable[[Desk], int],
    ) -> None:
        """``shared_limit`` tells a limit of all ``desks`` together, by its name; ``n_ready``
        how many runs of one wait to be submitted."""
        self._desks = desks
        self._in_hand = in_hand
        self._throttles = throttles
        self._shared_limit = shared_limit
        self._n_ready = n_ready
        self._submitting: list[Submission] = []

    @property
    def is_submitting(self) -> bool:
        """Whether jobs are being submitted."""
        return bool(self._submitting)

    @contextmanager
    def taken(self, desk: Desk, n_jobs: int, n_at_once: int) -> Iterator[Submission]:
        """Count jobs that are about to be submitted."""
        submission = Submission(desk, n_jobs, n_at_once)
        self._submitting.append(submission)
        try:
            yield submission
        finally:
            self._submitting.remove(submission)

    def n_jobs(self, desk: Desk | None = None) -> int:
        """How many jobs there are or may be, of a study or of all."""
        coming = sum(one.n_jobs for one in self._submitting if desk in (None, one.desk))
        return coming + self._in_hand.n_jobs(desk)

    def in_queue(self, desk: Desk) -> int:
        """How many further jobs of a study may wait or execute."""
        usual = max(MOST_SUBMITTED, self._shared_limit("max_concurrent") or 0)
        room = (self._shared_limit("max_submitted") or usual) - self.n_jobs()
        most = desk.limit("max_submitted")
        return max(0, room if most is None else min(room, most - self.n_jobs(desk)))

    def at_once(self, desk: Desk, *, is_array: bool) -> float:
        """How many further jobs of a study may execute at once, alone or of a new array."""
        found = self._allotted()[0].get(desk)
        if found is None:
            return math.inf
        return found.new_array if is_array else found.alone

    def throttles(self) -> dict[str, int]:
        """The throttles that arrays are to have."""
        return self._allotted()[1]

    def _allotted(self) -> tuple[dict[Desk, Allotment], dict[str, int]]:
        """What each study may have, where there are limits, and the throttles of arrays."""
        shared = self._shared_limit("max_concurrent")
        # In one order always: whose turn it is varies.
        desks = sorted(self._desks, key=lambda desk: desk.study.name)
        own = {desk: desk.limit("max_concurrent") for desk in desks}
        if shared is None and not any(own.values()) and self._throttles.are_open:
            return {}, {}
        parts, arrays = {}, {}
        for desk, most in own.items():
            arrays[desk] = extents = self._throttles.extents(desk)
            n_alone = self._in_hand.n_jobs(desk) - sum(e.n_left for e in extents.values())
            n_waiting = math.inf if desk.may_get_more else self._n_ready(desk)
            n_waiting = 0 if desk.is_held else n_waiting
            for one in self._submitting:
                if one.desk is desk:
                    n_alone += one.n_at_once
                    n_waiting += one.n_jobs - one.n_at_once
            parts[desk] = Part(most, n_alone, tuple(extents.values()), n_waiting)
        if shared is not None:
            # Jobs that scripts of other generators have handed their work to count as well.
            shared -= self._in_hand.n_jobs() - sum(map(self._in_hand.n_jobs, parts))
        found = allot(parts, shared)
        throttles = [zip(arrays[desk], found[desk].throttles, strict=True) for desk in parts]
        return found, dict(pair for pairs in throttles for pair in pairs)
