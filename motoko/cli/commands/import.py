"""``motoko import``"""

from __future__ import annotations

from pathlib import Path

import click

from motoko.cli import output, words


@click.command()
@click.argument("source", metavar="PATH")
@click.argument("target", metavar="DIR")
@click.option("--study", metavar="NAME", help="Which study, if the database has several.")
@click.option("--copy-runs", is_flag=True, help="Copy the run directories too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    source: str, target: str, study: str | None, copy_runs: bool, as_json: bool
) -> None:
    """Bring a study of BlackDynamite into DIR, which becomes a study of Motoko.

    PATH is the study's directory, or its .bd/bd.zeo. It is only read: stop its server first,
    so that all is in that file. Jobs and runs keep numbers, states, entries, times and files;
    run directories are read where they are, unless they are copied. No file in DIR that is
    another one is overwritten.
    """
    from motoko.compat.importing import import_study

    done = import_study(Path(source), Path(target), study=study, with_runs=copy_runs)
    if as_json:
        output.as_json(
            {
                "directory": str(done.directory),
                "study": done.study,
                "jobs": done.n_jobs,
                "runs": done.n_runs,
                "copied": done.n_copied,
                "notes": done.notes,
            }
        )
        return
    click.echo(
        f"{words.counted(done.n_jobs, 'job')} and {words.counted(done.n_runs, 'run')} of"
        f" {done.study} are in {done.directory}"
    )
    if copy_runs:
        click.echo(f"directories of {words.counted(done.n_copied, 'run')} copied")
    for note in done.notes:
        click.echo(note)
