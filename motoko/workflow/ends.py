"""How a workflow ends, or comes to a halt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motoko.errors import RunsFailed
from motoko.study.waiting import failed_run
from motoko.workflow.triggers import Trigger

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


@dataclass(frozen=True)
class End:
    """Why a workflow ended: an exception, an exit code, or because it was finished."""

    error: BaseException | None = None
    exit_code: int | str | None = None
    #: Whether another process goes on with it, which then handles errors too.
    is_lost: bool = False


@dataclass(frozen=True)
class Stall:
    """Since when nothing can happen any more by itself, and what each condition lacks."""

    since: float
    #: How much was known of each database's changes.
    versions: tuple[int, ...]
    lacks: list[str]


def runs_failed(workflow: Workflow, trigger: Trigger) -> RunsFailed:
    """The error that an error handler, called for these runs, ends a workflow with."""
    if trigger.task is None:
        return RunsFailed([])
    study = workflow.task_manager(trigger.task).base
    with study.database.translated():
        return RunsFailed([failed_run(study, study.tables, i) for i in trigger.run_ids])
