"""What one commit says about an attempt, and how it changes the tables.

A state that somebody else has set is never overwritten: a record changes the run's row only
while the row still belongs to this attempt and its state is one that the launcher or the
attempt itself has put there. Otherwise just the history of attempts is written. Applying a
record twice is the same as applying it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from motoko.model import states
from motoko.store.tables import Tables


class Record(NamedTuple):
    """What is to be written about one attempt.

    ``entries`` are those among ``changes`` that are told only once (set by the script).
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

    def apply(self, tables: Tables) -> None:
        """Write it, in the transaction of the tables."""
        if not tables.has_run(self.run_id):
            return  # deleted meanwhile
        row = tables.run(self.run_id)
        nonce, number = row.get("nonce"), row.get("attempt", 0)
        if nonce == self.nonce or number > self.number or (number and nonce is None):
            tables.set_attempt(self.run_id, self.number, self.facts)
        if nonce != self.nonce:
            return  # it was set back to CREATED, or is at its next attempt
        changes = dict(self.changes)
        if self.state is not None:
            if self._may_replace(row["state"]):
                changes["state"] = self.state
            else:
                changes.pop("has_finished", None)
        tables.update_run(self.run_id, changes)
        if self.quantities:
            tables.set_quantities(self.run_id, self.quantities)

    def _may_replace(self, state: str) -> bool:
        is_ours = state in states.ACTIVE or state in self.put_states
        return is_ours and self.state is not None and states.is_allowed(state, self.state)
