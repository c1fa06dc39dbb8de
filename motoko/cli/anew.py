"""Work that is begun anew: what failures have left is removed, what failed is tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from motoko.cli import words
from motoko.paths import PIPELINE_ORCHESTRATOR
from motoko.study.order import what_goes_on
from motoko.workflow.pipelines import again, tasks
from motoko.workflow.pipelines.written import written_pipeline
from motoko.workflow.upkeep import failures, run_changes
from motoko.workflow.upkeep.changes import Changes

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

Patiently = Callable[[Any, Callable[[], Any]], Any]
#: So many runs are named.
_MOST_NAMED = 5


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
    changes = patiently(workflow, lambda: run_changes.retry_failed(workflow, run_name))
    click.echo(f"{words.counted(len(changes.done), 'FAILED run')} CREATED again")
    say_older_files(changes, "motoko runs retry STUDY.ID --current-files")
    ledger = workflow.vars.db
    if n_calls := patiently(workflow, lambda: again.give_new_start(ledger, run_name)):
        click.echo(f"{words.counted(n_calls, 'function')} of a pipeline to be called again")


def say_older_files(changes: Changes, command: str) -> None:
    """Say which runs are tried again with what was mended since in its old form."""
    if not changes.outdated:
        return
    n_runs = words.counted(len(changes.outdated), "run")
    names = words.listed(changes.outdated, _MOST_NAMED)
    click.echo(f"{n_runs} will execute older files than there are now ({names}): {command}")


def say_awaiting(awaiting: Mapping[str, str], otherwise: str = "") -> None:
    """Say which runs wait until a pipeline comes to them, and what has it do that; and how they
    are executed ``otherwise``."""
    if not awaiting:
        return
    names = list(awaiting)
    verb, step = ("waits", "its step") if len(names) == 1 else ("wait", "their steps")
    goes_on = " and ".join(f"`{what_goes_on(name)}`" for name in sorted({*awaiting.values()}))
    click.echo(
        f"{words.counted(len(names), 'run')} of a pipeline {verb} for {step} to begin"
        f" ({words.listed(names, _MOST_NAMED)}): {goes_on} goes through it{otherwise}"
    )


def follow_pipeline(workflow: Workflow, patiently: Patiently) -> None:
    """Have the runs that there are do as the workflow's pipeline says by now."""
    if workflow.orchestrator_script == PIPELINE_ORCHESTRATOR:
        found = written_pipeline(workflow.config)
        patiently(workflow, lambda: tasks.bring_up_to_date(workflow, found))
