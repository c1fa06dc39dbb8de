"""The order of a pipeline, kept when its runs are done again.

That order is in when its runs are made: each when its step begins. A run that somebody puts
back is there already, so it waits until its step begins once more, and says so by an entry that
is set together with its state. The pipeline takes the entry away.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motoko.columns import AWAITS, BEHIND, REQUIRED
from motoko.model import states

if TYPE_CHECKING:
    from motoko.store.tables import Tables

#: The option by which somebody has a run done regardless of that.
OUT_OF_ORDER = "--out-of-order"


def put_back(row: Mapping[str, Any], *, is_in_order: bool = True) -> dict[str, Any]:
    """The changes by which a run is to be done again; one that a step of a pipeline has made
    waits for that step, if it is done ``is_in_order``."""
    changes: dict[str, Any] = {"state": states.CREATED}
    if not is_in_order:
        return {**changes, AWAITS: None} if AWAITS in row else changes
    if is_of_step(row):
        changes[AWAITS] = row.get("event_name")
    return changes


def is_of_step(row: Mapping[str, Any]) -> bool:
    """Whether a step of a pipeline has made a run."""
    return REQUIRED in row or BEHIND in row


def came_of(row: Mapping[str, Any]) -> str | None:
    """What a run of a pipeline was done behind; None if nobody knows."""
    found: str | None = row.get(BEHIND, row.get(REQUIRED))
    return found


def n_times(tables: Tables, run_id: int) -> int:
    """The number of the attempt in which a run was executed last: when files said already that
    it was finished, nothing was."""
    number: int = tables.run(run_id).get("attempt") or 1
    attempts = {one["number"]: one for one in tables.attempts(run_id)} if number > 1 else {}
    while number > 1 and attempts.get(number, {}).get("executed") is False:
        number -= 1
    return number


def what_goes_on(run_name: str) -> str:
    """The command by which what waits goes on."""
    return f"motoko run --run_name {shlex.quote(run_name)}"


def waiting_in_words(row: Mapping[str, Any]) -> str | None:
    """That a run waits for its step, and what goes on; None if it does not."""
    if not states.awaits_step(row):
        return None
    goes_on = what_goes_on(str(row["run_name"]))
    return f"for its step {row[AWAITS]!r} to begin: `{goes_on}` goes through the pipeline"
