"""Durations as people and batch systems write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

from motoko.config.values import Refused

ALLOWED = "a duration: seconds, [days-]hours:minutes:seconds, or like 90s, 10m, 2h, 1h30m, 1d"

_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_UNITS = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?"
                    r"(?:(\d+(?:\.\d+)?)s?)?")  # fmt: skip
_IN_SECONDS = (86400.0, 3600.0, 60.0, 1.0)


def parse_walltime(value: Any) -> float:
    """Seconds of a walltime; raises ``Refused``, a ValueError, for what is none.

    A bare number counts seconds, ``10:30`` minutes and seconds; behind days (``1-12``,
    ``1-12:30``) hours come first, as Slurm has it. Only what comes first may be as large as
    60, or 24 for hours behind days.
    """
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        raise Refused(ALLOWED)
    return seconds


def _seconds(value: Any) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return None
    if not isinstance(value, str) or len(value) > 60:
        return None
    text = re.sub(r"\s+", "", value.lower())
    if text and (units := _UNITS.fullmatch(text)):
        return sum(float(n) * s for n, s in zip(units.groups(), _IN_SECONDS, strict=True) if n)
    if clock := _CLOCK.fullmatch(text):
        days, *given = clock.groups()
        numbers = [int(n) for n in given if n is not None]
        most = (23, 59, 59) if days is not None else (math.inf, 59, 59)
        if any(n > limit for n, limit in zip(numbers, most, strict=False)):
            return None
        if days is None:
            numbers = [0] * (3 - len(numbers)) + numbers
        else:
            numbers += [0] * (3 - len(numbers))
        return float(
            sum(n * s for n, s in zip([int(days or 0), *numbers], _IN_SECONDS, strict=True))
        )
    return None
