"""``motoko study``"""

from __future__ import annotations

import click

from motoko.cli import words
from motoko.cli.places import load_workflow


@click.group()
def command() -> None:
    """Change what is stored of a study."""


@command.command()
@click.argument("study")
@click.option("--dir", "directory", metavar="DIR", help="The workflow's directory.")
@click.option("--rename", "renamed", multiple=True, metavar="OLD=NEW", help="A new name.")
@click.option("--remove", "removed", multiple=True, metavar="NAME", help="Drop its values.")
@click.option(
    "--fill",
    "filled",
    multiple=True,
    metavar="NAME=VALUE",
    help="The value of a new parameter for the jobs there are.",
)
def migrate(
    study: str,
    directory: str | None,
    renamed: tuple[str, ...],
    removed: tuple[str, ...],
    filled: tuple[str, ...],
) -> None:
    """Bring stored jobs and runs in line with a bd.yaml that changed.

    Parameters and entries that were renamed or removed in bd.yaml are named here; those of
    another type are converted. The database is copied into a dated backup first.
    """
    from motoko.cli import migrating

    workflow = load_workflow(directory)
    how = migrating.instructions(renamed, removed, filled)
    done = migrating.migrate_study(workflow, study, how)
    n_jobs = words.counted(done.migrated.n_jobs, "job")
    click.echo(f"migrated {n_jobs} and {words.counted(done.migrated.n_runs, 'run')}")
    click.echo(f"the database as it was is {done.backup}")
    if done.migrated.without_identity:
        n_runs = words.counted(len(done.migrated.without_identity), "run")
        click.echo(f"{n_runs} had entries changed by hand: the same task will be a new run")
