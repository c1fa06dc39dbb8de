"""``motoko place``"""

from __future__ import annotations

import click

from motoko.cli import words
from motoko.cli.places import directory_argument, load_workflow


@click.command()
@directory_argument
@click.option("--moved", "answer", flag_value="moved", help="The original is no more.")
@click.option("--copied", "answer", flag_value="copied", help="There is an original besides.")
def command(directory: str | None, answer: str | None) -> None:
    """Say whether a workflow that is not where it was has been moved or copied.

    Databases know where they were used last. Found elsewhere, and not
    only under another name on the same file system, they start nothing before this is
    said: what executed may execute for the original. After --moved everything goes on. After
    --copied the databases are others than the original's, and runs that were executing are
    CREATED again. Without an answer it only looks, and ends with code 6 if one is needed.
    """
    from motoko.workflow import whereabouts
    from motoko.workflow.upkeep import settling

    workflow = load_workflow(directory)
    if answer is None:
        whereabouts.check(workflow)
        click.echo(f"{workflow.directory} is where it was")
        return
    settled = settling.settle(workflow, is_copy=answer == "copied")
    workflow.close()
    if not settled.directories:
        click.echo(f"{workflow.directory} is where it was: nothing was changed")
        return
    click.echo(f"{answer}: {', '.join(settled.directories)}")
    if settled.n_runs:
        verb = "executes" if settled.n_runs == 1 else "execute"
        n_runs = words.counted(settled.n_runs, "run")
        click.echo(f"{n_runs} that {verb} for the original: CREATED again here")
