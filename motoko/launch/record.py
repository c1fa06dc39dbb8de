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
from typing import Any, Final, NamedTuple

from motoko.config.policy import RETRY, USUAL, FailurePolicy
from motoko.model import states
from motoko.model.policy import RETRY_AT, Decision, decide
from motoko.store.tables import Tables

#: The facts of an attempt that are recorded when it is tried again, and not told again.
_AFTERWARDS: Final = (RETRY_AT, "retry_due", "given_more", "quantities")


class Record(NamedTuple):
    """What is to be written about one attempt.

    ``entries`` are those among ``changes`` that are told only once (set by the script).
    ``instead_of`` is the nonce of a later attempt that never began: this one turned out to
    have finished before. It is its own if none came after it and the run is FAILED. ``late`` is
    what was heard of the attempt before this one: its number, its nonce and a sentence.
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
    policy: FailurePolicy = USUAL
    #: What a run has that does not say, for what a next attempt may have more of.
    resources: Mapping[str, Any] = {}
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
        is_last = self.instead_of == self.nonce
        waiting = states.FAILED if is_last else states.SUBMITTED
        if nonce is not None and nonce == self.instead_of and row["state"] == waiting:
            self._take_back(tables)
            return False
        if is_last:
            if nonce == self.nonce:  # somebody has given it another state, which counts
                tables.set_attempt(self.run_id, self.number, self.facts)
            return False
        if nonce != self.nonce:
            # It was set back to CREATED, or is at its next attempt.
            if number > self.number or (number and nonce is None):
                self._set_attempt(tables)
            return False
        changes = dict(self.changes)
        if not self._is_own(row["state"]):
            changes.pop("has_finished", None)
        if self.state is not None and self._may_replace(row["state"]):
            decision = self._decide(tables, row)
            if decision.action == RETRY:
                self._try_again(tables, changes, decision)
                return True
            changes["state"] = self.state
        self._set_attempt(tables)
        self._update(tables, changes)
        return False

    def _is_own(self, state: str) -> bool:
        return state in states.ACTIVE or state in self.put_states

    def _may_replace(self, state: str) -> bool:
        is_own = self._is_own(state) and self.state is not None
        return is_own and states.is_allowed(state, str(self.state))

    def _update(self, tables: Tables, changes: Mapping[str, Any]) -> None:
        tables.update_run(self.run_id, changes)
        if self.quantities:
            tables.set_quantities(self.run_id, self.quantities)

    def _set_attempt(self, tables: Tables) -> None:
        facts = dict(self.facts)
        for known in tables.attempts(self.run_id):
            if known["number"] == self.number:
                facts.update({name: known[name] for name in _AFTERWARDS if name in known})
        tables.set_attempt(self.run_id, self.number, facts)

    def _decide(self, tables: Tables, row: Mapping[str, Any]) -> Decision:
        if self.state != states.FAILED or not self.is_over:
            return Decision(self.policy.last)
        history = [a for a in tables.attempts(self.run_id) if a["number"] < self.number]
        entries = {**self.resources, **row}
        decision = decide(self.policy, history, self.facts.get("class"), entries)
        is_stuck = self.facts.get("progress") is False and not decision.changes
        return Decision(self.policy.last) if is_stuck else decision

    def _try_again(
        self, tables: Tables, changes: Mapping[str, Any], decision: Decision
    ) -> None:
        facts = {**self.facts, RETRY_AT: self.facts["end_time"] + decision.pause_s}
        if self.over_at is not None and self.boot:  # clocks may be set meanwhile
            facts["retry_due"] = {"boot": self.boot, "clock": self.over_at + decision.pause_s}
        if decision.changes:
            facts["given_more"] = dict(decision.changes)
        tables.set_attempt(self.run_id, self.number, facts)
        cleared = ("start_time", "end_time", "has_finished")
        changes = {name: value for name, value in changes.items() if name not in cleared}
        self._update(tables, {**changes, **decision.changes, "state": states.CREATED})
        set_results_aside(tables, self.run_id, self.number)

    def _take_back(self, tables: Tables) -> None:
        own = {"state": self.state, "attempt": self.number, "nonce": self.nonce}
        tables.set_attempt(self.run_id, self.number, self.facts)
        start_time = self.facts.get("start_time")
        self._update(tables, {**self.changes, **own, "start_time": start_time})


def set_results_aside(tables: Tables, run_id: int, number: int) -> None:
    """Keep steps and quantities of an attempt with its history, and no more with its run."""
    quantities = tables.quantities(run_id)
    if not quantities and tables.run(run_id).get("last_step") is None:
        return
    known = next((a for a in tables.attempts(run_id) if a["number"] == number), None)
    if quantities and known is not None:
        kept = {name: list(value) for name, value in quantities.items()}
        tables.set_attempt(run_id, number, {**known, "quantities": kept})
    tables.set_quantities(run_id, {})
    tables.update_run(run_id, {"last_step": None, "last_step_time": None})


def _warn_of(tables: Tables, run_id: int, number: int, nonce: str, warning: str) -> None:
    for known in tables.attempts(run_id):
        warnings = known.get("warnings") or []
        if (known["number"], known.get("nonce")) == (number, nonce) and warning not in warnings:
            tables.set_attempt(run_id, number, {**known, "warnings": [*warnings, warning]})
