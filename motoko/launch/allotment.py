"""How many runs of each study may execute at once, where arrays of jobs are among them.

The batch system keeps the limit of an array itself: its throttle. All that may execute, by the
throttles that it knows, is never more than the limits allow; so what is to be taken from one
array is given to another only once it has been given back.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)


class Extent(NamedTuple):
    """An array: how many of its jobs have not ended, and how many may execute at once now."""

    n_left: int
    bound: int


class Part(NamedTuple):
    """What one study has, and could use.

    ``most`` is its own limit; ``n_alone`` counts jobs any of which may execute; ``arrays`` have
    jobs that wait for others of theirs, the oldest first; ``n_waiting`` runs have no job yet.
    """

    most: int | None = None
    n_alone: int = 0
    arrays: Sequence[Extent] = ()
    n_waiting: float = 0

    @property
    def bound(self) -> int:
        """So many of its jobs may execute at once."""
        return self.n_alone + sum(array.bound for array in self.arrays)

    @property
    def wanted(self) -> float:
        """So many could execute, if nothing but its own limit stood against that."""
        everything = self.n_alone + sum(one.n_left for one in self.arrays) + self.n_waiting
        return min(everything, _limit(self.most))


class Allotment(NamedTuple):
    """What one study gets: the throttle of each of its arrays, and how many further jobs may
    execute at once, of a new array and of others."""

    throttles: tuple[int, ...]
    new_array: float
    alone: float


def allot(parts: Mapping[K, Part], most: int | None) -> dict[K, Allotment]:
    """What each study gets of what all may have together.

    An array that is there has one at least: no batch system knows a throttle of none.
    """
    free = _limit(most) - sum(part.bound for part in parts.values())
    shares = fair_shares({key: part.wanted for key, part in parts.items()}, _limit(most))
    found = {}
    for key, part in parts.items():
        own_free = _limit(part.most) - part.bound
        left = min(shares[key], _limit(part.most)) - part.n_alone
        throttles = []
        for array in part.arrays:
            throttle = int(max(1, min(array.n_left, left)))
            left -= throttle
            more = max(0, min(throttle - array.bound, own_free, free))
            if throttle > array.bound:
                throttle = int(array.bound + more)
            own_free, free = own_free - more, free - more
            throttles.append(throttle)
        found[key] = tuple(throttles), own_free, left
    return {
        key: Allotment(
            throttles,
            new_array=max(0, min(own_free, free, left)),
            alone=max(0, min(own_free, free)),
        )
        for key, (throttles, own_free, left) in found.items()
    }


def fair_shares(wanted: Mapping[K, float], most: float) -> dict[K, float]:
    """A limit given to those who want something of it: who wants little gets that, the others
    the same each, but one at least."""
    shares: dict[K, float] = {}
    left = most
    for n_done, key in enumerate(sorted(wanted, key=lambda key: wanted[key])):
        equal = left if math.isinf(left) else math.ceil(left / (len(wanted) - n_done))
        shares[key] = min(wanted[key], max(1, equal))
        if not math.isinf(left):
            left = max(0, left - shares[key])
    return shares


def _limit(most: int | None) -> float:
    return math.inf if most is None else most
