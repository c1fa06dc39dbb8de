"""Holding runs back: a fact in a study's database that the launcher respects."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from motoko.launch.work import HELD
from motoko.model import states
from motoko.workflow import control

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.workflow.workflow import Workflow


def held_since(tables: Tables) -> float | None:
    """Since when no run of a study is to begin; None if nobody holds them."""
    since: float | None = tables.fact(HELD)
    return since


def hold(workflow: Workflow, studies: Sequence[str]) -> dict[str, int]:
    """Let no run of these studies begin until `release`; those that were not held before, each
    with how many of its runs wait as jobs of a batch system already.

    What executes goes on, and so do these jobs. It binds runs that are created later, and later
    launchers.
    """
    return _set(workflow, studies, time.time())


def release(workflow: Workflow, studies: Sequence[str]) -> list[str]:
    """Let runs of these studies begin again; those that were held."""
    return list(_set(workflow, studies, None))


def _set(workflow: Workflow, studies: Sequence[str], since: float | None) -> dict[str, int]:
    def set_held(tables: Tables) -> int | None:
        if (held_since(tables) is None) == (since is None):
            return None
        tables.set_fact(HELD, since)
        return sum(_has_job(tables, run_id) for run_id in tables.in_state(states.SUBMITTED))

    names = studies or tuple(workflow.task_managers)
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        found = {n: workflow.task_manager(n).base.database.write(set_held) for n in names}
    return {name: n_jobs for name, n_jobs in found.items() if n_jobs is not None}


def _has_job(tables: Tables, run_id: int) -> bool:
    present = tables.run(run_id).get("attempt")
    known = (one for one in tables.attempts(run_id) if one["number"] == present)
    return any(one.get("batch", {}).get("id") for one in known)
