"""How often a run that failed is tried again by itself, by class of failure, and with what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from motoko.config.sections import Read
from motoko.config.values import Refused
from motoko.config.walltime import parse_walltime
from motoko.phrases import listed, nearest

APPLICATION: Final = "application"  # the user's program said so, by exit code or fail()
WALLTIME: Final = "walltime"  # ended because it took longer than it was given
MEMORY: Final = "out of memory"  # ended by the system, which had none left
PREEMPTED: Final = "preempted"  # ended by the batch system in favour of another job
INFRASTRUCTURE: Final = "infrastructure"  # its process or host went away, its disk was full
SUBMISSION: Final = "submission"  # it never began: its files could not be made

#: The classes of failure: strings, since they are stored, shown and written in ``bd.yaml``.
CLASSES: Final = (APPLICATION, WALLTIME, MEMORY, PREEMPTED, INFRASTRUCTURE, SUBMISSION)

KEEP: Final = "keep"  # it is FAILED, and events decide
PRUNE: Final = "prune"  # what rests on it is left out, the rest goes on
RAISE: Final = "raise"  # the workflow ends
#: What becomes of a run that failed and is not tried again.
LAST: Final = (KEEP, PRUNE, RAISE)
#: The entries that a further attempt may have more of.
RESOURCES: Final = ("mem", "walltime")

_DELAY: Final = "delay"
_BACKOFF: Final = "backoff"
_ATTEMPTS: Final = "attempts"
_TIMES: Final = "times"
_THEN: Final = "then"
_SETTINGS: Final = (_ATTEMPTS, _DELAY, _BACKOFF, _THEN)
_COUNT: Final = "a whole number of further attempts, 0 for none"
_FACTOR: Final = "a factor from 1 to 100"
_MOST_FACTOR: Final = 100.0
_ALLOWED: Final = (
    f"{_COUNT}, or a mapping of classes of failure ({', '.join(CLASSES)}) to such numbers,"
    f" with {_ATTEMPTS} for all others, a {_DELAY}, {_BACKOFF} and {_THEN} perhaps"
)
#: No pause becomes longer by what it is multiplied with.
_LONGEST_PAUSE_S: Final = 86400.0


class Retry(NamedTuple):
    """How many further attempts each class of failure is worth, how long each waits, and with
    how much more of what it is made."""

    budgets: Mapping[str, int]
    delay_s: float = 0.0
    #: How many times as long as the one before each further attempt of a class waits.
    backoff: float = 1.0
    #: By class: factors of the resources of each further attempt.
    times: Mapping[str, Mapping[str, float]] = {}
    #: What becomes of a run without any budget left, if that is said here.
    then: str | None = None

    def budget(self, failure: str | None) -> int:
        """How many further attempts a failure of this class may have."""
        return self.budgets.get(failure or "", 0)

    def pause_s(self, n_used: int) -> float:
        """How long an attempt waits that comes after so many further ones of its class."""
        longest = max(self.delay_s, _LONGEST_PAUSE_S)
        grown = self.delay_s * self.backoff ** min(n_used, 50)
        return float(min(grown, longest))

    @property
    def longest_pause_s(self) -> float:
        """No attempt waits longer."""
        return self.pause_s(max(self.budgets.values(), default=0))

    def as_data(self) -> dict[str, Any]:
        """What `read_retry` makes this of again, as plain values; what is usual is left out."""
        data: dict[str, Any] = dict(self.budgets)
        for name, factors in self.times.items():
            data[name] = {_ATTEMPTS: self.budget(name), _TIMES: dict(factors)}
        usual = {_DELAY: 0.0, _BACKOFF: 1.0, _THEN: None}
        given = {_DELAY: self.delay_s, _BACKOFF: self.backoff, _THEN: self.then}
        return {**data, **{name: v for name, v in given.items() if v != usual[name]}}

    def __repr__(self) -> str:
        return _flow(self.as_data())


#: What a study gets that says nothing: what is no fault of the program is tried again.
DEFAULT: Final = Retry({INFRASTRUCTURE: 2})
#: What ``on_failure: retry`` means by itself.
ONCE: Final = Retry({**dict.fromkeys(CLASSES, 1), **DEFAULT.budgets})


def read_retry(value: Any) -> Retry:
    """What was written under ``retry``; Refused where that cannot be meant."""
    if isinstance(value, Retry):
        return value
    if not isinstance(value, Mapping):
        return Retry(dict.fromkeys(CLASSES, _count(value)))
    budgets = dict(DEFAULT.budgets)
    if _ATTEMPTS in value:
        budgets = dict.fromkeys(CLASSES, _count(value[_ATTEMPTS], (_ATTEMPTS,)))
    times: dict[str, dict[str, float]] = {}
    for name, given in value.items():
        if name in _SETTINGS:
            continue
        failure = _class(name)
        if isinstance(given, Mapping):
            _check_keys(given, (_ATTEMPTS, _TIMES), (failure,))
            budgets[failure] = _count(given.get(_ATTEMPTS), (failure, _ATTEMPTS))
            if _TIMES in given:
                times[failure] = _factors(given[_TIMES], (failure, _TIMES))
        else:
            budgets[failure] = _count(given, (failure,))
    return Retry(
        budgets,
        _delay(value.get(_DELAY, 0)),
        _factor(value.get(_BACKOFF, 1), (_BACKOFF,)),
        times,
        read_last(value[_THEN], (_THEN,)) if _THEN in value else None,
    )


def read_last(value: Any, at: tuple[str, ...] = ()) -> str:
    """What becomes of a run in the end; Refused for what is none of the words."""
    if value not in LAST:
        meant = nearest(value, LAST) if isinstance(value, str) else ""
        raise Refused(f"{listed(LAST)}{meant}", value, at)
    return str(value)


def _class(name: Any) -> str:
    if name not in CLASSES:
        meant = nearest(str(name), (*CLASSES, *_SETTINGS))
        raise Refused(f"a class of failure ({', '.join(CLASSES)}){meant}", name, (name,))
    return str(name)


def _check_keys(given: Mapping[Any, Any], known: tuple[str, ...], at: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            meant = nearest(str(key), known)
            raise Refused(f"no more than {listed(known)}{meant}", key, (*at, key))


def _count(value: Any, at: tuple[str, ...] = ()) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        if not at:
            raise Refused(_ALLOWED)
        raise Refused(_COUNT, value, at)
    return value


def _factors(value: Any, at: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(value, Mapping) or not value:
        raise Refused(f"factors of {listed(RESOURCES)}, as in {{mem: 2}}", value, at)
    _check_keys(value, RESOURCES, at)
    return {str(name): _factor(factor, (*at, name)) for name, factor in value.items()}


def _factor(value: Any, at: tuple[str, ...]) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 1 <= value <= _MOST_FACTOR:
        raise Refused(_FACTOR, value, at)
    return float(value)


def _delay(value: Any) -> float:
    if value == 0 and not isinstance(value, bool):
        return 0.0
    try:
        return parse_walltime(value)
    except Refused as refused:
        raise Refused(refused.expected, value, (_DELAY,)) from None


def _flow(value: Any) -> str:
    """Plain values as a line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(v)}" for name, v in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


_N_ATTEMPTS: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_A_FACTOR: Final[dict[str, Any]] = {"type": "number", "minimum": 1, "maximum": _MOST_FACTOR}
_OF_CLASS: Final[dict[str, Any]] = {
    "anyOf": [
        _N_ATTEMPTS,
        {
            "type": "object",
            "properties": {
                _ATTEMPTS: _N_ATTEMPTS,
                _TIMES: {
                    "type": "object",
                    "properties": dict.fromkeys(RESOURCES, _A_FACTOR),
                    "additionalProperties": False,
                },
            },
            "required": [_ATTEMPTS],
            "additionalProperties": False,
        },
    ]
}
RETRY_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        _N_ATTEMPTS,
        {
            "type": "object",
            "properties": {
                _ATTEMPTS: _N_ATTEMPTS,
                **dict.fromkeys(CLASSES, _OF_CLASS),
                _DELAY: {"type": ["string", "number"]},
                _BACKOFF: _A_FACTOR,
                _THEN: {"enum": list(LAST)},
            },
            "additionalProperties": False,
        },
    ]
}
RetryPolicy = Annotated[Retry, Read(read_retry, RETRY_SCHEMA)]
