"""What becomes of a run, or of a phase of a system, that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from motoko.config.retry import (
    DEFAULT,
    KEEP,
    LAST,
    ONCE,
    PRUNE,
    RETRY_SCHEMA,
    Retry,
    read_retry,
)
from motoko.config.sections import Read
from motoko.config.values import Refused
from motoko.phrases import listed, nearest

RETRY: Final = "retry"
#: The words of ``on_failure``.
WORDS: Final = (KEEP, RETRY, *LAST[1:])


class FailurePolicy(NamedTuple):
    """How often it is tried again, and what becomes of it in the end.

    ``retry`` is None where nothing is said of it: then another one's holds.
    """

    retry: Retry | None = None
    last: str = KEEP

    @property
    def again(self) -> Retry:
        """How often, also where nothing is said of it."""
        return DEFAULT if self.retry is None else self.retry

    def over(self, other: FailurePolicy) -> FailurePolicy:
        """This policy, where it stands above another one, that of a study."""
        return self if self.retry is not None else FailurePolicy(other.retry, self.last)

    def for_runs(self) -> dict[str, Any]:
        """The entry ``on_failure`` of runs that are tried again like this, and then are left
        out, or FAILED without further consequences: whoever made them decides on these."""
        last = PRUNE if self.last == PRUNE else KEEP
        return {RETRY: self.again._replace(then=last).as_data()}


#: What nobody has said otherwise.
USUAL: Final = FailurePolicy()


def read_policy(value: Any) -> FailurePolicy:
    """What was written under ``on_failure``; Refused where that cannot be meant."""
    if isinstance(value, FailurePolicy):
        return value
    if isinstance(value, Mapping) and len(value) == 1 and RETRY in value:
        try:
            retry = read_retry(value[RETRY])
        except Refused as refused:
            found = refused.value if refused.at else value[RETRY]
            raise Refused(refused.expected, found, (RETRY, *refused.at)) from None
        return FailurePolicy(retry, retry.then or KEEP)
    if value == RETRY:
        return FailurePolicy(ONCE)
    if isinstance(value, str) and value in LAST:
        return FailurePolicy(None, value)
    meant = nearest(value, WORDS) if isinstance(value, str) else ""
    raise Refused(f"{listed(WORDS)}, or {{retry: {{attempts: 2, then: prune}}}}{meant}")


def combined(on_failure: FailurePolicy | None, retry: Retry | None) -> FailurePolicy:
    """The policy of a study that says these two; Refused, of ``retry``, if they disagree."""
    if on_failure is None:
        return FailurePolicy(retry or DEFAULT, (retry and retry.then) or KEEP)
    if retry is None:
        return on_failure.over(FailurePolicy(DEFAULT))
    if on_failure.retry is None:
        if retry.then not in (None, on_failure.last):
            raise Refused(f"{on_failure.last}, as on_failure says", retry.then, ("then",))
        return FailurePolicy(retry, on_failure.last)
    if on_failure.retry == ONCE:  # the word alone
        return FailurePolicy(retry, retry.then or KEEP)
    raise Refused("nothing here, since on_failure says how often")


OnFailure = Annotated[
    FailurePolicy,
    Read(
        read_policy,
        {
            "anyOf": [
                {"enum": list(WORDS)},
                {
                    "type": "object",
                    "properties": {RETRY: RETRY_SCHEMA},
                    "required": [RETRY],
                    "additionalProperties": False,
                },
            ]
        },
    ),
]
