"""What is decided about a failure: pure, from the policy and what was recorded before."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from motoko.config.policy import RETRY, FailurePolicy, read_policy
from motoko.config.values import Refused
from motoko.config.walltime import parse_walltime

#: The fact of an attempt that it was tried again, and when: what counts towards a budget.
RETRY_AT: Final = "retry_at"
#: The entry of a run that stands above the policy of its study.
ENTRY: Final = "on_failure"
#: What grows beyond this is left as it is: nobody has that much.
_MOST: Final = 1e18
_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)(.*)", re.DOTALL)


class Decision(NamedTuple):
    """What is to be done: ``retry`` after a pause and with changes to the entries of the run,
    or ``keep``, ``prune`` or ``raise``."""

    action: str
    pause_s: float = 0.0
    changes: Mapping[str, Any] = {}


def decide(
    policy: FailurePolicy,
    history: Sequence[Mapping[str, Any]],
    failure: str | None,
    entries: Mapping[str, Any] | None = None,
) -> Decision:
    """What becomes of a failure of this class.

    ``history`` are the attempts before it, as `motoko runs show` has them, the oldest first;
    ``entries`` what the next attempt may have more of. A failure that was not tried again ends
    the count: somebody gave a new start.
    """
    retry = policy.again
    n_used = n_retried(history, failure)
    if n_used >= retry.budget(failure):
        return Decision(policy.last)
    factors = retry.times.get(failure or "", {})
    changes = {
        name: more
        for name, factor in factors.items()
        if (more := escalated(name, (entries or {}).get(name), factor)) is not None
    }
    return Decision(RETRY, retry.pause_s(n_used), changes)


def n_retried(history: Sequence[Mapping[str, Any]], failure: str | None) -> int:
    """How many failures of a class were tried again since somebody gave a new start."""
    n_used = 0
    for known in reversed(history):
        if RETRY_AT not in known:
            break
        n_used += known.get("class") == failure
    return n_used


def of_run(row: Mapping[str, Any], study: FailurePolicy) -> FailurePolicy:
    """The policy of one run: its own entry, or that of its study."""
    given = row.get(ENTRY)
    if given is None:
        return study
    try:
        return read_policy(given).over(study)
    except Refused:  # something of the user's own that is so named
        return study


def escalated(name: str, value: Any, factor: float) -> Any:
    """So many times as much of ``mem`` or ``walltime``; None where that is nothing."""
    if value is None or isinstance(value, bool) or factor == 1.0:
        return None
    if name == "walltime":
        try:
            seconds = parse_walltime(value) * factor
        except Refused:
            return None
        if seconds > _MOST:
            return None
        return f"{_number(seconds)}s" if isinstance(value, str) else _number(seconds)
    if isinstance(value, (int, float)):
        grown = value * factor
        return _number(grown) if math.isfinite(grown) and 0 < grown <= _MOST else None
    found = _AMOUNT.fullmatch(str(value))
    if found is None or not 0 < (grown := float(found[1]) * factor) <= _MOST:
        return None
    return f"{_number(grown)}{found[2]}"


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)
