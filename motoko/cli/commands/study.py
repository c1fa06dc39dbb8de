"""``motoko study``"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from motoko.cli import words
from motoko.cli.places import load_workflow

if TYPE_CHECKING:
    from motoko.store.migration import Instructions


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
    from motoko.workflow.upkeep import migrating

    workflow = load_workflow(directory)
    how = _instructions(renamed, removed, filled)
    done = migrating.migrate_study(workflow, study, how)
    if done is None:
        click.echo("nothing to do: what is stored is in line with bd.yaml")
        return
    n_jobs = words.counted(done.migrated.n_jobs, "job")
    click.echo(f"migrated {n_jobs} and {words.counted(done.migrated.n_runs, 'run')}")
    click.echo(f"the database as it was is {done.backup}")
    if done.migrated.without_identity:
        n_runs = words.counted(len(done.migrated.without_identity), "run")
        click.echo(f"{n_runs} had entries changed by hand: the same task will be a new run")


def _instructions(
    renamed: Iterable[str], removed: Iterable[str], filled: Iterable[str]
) -> Instructions:
    """Instructions as a command line has them: ``OLD=NEW``, ``NAME``, ``NAME=VALUE``."""
    from motoko.store.migration import Instructions

    return Instructions(
        renamed={old.lower(): new.lower() for old, new in _pairs(renamed).items()},
        removed=frozenset(name.lower() for name in removed),
        filled={name.lower(): _value(text) for name, text in _pairs(filled).items()},
    )


def _pairs(texts: Iterable[str]) -> Mapping[str, str]:
    found = {}
    for text in texts:
        name, sign, rest = text.partition("=")
        if not sign or not name or not rest:
            raise click.UsageError(f"{text!r} is not of the form NAME=...")
        found[name] = rest
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
