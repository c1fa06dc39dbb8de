"""Giving functions of a pipeline that failed for good a new start."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from motoko.model.policy import RETRY_AT
from motoko.store.ledger import FAILURE

if TYPE_CHECKING:
    from motoko.store.database import Database
    from motoko.store.ledger import Ledger

#: The fact of a failure that was not tried again, that somebody has the work done afresh.
NEW_START: Final = "new_start"
#: The fact of a failure that says what the function was given.
CALL: Final = "call"


def give_new_start(
    database: Database[Ledger], run_name: str, events: Collection[str] | None = None
) -> int:
    """Have functions called again whose last failure stands, all or those of these phases; how
    many."""
    now = time.time()

    def change(ledger: Ledger) -> int:
        n_changed = 0
        for event, found in ledger.failures(run_name).items():
            if events is not None and event not in events:
                continue
            last = {failure.get(CALL, ""): (key, failure) for key, failure in found}
            for key, failure in last.values():
                if RETRY_AT not in failure and NEW_START not in failure:
                    record = ledger.firing(key)
                    ledger.set_firing(key, {**record, FAILURE: {**failure, NEW_START: now}})
                    n_changed += 1
        return n_changed

    return database.write(change)
