"""``motoko schema``"""

from __future__ import annotations

from pathlib import Path

import click

from motoko.cli import output


@click.command()
@click.argument("kind", type=click.Choice(["workflow", "study"]))
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
def command(kind: str, directory: Path | None) -> None:
    """Print the JSON Schema of motoko.yaml (workflow) or bd.yaml (study).

    Given a study's directory, the schema knows its own parameters and their types. Editors
    complete and check the files with it.
    """
    from motoko.config import read_study, study_schema, workflow_schema

    if kind == "workflow":
        output.as_json(workflow_schema())
    else:
        output.as_json(study_schema(None if directory is None else read_study(directory)))
