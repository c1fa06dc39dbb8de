"""Work that is begun anew: what failures have left is removed, what failed is tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from motoko.cli import words
from motoko.paths import PIPELINE_ORCHESTRATOR
from motoko.workflow.pipelines import again, tasks
from motoko.workflow.pipelines.written import written_pipeline
from motoko.workflow.upkeep import failures, run_changes

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

Patiently = Callable[[Any, Callable[[], Any]], Any]


def clear_failures(
    workflow: Workflow,
    studies: Sequence[str] = (),
    constraints: Sequence[str] = (),
    run_name: str | None = None,
) -> None:
    """Remove what failures have left in directories, and say what that was."""
    cleared = failures.clear(workflow, studies, constraints, run_name)
    n_files = len(cleared.files)
    click.echo(f"removed {words.counted(n_files, 'file')} that failures had left")
    if cleared.executing:
        n_left = words.counted(len(cleared.executing), "run")
        click.echo(f"left alone: {n_left} being executed")
    for place in cleared.elsewhere:
        click.echo(f"left alone: {place}, which lies in another workflow")


def retry_failed(workflow: Workflow, run_name: str, patiently: Patiently) -> None:
    """Have runs and functions that failed for good tried again, and say how many."""
    n_runs = patiently(workflow, lambda: run_changes.retry_failed(workflow, run_name))
    click.echo(f"{words.counted(n_runs, 'FAILED run')} CREATED again")
    ledger = workflow.vars.db
    if n_calls := patiently(workflow, lambda: again.give_new_start(ledger, run_name)):
        click.echo(f"{words.counted(n_calls, 'function')} of a pipeline to be called again")


def follow_pipeline(workflow: Workflow, patiently: Patiently) -> None:
    """Have the runs that there are do as the workflow's pipeline says by now."""
    if workflow.orchestrator_script == PIPELINE_ORCHESTRATOR:
        found = written_pipeline(workflow.config)
        patiently(workflow, lambda: tasks.bring_up_to_date(workflow, found))
