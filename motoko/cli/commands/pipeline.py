"""``motoko pipeline``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motoko.cli import output

if TYPE_CHECKING:
    from motoko.pipeline import Pipeline

_DIR = click.option(
    "--dir", "directory", metavar="DIR", help="The workflow's directory, if not this one."
)
_READY = click.option(
    "--ready", metavar="NAME", help="Not that of a workflow, but one that Motoko has ready."
)


@click.group()
def command() -> None:
    """Show or draw a pipeline: its steps and their order.

    It is the one under `pipeline:` in motoko.yaml, or with --ready one that comes with Motoko:
    molecular-dynamics, molecular-dynamics-short.
    """


@command.command()
@_DIR
@_READY
@click.option("--mermaid", is_flag=True, help="Print a flowchart in the language of Mermaid.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(directory: str | None, ready: str | None, mermaid: bool, as_json: bool) -> None:
    """List the steps in an order in which they can be done."""
    found = _found(directory, ready)
    if mermaid:
        click.echo(found.to_mermaid(), nl=False)
    elif as_json:
        output.as_json(found.describe())
    else:
        headers = ["step", "requires", "done by", "barrier"]
        rows: list[list[Any]] = [
            [s.name, ", ".join(s.requires), s.task or s.name, "yes" if s.barrier else ""]
            for s in found
        ]
        output.table(headers, rows)


@command.command()
@click.argument("file")
@_DIR
@_READY
def picture(file: str, directory: str | None, ready: str | None) -> None:
    """Draw the steps and their order into an SVG file."""
    from motoko.durable import replace_file
    from motoko.pipeline import picture as drawn

    path = Path(file)
    if path.suffix != ".svg":
        raise click.UsageError(f"{file}: pictures are SVG; name a file that ends in .svg")
    found = _found(directory, ready)
    replace_file(path, [drawn(found).encode()])
    click.echo(f"drew {len(found)} steps into {file}")


def _found(directory: str | None, ready: str | None) -> Pipeline:
    if ready is not None:
        from motoko.phrases import nearest
        from motoko.pipeline import READY

        if ready not in READY:
            known = ", ".join(READY)
            meant = nearest(ready, READY)
            raise click.UsageError(f"--ready {ready!r}: no such pipeline{meant} ({known})")
        return READY[ready]()
    from motoko.cli.places import load_workflow
    from motoko.workflow.pipelines.written import structure

    return structure(load_workflow(directory).config)
