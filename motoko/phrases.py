"""Durations, times, numbers and names as they stand in sentences for people."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: What to do about a database that is no more.
BRINGS_IT_BACK = (
    "`motoko repair` rebuilds it as far as run directories tell, `motoko backup"
    " --restore PATH` puts a copy back (both after `motoko kill`, if anything runs)"
)

#: The same about one that is there, and damaged.
MENDS_IT = f"`motoko verify` says how far, {BRINGS_IT_BACK}"


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


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of the known names was probably meant: a clause, or nothing."""
    meant = closest(name, known)
    return f"; did you mean {meant!r}?" if meant is not None else ""


def closest(name: str, known: Iterable[str]) -> str | None:
    """The one of the known names that is most like this one, if any is."""
    from difflib import get_close_matches

    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def listed(names: Iterable[str], at_most: int | None = None) -> str:
    """The names in one line, or the first of them and how many more there are, or a word for
    their absence."""
    names = list(names)
    shown = names[:at_most]
    more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return f"{', '.join(shown)}{more}" or "none"
