"""``motoko share``"""

from __future__ import annotations

import click

from motoko.cli import words
from motoko.cli.places import directory_argument, load_workflow


@click.command()
@directory_argument
@click.option("--off", is_flag=True, help="Let nobody else read it any more.")
def command(directory: str | None, off: bool) -> None:
    """Let other users of this machine read a workflow.

    They use `motoko info`, `runs list`, `export`, `dataframe` or BD.Base() on it as its owner
    does, and change nothing: the databases' sockets stay private. Say it again after a pack.
    """
    from motoko.workflow import control
    from motoko.workflow.upkeep import sharing

    workflow = load_workflow(directory)
    control.require_created(workflow)
    changed = sharing.share(workflow, is_on=not off)
    workflow.close()
    who = "nobody else" if off else "everybody"
    click.echo(
        f"{who} may read {workflow.directory} ({words.counted(len(changed), 'mode')} changed)"
    )
    for place in [] if off else sharing.unreachable(workflow):
        click.echo(f"but only its owner can enter {place}: chmod o+x {place}")
