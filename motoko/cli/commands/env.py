"""``motoko env``"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from motoko.cli import output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Print what a shell needs: eval "$(motoko env)".

    Afterwards `import BlackDynamite`, `import motoko` and canYouDigIt work in it, and mean
    Motoko's own. Nothing is installed.
    """
    from motoko.compat.places import environment_of

    found = environment_of(Path.cwd(), os.environ)
    if as_json:
        output.as_json(found)
        return
    for name, value in found.items():
        click.echo(f"export {name}={shlex.quote(value)}")
