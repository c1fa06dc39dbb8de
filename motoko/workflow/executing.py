"""Runs that execute although counters by state do not tell: they are followed one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motoko.job.holders import find_held
from motoko.launch.work import open_runs
from motoko.model import states
from motoko.store.tables import Tables

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


def n_runs(workflow: Workflow, *wanted: str) -> int:
    """How many runs of the run name are in these states."""
    counts = [m.base.counts(workflow.run_name) for m in workflow.task_managers.values()]
    return sum(found.get(state, 0) for found in counts for state in wanted)


def n_awaiting_step(workflow: Workflow) -> int:
    """How many CREATED runs of the run name wait for a step of their pipeline."""
    studies = (manager.base for manager in workflow.task_managers.values())
    return sum(study.n_awaiting_step(workflow.run_name) for study in studies)


def n_held(workflow: Workflow) -> int:
    """How many runs, of whichever run name, have processes on this host: asked of these."""
    studies = (manager.base for manager in workflow.task_managers.values())
    return sum(len({run_id for run_id, _ in find_held(str(s.runs_dir))}) for s in studies)


class Unlisted:
    """Runs of one study and run name that execute, and are neither SUBMITTED nor RUNNING.

    Their script has set a state of its own, or they are CANCELLED and about to be ended.
    """

    def __init__(self, run_name: str | None) -> None:
        self._run_name = run_name
        self._ids: set[int] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def look(self, tables: Tables, changed: set[int] | None) -> None:
        """Take over what changed."""
        if changed is None:
            self._ids = {i for i in open_runs(tables) if self._is_one(tables, i)}
            return
        for run_id in changed:
            if self._is_one(tables, run_id):
                self._ids.add(run_id)
            else:
                self._ids.discard(run_id)

    def _is_one(self, tables: Tables, run_id: int) -> bool:
        if not tables.has_run(run_id):
            return False
        row = tables.run(run_id)
        is_ours = row["run_name"] == self._run_name and row["state"] not in states.ACTIVE
        return is_ours and states.is_open(row)
