"""Runs that were put back, and that no pipeline asks for.

Their step has other values or systems by now, or other runs before it, or it leaves their
system out; or the action that has awaited the pipeline is not called again. Nobody else
executes them, so that they are told of when the run name has ended.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from motoko.columns import PASSED_OVER
from motoko.errors import StudyError
from motoko.store.database import Write
from motoko.store.patience import patience
from motoko.study.waiting import until_answered

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.workflow.workflow import Workflow


async def note_passed_over(workflow: Workflow) -> None:
    """The run name has come to its end: note on the runs that still wait for a step that it did
    not ask for them. What was put back when its pipeline was through is asked for next time,
    and so may be what a pipeline has not come to, or who has left before any began."""
    asked, run_name = workflow.asked_steps, workflow.run_name
    assert asked is not None
    if not run_name or asked.is_cut_short or not (asked.n_begun or workflow.finished):
        return
    for manager in workflow.task_managers.values():
        study = manager.base
        note = partial(_note, run_name, asked.runs.get(study, set()), time.time())
        if not study.database.is_away:
            with patience(0.0), suppress(StudyError):
                await until_answered(study.database, Write(study.database, note))


def _note(run_name: str, asked: Collection[int], when: float, tables: Tables) -> None:
    for run_id in tables.awaiting_step(run_name):
        if run_id not in asked and PASSED_OVER not in tables.run(run_id):
            tables.update_run(run_id, {PASSED_OVER: when})
