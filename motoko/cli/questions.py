"""Questions before something is removed, or taken for one's own."""

from __future__ import annotations

import sys

import click

from motoko.cli import exit_codes
from motoko.errors import MovedOrCopied


def ask(question: str, *, otherwise: str = "") -> None:
    """Go on if the answer is yes; else the command ends, with the code for that."""
    if not click.confirm(question, default=False, err=True):
        click.echo(f"nothing was changed{f'; {otherwise}' if otherwise else ''}", err=True)
        raise click.exceptions.Exit(exit_codes.USAGE)


def ask_what_it_is(found: MovedOrCopied) -> None:
    """Ask whether databases were moved or copied, and settle that; where nobody can be asked,
    the error itself says how to answer."""
    if not sys.stdin.isatty():
        raise found
    from motoko.cli.places import load_workflow
    from motoko.workflow.upkeep import settling

    question = f"{str(found).partition('?')[0]}"
    answers = click.Choice(["moved", "copied"])
    answer = click.prompt(question, type=answers, err=True, prompt_suffix="? ")
    workflow = load_workflow(found.directory)
    try:
        settling.settle(workflow, is_copy=answer == "copied")
    finally:
        workflow.close()
