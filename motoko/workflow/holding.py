"""Holding runs back: a fact in a study's database that the launcher respects."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from motoko.launch.work import HELD
from motoko.workflow import control

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.workflow.workflow import Workflow


def held_since(tables: Tables) -> float | None:
    """Since when no run of a study is to begin; None if nobody holds them."""
    since: float | None = tables.fact(HELD)
    return since


def hold(workflow: Workflow, studies: Sequence[str]) -> list[str]:
    """Let no run of these studies begin until `release`; those that were not held before.

    What executes goes on. It binds runs that are created later, and later launchers.
    """
    return _set(workflow, studies, time.time())


def release(workflow: Workflow, studies: Sequence[str]) -> list[str]:
    """Let runs of these studies begin again; those that were held."""
    return _set(workflow, studies, None)


def _set(workflow: Workflow, studies: Sequence[str], since: float | None) -> list[str]:
    def set_held(tables: Tables) -> bool:
        is_other = (held_since(tables) is None) != (since is None)
        if is_other:
            tables.set_fact(HELD, since)
        return is_other

    names = studies or tuple(workflow.task_managers)
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        return [n for n in names if workflow.task_manager(n).base.database.write(set_held)]
