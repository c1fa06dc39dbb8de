"""The states of a run, and which may follow which.

States are strings. Six are built in; any other one is the user's own, and the table holds one
row, ``USER``, for all of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from motoko.columns import AWAITS
from motoko.errors import InvalidTransition

CREATED: Final = "CREATED"
SUBMITTED: Final = "SUBMITTED"
RUNNING: Final = "RUNNING"
FINISHED: Final = "FINISHED"
FAILED: Final = "FAILED"
CANCELLED: Final = "CANCELLED"

#: In the table, every state that a user made up.
USER: Final = "*"

BUILT_IN: Final = (CREATED, SUBMITTED, RUNNING, FINISHED, FAILED, CANCELLED)
ACTIVE: Final = frozenset({SUBMITTED, RUNNING})

#: A run in one of these does not execute.
NEVER_OPEN: Final = frozenset({CREATED, FINISHED, FAILED})

_BAD = frozenset({FAILED, CANCELLED})
_OVER = _BAD | {FINISHED}
_OLD_SPELLINGS = {"FAILURE": FAILED}


def _table(rows: Mapping[str, Iterable[str]]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({before: frozenset(after) for before, after in rows.items()})


#: What may follow each state; staying in a state is no change, and always allowed.
TRANSITIONS: Final = _table(
    {
        CREATED: (SUBMITTED, RUNNING, FINISHED, FAILED, CANCELLED, USER),
        SUBMITTED: (RUNNING, FINISHED, FAILED, CANCELLED, CREATED, USER),
        RUNNING: (FINISHED, FAILED, CANCELLED, CREATED, USER),
        FINISHED: (USER, CREATED, FAILED),
        FAILED: (USER, CREATED, FINISHED, CANCELLED),
        CANCELLED: (CREATED, USER),
        USER: (USER, CREATED, FINISHED, FAILED, CANCELLED),
    }
)


def is_allowed(before: str, after: str) -> bool:
    """Whether a run in the one state may be put into the other."""
    return before == after or _row(after) in TRANSITIONS[_row(before)]


def check(run: str, before: str, after: str) -> None:
    """Raise InvalidTransition, which lists what is allowed, unless the change is."""
    if not is_allowed(before, after):
        following = TRANSITIONS[_row(before)]
        allowed: list[str] = [state for state in BUILT_IN if state in following]
        if USER in following:
            allowed.append("any state of your own")
        raise InvalidTransition(run, before, after, allowed)


def is_over(state: str) -> bool:
    """Whether a run in this state has ended, well or badly."""
    return state in _OVER


def is_bad(state: str) -> bool:
    """Whether a run in this state has ended badly."""
    return state in _BAD


def is_open(row: Mapping[str, Any]) -> bool:
    """Whether the attempt of a run was begun and has not been seen to end.

    Runs in a state of the user's own, and cancelled ones, may execute as well as RUNNING ones;
    a run has an end time once its attempt is over.
    """
    has_begun = row["state"] not in NEVER_OPEN and row.get("nonce") is not None
    return has_begun and row.get("end_time") is None


def has_ended(row: Mapping[str, Any]) -> bool:
    """Whether a run cannot be expected to change by itself any more.

    It is over, has finished once, or nothing of it executes in a state of the user's own: no
    launcher takes it then.
    """
    if row.get("has_finished") or is_over(row["state"]):
        return True
    return row["state"] not in BUILT_IN and not is_open(row)


def has_failed(row: Mapping[str, Any]) -> bool:
    """Whether a run has ended badly, and never finished."""
    return not row.get("has_finished") and is_bad(row["state"])


def awaits_step(row: Mapping[str, Any]) -> bool:
    """Whether a run was put back, and waits until the step of its pipeline begins: no launcher
    takes it before."""
    return row["state"] == CREATED and row.get(AWAITS) is not None


def normalise(text: Any) -> str:
    """The state that a text means: ``FAILURE`` is the old spelling of FAILED.

    Anything else stays as it is, upper and lower case being different states. Raises
    ValueError for what is no text, or nothing but blanks.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"a state is a text that is not empty, not {text!r}")
    return _OLD_SPELLINGS.get(text, str(text))


def _row(state: str) -> str:
    return state if state in BUILT_IN else USER
