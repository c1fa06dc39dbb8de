"""``motoko export``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from motoko.cli import reading, words

if TYPE_CHECKING:
    from pandas import DataFrame

    from motoko.workflow.workflow import Workflow


@click.command()
@click.argument("study")
@click.argument("constraints", nargs=-1)
@click.option("--dir", "directory", metavar="DIR", help="The workflow's directory.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write CSV; - is standard output.")
@click.option("--parquet", "parquet_file", metavar="FILE", help="Write Parquet; - likewise.")
def command(
    study: str,
    constraints: tuple[str, ...],
    directory: str | None,
    csv_file: str | None,
    parquet_file: str | None,
) -> None:
    """Write the runs of a study as a table: a row each, as `dataframe` has them.

    For example: motoko export solve 'state = FINISHED' --csv solve.csv. No server need run.
    Parquet needs pyarrow: pip install 'motoko[parquet]'.
    """
    from motoko.study import frame
    from motoko.workflow.selectors import as_constraints

    file = csv_file or parquet_file
    if file is None or (csv_file and parquet_file):
        raise click.UsageError("say --csv FILE or --parquet FILE")

    def gather(workflow: Workflow) -> DataFrame:
        base = workflow.task_manager(study).base
        with base.database.read() as tables:
            found = tables.select(tables.parse(as_constraints(constraints)))
            return frame.frame(tables, found, base.directory)

    table = reading.read(directory, gather, study)
    if csv_file == "-":
        table.to_csv(sys.stdout)
        return
    if csv_file:
        frame.write_csv(table, Path(file))
    else:
        try:
            if file == "-":
                sys.stdout.buffer.write(frame.as_parquet(table))
                return
            frame.write_parquet(table, Path(file))
        except ImportError as error:
            why = "--parquet needs pyarrow: pip install 'motoko[parquet]'"
            raise click.UsageError(why) from error
    click.echo(f"{words.counted(len(table), 'run')} in {file}")
