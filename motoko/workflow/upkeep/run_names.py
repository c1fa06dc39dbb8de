"""Which run name is orchestrated, and what is kept of each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.config.retry import INFRASTRUCTURE
from motoko.errors import MotokoError, RunNameNotFound
from motoko.model import states
from motoko.workflow import control
from motoko.workflow.views.overview import in_order

if TYPE_CHECKING:
    from motoko.store.ledger import Ledger
    from motoko.workflow.workflow import Workflow

_MOST_ASKED = 1000


@dataclass(frozen=True)
class Chosen:
    """The run name that is orchestrated, and the options of its orchestrator."""

    run_name: str
    options: tuple[str, ...]
    #: What is recorded of the name, if it was begun before.
    facts: Mapping[str, Any] | None

    @property
    def is_resumed(self) -> bool:
        """Whether the name was begun before."""
        return self.facts is not None

    @property
    def finished(self) -> float | None:
        """When the name was finished, if it was."""
        return (self.facts or {}).get("finished") or (self.facts or {}).get("finished_before")


def choose(workflow: Workflow, given: str | None, options: tuple[str, ...]) -> Chosen:
    """The run name given, the unfinished one, or a new one made from the date.

    A name that is taken up again without options gets those it was begun with; with options
    only a name that was begun with the same ones is taken up. The databases must be open.
    """
    active = control.orchestrators(workflow)
    with workflow.vars.db.read() as ledger:
        known = ledger.run_names()
    open_names = [n for n, f in known.items() if not f.get("finished") and n not in active]
    if options:  # other ones are another piece of work
        open_names = [n for n in open_names if known[n].get("arguments") == list(options)]
    name = given or (open_names[-1] if open_names else _new_name(known))
    facts = known.get(name)
    if facts is not None and not options:
        options = tuple(facts.get("arguments", ()))
    return Chosen(name, options, facts)


def record(workflow: Workflow, run_name: str, **facts: Any) -> None:
    """Keep what is needed when the run name is taken up again."""

    def write(ledger: Ledger) -> None:
        ledger.set_run_name(run_name, **facts)

    workflow.vars.db.write(write)


def check_known(workflow: Workflow, run_name: str) -> None:
    """RunNameNotFound for a name that nothing was begun under. The databases must be open."""
    with workflow.vars.db.read() as ledger:
        began = ledger.run_names()
    known = set(began)
    for manager in workflow.task_managers.values():
        with manager.base.database.read() as tables:
            known.update(name for name, _, n in tables.groups.counted() if n)
    if run_name not in known:
        raise RunNameNotFound(run_name, in_order(known, began))


def _new_name(known: dict[str, Any]) -> str:
    stem = name = time.strftime("run-%Y%m%d-%H%M")
    n = 1
    while name in known:
        n += 1
        name = f"{stem}-{n}"
    return name


class Failed(NamedTuple):
    """How many runs are FAILED, and how many of them because processes or host went away."""

    n_runs: int
    n_lost: int


def failed(workflow: Workflow, run_name: str) -> Failed:
    """The FAILED runs of a run name; of very many, why is asked of the latest only."""
    n_runs = n_lost = 0
    for manager in workflow.task_managers.values():
        with suppress(MotokoError), manager.base.database.read() as tables:
            constraint = tables.parse(f"state = {states.FAILED}").restricted_to(run_name)
            ids = tables.select(constraint)
            n_runs += len(ids)
            for run_id in ids[-_MOST_ASKED:]:
                attempts = list(tables.attempts(run_id))
                n_lost += bool(attempts) and attempts[-1].get("class") == INFRASTRUCTURE
    return Failed(n_runs, n_lost)
