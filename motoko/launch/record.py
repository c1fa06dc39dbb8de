"""What one commit says about an attempt, and how it changes the tables.

A state that somebody else has set is never overwritten: a record changes the run's row only
while the row still belongs to this attempt and its state is one that the launcher or the
attempt itself has put there. Otherwise just the history of attempts is written. Applying a
record twice is the same as applying it once.

A run whose attempt failed in a way that is worth another one goes to CREATED in the commit that
would have made it FAILED: nobody ever sees it in that state. Its history has the failure, and
``retry_at``, when the next attempt may begin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from motoko.config.retry import Retry
from motoko.model import states
from motoko.store.tables import Tables


class Record(NamedTuple):
    """What is to be written about one attempt.

    ``entries`` are those among ``changes`` that are told only once (set by the script).
    ``instead_of`` is the nonce of a later attempt that never began: this one turned out to have
    finished before. ``late`` is what was heard of the attempt before this one: its number, its
    nonce and a sentence.
    """

    run_id: int
    number: int
    nonce: str
    state: str | None
    put_states: frozenset[str]
    entries: Mapping[str, Any]
    changes: Mapping[str, Any]
    facts: Mapping[str, Any]
    quantities: Mapping[str, tuple[Any, Any]]
    is_over: bool = False
    retry: Retry = Retry({})
    #: When it was seen to be over, on the clock of this boot.
    over_at: float | None = None
    boot: str = ""
    instead_of: str | None = None
    late: tuple[int, str, str] | None = None

    def apply(self, tables: Tables) -> bool:
        """Write it, in the transaction of the tables; whether the run is tried again."""
        if not tables.has_run(self.run_id):
            return False  # deleted meanwhile
        row = tables.run(self.run_id)
        nonce, number = row.get("nonce"), row.get("attempt", 0)
        if self.late is not None:
            _warn_of(tables, self.run_id, *self.late)
        if nonce is not None and nonce == self.instead_of and row["state"] == states.SUBMITTED:
            self._take_back(tables)
            return False
        if nonce != self.nonce:
            # It was set back to CREATED, or is at its next attempt.
            if number > self.number or (number and nonce is None):
                self._set_attempt(tables)
            return False
        changes = dict(self.changes)
        if self.state is not None:
            if self._may_replace(row["state"]):
                if self.state == states.FAILED and self._has_budget(tables):
                    self._try_again(tables, changes)
                    return True
                changes["state"] = self.state
            else:
                changes.pop("has_finished", None)
        self._set_attempt(tables)
        self._update(tables, changes)
        return False

    def _may_replace(self, state: str) -> bool:
        is_ours = state in states.ACTIVE or state in self.put_states
        return is_ours and self.state is not None and states.is_allowed(state, self.state)

    def _update(self, tables: Tables, changes: Mapping[str, Any]) -> None:
        tables.update_run(self.run_id, changes)
        if self.quantities:
            tables.set_quantities(self.run_id, self.quantities)

    def _set_attempt(self, tables: Tables) -> None:
        facts = dict(self.facts)
        for known in tables.attempts(self.run_id):
            if known["number"] == self.number:
                facts.update({n: known[n] for n in ("retry_at", "retry_due") if n in known})
        tables.set_attempt(self.run_id, self.number, facts)

    def _has_budget(self, tables: Tables) -> bool:
        """Whether failures of this class have used up less than they may have.

        A failure that was not tried again ends the count: somebody gave the run a new start.
        """
        failure = self.facts.get("class")
        n_used = 0
        for known in reversed(tables.attempts(self.run_id)):
            if known["number"] < self.number:
                if "retry_at" not in known:
                    break
                n_used += known.get("class") == failure
        return self.is_over and n_used < self.retry.budget(failure)

    def _try_again(self, tables: Tables, changes: Mapping[str, Any]) -> None:
        delay_s = self.retry.delay_s
        facts = {**self.facts, "retry_at": self.facts["end_time"] + delay_s}
        if self.over_at is not None and self.boot:  # clocks may be set meanwhile
            facts["retry_due"] = {"boot": self.boot, "clock": self.over_at + delay_s}
        tables.set_attempt(self.run_id, self.number, facts)
        cleared = ("start_time", "end_time", "has_finished")
        changes = {name: value for name, value in changes.items() if name not in cleared}
        self._update(tables, {**changes, "state": states.CREATED})

    def _take_back(self, tables: Tables) -> None:
        own = {"state": self.state, "attempt": self.number, "nonce": self.nonce}
        tables.set_attempt(self.run_id, self.number, self.facts)
        start_time = self.facts.get("start_time")
        self._update(tables, {**self.changes, **own, "start_time": start_time})


def _warn_of(tables: Tables, run_id: int, number: int, nonce: str, warning: str) -> None:
    for known in tables.attempts(run_id):
        warnings = known.get("warnings") or []
        if (known["number"], known.get("nonce")) == (number, nonce) and warning not in warnings:
            tables.set_attempt(run_id, number, {**known, "warnings": [*warnings, warning]})
