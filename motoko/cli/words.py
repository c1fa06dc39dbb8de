"""How numbers, times and states are written for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

#: States in the order in which runs pass through them; users' own come after these.
STATE_ORDER = ("CREATED", "SUBMITTED", "RUNNING", "FINISHED", "FAILED", "CANCELLED")
_LONGEST_VALUE = 40


def duration(seconds: float) -> str:
    """A duration in the units that matter: ``0.83 s``, ``3 min 20 s``, ``2 d 4 h``."""
    if seconds < 60:
        return f"{max(0.0, seconds):.{1 if seconds >= 1 else 2}f} s"
    whole = int(seconds)
    minutes, hours = whole // 60, whole // 3600
    if hours < 1:
        return f"{minutes} min {whole % 60} s"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def moment(when: float | None) -> str:
    """A time, in seconds since the epoch, as local date and clock."""
    if when is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def counted(n: int, word: str) -> str:
    """A number with its noun: ``1 run``, ``3 runs``."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def ordered_states(names: Iterable[str]) -> list[str]:
    """States in the order of a run's life, users' own ones last and sorted."""
    present = set(names)
    known = [state for state in STATE_ORDER if state in present]
    return known + sorted(present.difference(STATE_ORDER))


def states(counts: Mapping[str, int]) -> str:
    """Runs by state in a line: ``3 FINISHED, 1 RUNNING``."""
    shown = (f"{counts[state]} {state}" for state in ordered_states(counts) if counts[state])
    return ", ".join(shown) or "no runs"


class Whole(str):
    """A text whose lines and blanks are kept."""


def value(given: Any, *, is_rounded: bool = True) -> str:
    """A value in a line: all of it, but for the last digits of a rounded number."""
    if given is None:
        return ""
    if isinstance(given, Whole):
        return given
    if isinstance(given, float) and is_rounded:
        return f"{given:.6g}"
    return " ".join(str(given).split())


def shortened(given: Any) -> str:
    """A value in a line, its beginning where it is long."""
    text = value(given)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def size(n_bytes: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"
