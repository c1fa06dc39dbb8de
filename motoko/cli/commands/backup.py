"""``motoko backup``"""

from __future__ import annotations

from pathlib import Path

import click

from motoko.cli import exit_codes, words
from motoko.cli.places import directory_argument, load_workflow


@click.command()
@directory_argument
@click.option("--to", "target", metavar="PATH", help="A new directory for it, anywhere.")
@click.option("--restore", "source", metavar="PATH", help="Put this backup back instead.")
def command(directory: str | None, target: str | None, source: str | None) -> int:
    """Copy all databases of a workflow while it runs; put a copy back.

    The databases of all studies and the workflow's own are copied as of one moment, with the
    stored input files, into a dated directory. Run directories are not copied.

    --restore moves the present databases aside, puts those of a backup in their place and
    takes in what directories of the runs in it know since then. Nothing of the workflow may
    run, no script of a run either. Runs that were made after the backup are named, with
    code 10: the orchestrator makes them again, or `motoko repair` takes them over.
    """
    from motoko.workflow.upkeep import backups

    if target is not None and source is not None:
        raise click.UsageError("--to and --restore do not go together")
    workflow = load_workflow(directory)
    if source is not None:
        done = backups.restore(workflow, Path(source).absolute())
        for line in done.done:
            click.echo(line)
        for line in done.undone:
            click.echo(f"not done: {line}")
        return exit_codes.FINDINGS if done.undone else exit_codes.DONE
    made = backups.back_up(workflow, None if target is None else Path(target).absolute())
    names = ", ".join(made.studies) or "no studies"
    click.echo(f"copied {names} ({words.size(made.n_bytes)}) to {made.directory}")
    for name in made.elsewhere:
        click.echo(f"not copied: {name}, whose server is elsewhere; back it up there")
    return exit_codes.FINDINGS if made.elsewhere else exit_codes.DONE
