"""``motoko new``"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from motoko.cli import scaffold


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def command(directory: Path) -> None:
    """Make a small working workflow in a new or empty directory.

    Two studies and an orchestrator: change them into what you need.
    """
    files = scaffold.make(directory)
    click.echo(f"made {directory}: {', '.join(files)}")
    click.echo(f"now: cd {shlex.quote(str(directory))} && motoko run")
