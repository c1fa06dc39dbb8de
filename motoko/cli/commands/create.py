"""``motoko create``"""

from __future__ import annotations

import sys

import click

from motoko.cli import questions
from motoko.cli.places import directory_argument, load_workflow
from motoko.cli.side_by_side import start_side_by_side


@click.command()
@directory_argument
@click.option("--validated", is_flag=True, help="Start from scratch without a question.")
@click.option("--reset/--no-reset", default=None, help="Start from scratch, or keep all.")
@click.option("--no-backup", is_flag=True, help="Remove what was there instead of keeping it.")
def command(
    directory: str | None, validated: bool, reset: bool | None, no_backup: bool
) -> None:
    """Make the databases of a workflow and of its studies.

    What is there already (databases, run directories, logs) is moved into a dated backup
    after a question, or with --validated. Otherwise only what is missing is added: a study,
    or a parameter of a bd.yaml.
    """
    early = start_side_by_side(directory, launcher=False)
    from motoko.workflow import control, making

    workflow = load_workflow(directory)
    workflow.started_early = early
    existing = making.state_paths(workflow)
    is_reset = bool(existing) and reset is not False
    if is_reset and not validated:
        is_reset = _may_reset(str(workflow.directory), is_asked_for=reset is True)
    with control.server_kept_as_it_was(workflow):
        backup = making.create(workflow, reset=is_reset, keep_backup=not no_backup)
    names = ", ".join(workflow.task_managers) or "no studies"
    if backup is not None:
        click.echo(f"what was there is in {backup}")
    if existing and not is_reset:
        grown = [n for n, manager in workflow.task_managers.items() if manager.base.has_grown]
        added = f", added what was missing: {', '.join(grown)}" if grown else f": {names}"
        click.echo(f"kept what is there{added}")
    else:
        click.echo(f"created {names} in {workflow.directory}")


def _may_reset(directory: str, *, is_asked_for: bool) -> bool:
    if sys.stdin.isatty():
        questions.ask(
            f"{directory} has databases or runs already. Start from scratch?",
            otherwise="--no-reset keeps what is there and adds what is missing",
        )
        return True
    if is_asked_for:
        raise click.UsageError("--reset needs --validated where nobody can be asked")
    return False
