"""Questions before something is removed."""

from __future__ import annotations

import click

from motoko.cli import exit_codes


def ask(question: str, *, otherwise: str = "") -> None:
    """Go on if the answer is yes; else the command ends, with the code for that."""
    if not click.confirm(question, default=False, err=True):
        click.echo(f"nothing was changed{f'; {otherwise}' if otherwise else ''}", err=True)
        raise click.exceptions.Exit(exit_codes.USAGE)
