"""Necessary conditions of a constraint, in a form that indexes can use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Interval:
    """The values between two ends; an end that is None is open, and an unset value is outside.

    ``low_open`` and ``high_open`` say that the end itself does not belong to it.
    """

    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False

    @classmethod
    def at(cls, value: Any) -> Interval:
        """The interval of one value."""
        return cls(value, value)

    @property
    def is_empty(self) -> bool:
        """Whether no value lies in it."""
        if self.low is None or self.high is None:
            return False
        if self.low == self.high:
            return self.low_open or self.high_open
        return bool(self.low > self.high)

    def intersect(self, other: Interval) -> Interval:
        """The values that lie in both."""
        low, low_open = self.low, self.low_open
        if low is None or (other.low is not None and other.low > low):
            low, low_open = other.low, other.low_open
        elif other.low == low:
            low_open = low_open or other.low_open
        high, high_open = self.high, self.high_open
        if high is None or (other.high is not None and other.high < high):
            high, high_open = other.high, other.high_open
        elif other.high == high:
            high_open = high_open or other.high_open
        return Interval(low, high, low_open, high_open)

    def hull(self, other: Interval) -> Interval:
        """The smallest interval around both."""
        low, low_open = None, False
        if self.low is not None and other.low is not None:
            low = min(self.low, other.low)
            low_open = all(i.low_open for i in (self, other) if i.low == low)
        high, high_open = None, False
        if self.high is not None and other.high is not None:
            high = max(self.high, other.high)
            high_open = all(i.high_open for i in (self, other) if i.high == high)
        return Interval(low, high, low_open, high_open)

    def touches(self, other: Interval) -> bool:
        """Whether nothing lies between the two, so that their hull is their union."""
        for left, right in ((self, other), (other, self)):
            if left.high is None or right.low is None:
                continue
            if left.high < right.low:
                return False
            if left.high == right.low and left.high_open and right.low_open:
                return False
        return True


Dimension = tuple[str, str]
Extent = frozenset[str] | Interval

_SETS = ("state", "run_name")
_INTERVALS = ("run_id", "job_id")


@dataclass(frozen=True)
class Bounds:
    """What every run that matches fulfils; None, or absence from ``job``, leaves it open.

    ``is_exact`` says that the reverse holds too: what is within the bounds matches.
    """

    state: frozenset[str] | None = None
    run_name: frozenset[str] | None = None
    run_id: Interval | None = None
    job_id: Interval | None = None
    job: Mapping[str, Interval] = field(default_factory=lambda: MappingProxyType({}))
    is_exact: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing can match."""
        return any(_is_empty(extent) for _, extent in self._extents())

    @property
    def is_open(self) -> bool:
        """Whether they say nothing."""
        return next(self._extents(), None) is None

    def __and__(self, other: Bounds) -> Bounds:
        mine, extents = dict(self._extents()), dict(other._extents())
        for place, extent in mine.items():
            extents[place] = (
                _intersection(extent, extents[place]) if place in extents else extent
            )
        return _bounds(extents, self.is_exact and other.is_exact)

    def __or__(self, other: Bounds) -> Bounds:
        for one, another in ((self, other), (other, self)):
            if one.is_empty:
                return another
            if one.is_open and one.is_exact:
                return one
        mine, theirs = dict(self._extents()), dict(other._extents())
        both = {place: (mine[place], theirs[place]) for place in mine if place in theirs}
        extents = {place: _union(a, b) for place, (a, b) in both.items()}
        n_different = len(mine) + len(theirs) - 2 * len(both)
        is_exact = self.is_exact and other.is_exact
        for a, b in both.values():
            if a != b:
                n_different += 1
                if isinstance(a, Interval) and isinstance(b, Interval):
                    is_exact = is_exact and a.touches(b)
        # a union along one dimension is a box again; along two it has corners left out
        return _bounds(extents, is_exact and n_different <= 1)

    def _extents(self) -> Iterator[tuple[Dimension, Extent]]:
        for name in (*_SETS, *_INTERVALS):
            extent = getattr(self, name)
            if extent is not None:
                yield ("run", name), extent
        for name, interval in self.job.items():
            yield ("job", name), interval


def _bounds(extents: Mapping[Dimension, Extent], is_exact: bool) -> Bounds:
    of_run: dict[str, Any] = {name: e for (of, name), e in extents.items() if of == "run"}
    of_job = {
        name: e for (of, name), e in extents.items() if of == "job" and isinstance(e, Interval)
    }
    return Bounds(**of_run, job=MappingProxyType(of_job), is_exact=is_exact)


def _is_empty(extent: Extent) -> bool:
    return extent.is_empty if isinstance(extent, Interval) else not extent


def _intersection(a: Extent, b: Extent) -> Extent:
    if isinstance(a, Interval) and isinstance(b, Interval):
        return a.intersect(b)
    assert isinstance(a, frozenset) and isinstance(b, frozenset)
    return a & b


def _union(a: Extent, b: Extent) -> Extent:
    if isinstance(a, Interval) and isinstance(b, Interval):
        return a.hull(b)
    assert isinstance(a, frozenset) and isinstance(b, frozenset)
    return a | b
