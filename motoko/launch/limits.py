"""What a run may take."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from motoko.config import parse_walltime
from motoko.host import awake_clock
from motoko.job.outcome import Outcome

log = logging.getLogger(__name__)

#: How batch systems write a time without an end.
_UNLIMITED = frozenset({"unlimited", "infinite", "infinity"})
#: Two clocks tell durations that differ by less.
_SAME_S = 0.1


class Walltime:
    """How long an attempt may take, and how much of that is left."""

    def __init__(self, limit_s: float | None) -> None:
        self.limit_s = limit_s
        self._clock: Callable[[], float] = awake_clock
        self._begun_at: float | None = None

    def begin(
        self, started: float, age_s: float | None, clock: Callable[[], float] = awake_clock
    ) -> None:
        """It counts from now on, if it does not yet.

        ``age_s``: for how long the attempt has gone on by this clock, else the time of day when
        it started tells, which is asked once: it may be set later. Batch systems count on while
        this machine sleeps.
        """
        if self._begun_at is None:
            if age_s is None:
                age_s = max(0.0, time.time() - started)
            self._clock, self._begun_at = clock, clock() - age_s

    def took_s(
        self,
        began: float | None,
        ended: float | None,
        now: float,
        read_outcome: Callable[[], Outcome | None],
    ) -> float | None:
        """How long an attempt took to its end, if clocks that nobody sets tell otherwise than
        times of day; None if not.

        ``now`` is when its processes were seen to be gone. It may have said before that it has
        ``ended``.
        """
        if began is None or self._begun_at is None:
            return None
        by_day, took_s = now - began, self._clock() - self._begun_at
        if abs(by_day - took_s) < _SAME_S:
            return None
        left = read_outcome()
        if left is not None:  # that may have been long before it was seen
            if left.took is None:
                return None
            now, by_day, took_s = left.end, left.end - left.begin, left.took
        if abs(by_day - took_s) < _SAME_S:
            return None
        afterwards = now - (ended or now)
        return took_s - afterwards if 0 <= afterwards <= took_s else took_s

    @property
    def left_s(self) -> float | None:
        """How much longer it may take; None without a limit or before its begin."""
        if self.limit_s is None or self._begun_at is None:
            return None
        return self._begun_at + self.limit_s - self._clock()

    @property
    def is_over(self) -> bool:
        """Whether it has taken longer than it may."""
        return self.left_s is not None and self.left_s < 0


def walltime_s(row: Mapping[str, Any], default: float | None, title: str) -> float | None:
    """Seconds that a run may take; None without a limit."""
    given = row.get("walltime")
    if given is None:
        return default
    try:
        return parse_walltime(given)
    except ValueError as error:
        log.warning("run %s: walltime %r is ignored: expected %s", title, given, error)
        return default


def asked_s(text: str | None) -> float | None:
    """The seconds of a time as batch systems are asked for it: infinite without an end; None
    for what is no time."""
    if text is not None and text.lower() in _UNLIMITED:
        return math.inf
    try:
        return parse_walltime(text)
    except ValueError:
        return None
