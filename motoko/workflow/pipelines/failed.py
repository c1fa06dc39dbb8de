"""Functions of pipelines whose last call has failed, and nothing came of it since."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.model.policy import RETRY_AT
from motoko.phrases import duration, moment
from motoko.store.ledger import FAILURE
from motoko.workflow.pipelines.again import NEW_START

if TYPE_CHECKING:
    from motoko.store.ledger import Ledger

#: It is asked of so many of the last firings.
_MOST = 10_000


class FailedCall(NamedTuple):
    """The last call of a function for one system."""

    run_name: str
    #: The phase: a step and a system.
    function: str
    #: How often it was called.
    number: int
    cause: str
    #: When it is called again; None if it has failed for good.
    retry_at: float | None

    @property
    def in_words(self) -> str:
        """What became of it, and what will."""
        times = "once" if self.number == 1 else f"{self.number} times"
        text = f"failed, called {times}: {self.cause}"
        if self.retry_at is None:
            return text
        left_s = self.retry_at - time.time()
        when = f"at {moment(self.retry_at)}, in {duration(left_s)}" if left_s > 0 else "next"
        return f"{text}; it is called again {when}"


def standing(ledger: Ledger, run_name: str) -> list[FailedCall]:
    """Those of a run name, in the order in which they failed."""
    found: dict[str, Mapping[str, Any]] = {}
    for record in ledger.firings(_MOST, run_name).values():
        event = record["event"]
        found.pop(event, None)
        if FAILURE in record:
            found[event] = record[FAILURE]
    return [
        FailedCall(run_name, event, why["number"], why["cause"], why.get(RETRY_AT))
        for event, why in found.items()
        if NEW_START not in why
    ]
