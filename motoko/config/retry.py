"""How often a run that failed is tried again by itself, by class of failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema

from motoko.config.values import Refused
from motoko.config.walltime import parse_walltime
from motoko.phrases import nearest

APPLICATION: Final = "application"  # the user's program said so, by exit code or fail()
WALLTIME: Final = "walltime"  # ended because it took longer than it was given
MEMORY: Final = "out of memory"  # ended by the system, which had none left
PREEMPTED: Final = "preempted"  # ended by the batch system in favour of another job
INFRASTRUCTURE: Final = "infrastructure"  # its process or host went away, its disk was full
SUBMISSION: Final = "submission"  # it never began: its files could not be made

#: The classes of failure: strings, since they are stored, shown and written in ``bd.yaml``.
CLASSES: Final = (APPLICATION, WALLTIME, MEMORY, PREEMPTED, INFRASTRUCTURE, SUBMISSION)

_DELAY: Final = "delay"
_COUNT: Final = "a whole number of further attempts, 0 for none"
_ALLOWED: Final = (
    f"{_COUNT}, or a mapping of classes of failure ({', '.join(CLASSES)}) to such numbers,"
    f" with a {_DELAY} perhaps"
)


class Retry(NamedTuple):
    """How many further attempts each class of failure is worth, and how long each waits."""

    budgets: Mapping[str, int]
    delay_s: float = 0.0

    def budget(self, failure: str | None) -> int:
        """How many further attempts a failure of this class may have."""
        return self.budgets.get(failure or "", 0)

    def __repr__(self) -> str:
        said = {**self.budgets, **({_DELAY: self.delay_s} if self.delay_s else {})}
        return "{" + ", ".join(f"{name}: {n:g}" for name, n in said.items()) + "}"


#: What a study gets that says nothing: what is no fault of the program is tried again.
DEFAULT: Final = Retry({INFRASTRUCTURE: 2})


def _retry(value: Any) -> Retry:
    if not isinstance(value, Mapping):
        return Retry(dict.fromkeys(CLASSES, _count(value)))
    budgets = dict(DEFAULT.budgets)
    for name, n_attempts in value.items():
        if name != _DELAY:
            budgets[_class(name)] = _count(n_attempts, name)
    return Retry(budgets, _delay(value.get(_DELAY, 0)))


def _class(name: Any) -> str:
    if name not in CLASSES:
        meant = nearest(str(name), (*CLASSES, _DELAY))
        raise Refused(f"a class of failure ({', '.join(CLASSES)}){meant}", name, (name,))
    return str(name)


def _count(value: Any, name: str | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        if name is None:
            raise Refused(_ALLOWED)
        raise Refused(_COUNT, value, (name,))
    return value


def _delay(value: Any) -> float:
    if value == 0 and not isinstance(value, bool):
        return 0.0
    try:
        return parse_walltime(value)
    except Refused as refused:
        raise Refused(refused.expected, value, (_DELAY,)) from None


_N_ATTEMPTS: Final = {"type": "integer", "minimum": 0}
RetryPolicy = Annotated[
    Retry,
    BeforeValidator(_retry),
    WithJsonSchema(
        {
            "anyOf": [
                _N_ATTEMPTS,
                {
                    "type": "object",
                    "properties": {
                        **dict.fromkeys(CLASSES, _N_ATTEMPTS),
                        _DELAY: {"type": ["string", "number"]},
                    },
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
