"""How numbers, times and states are written for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from motoko.phrases import counted, duration, listed, moment

__all__ = [
    "STATE_ORDER",
    "Whole",
    "counted",
    "duration",
    "listed",
    "moment",
    "ordered_states",
    "size",
    "states",
    "value",
]

#: States in the order in which runs pass through them; users' own come after these.
STATE_ORDER = ("CREATED", "SUBMITTED", "RUNNING", "FINISHED", "FAILED", "CANCELLED")


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


def size(n_bytes: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"
