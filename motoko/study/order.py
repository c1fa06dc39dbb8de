"""The order of a pipeline, kept when its runs are done again.

That order is in when its runs are made: each when its step begins. A run that somebody puts
back is there already, so it waits until its step begins once more, and says so by an entry that
is set together with its state. The pipeline takes the entry away. Where a run name comes to its
end and no pipeline has asked for such a run, that is noted on it, too.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from motoko.columns import AWAITS, BEHIND, MADE_BEHIND, PASSED_OVER, REQUIRED
from motoko.model import states
from motoko.phrases import moment

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
        if PASSED_OVER in row:
            changes[PASSED_OVER] = None
    return changes


def is_of_step(row: Mapping[str, Any]) -> bool:
    """Whether a step of a pipeline has made a run."""
    return REQUIRED in row or BEHIND in row


def came_of(row: Mapping[str, Any]) -> str | None:
    """What a run of a pipeline was done behind, or one that was made from it; None if nobody
    knows."""
    found: str | None = row.get(BEHIND, row.get(REQUIRED, row.get(MADE_BEHIND)))
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
    step, run_name = f"for its step {row[AWAITS]!r}", str(row["run_name"])
    if PASSED_OVER in row:
        when = moment(row[PASSED_OVER])
        return f"{step}, which did not ask for it: {run_name} came to its end {when}"
    return f"{step} to begin: `{what_goes_on(run_name)}` goes through the pipeline"


def passed_over(tables: Tables, run_ids: Iterable[int]) -> list[int]:
    """Those of these runs that nobody had asked for when their run name came to its end."""
    return [run_id for run_id in run_ids if PASSED_OVER in tables.run(run_id)]
