"""``motoko clean``"""

from __future__ import annotations

import sys

import click

from motoko.cli import questions, words
from motoko.cli.places import directory_argument, load_workflow, study_names


@click.command()
@directory_argument
@click.option(
    "--bd_study", "studies", metavar="NAME", multiple=True, help="Only this study (also -bd)."
)
@click.option(
    "--constraints", multiple=True, metavar="C", help="Only runs that these hold for."
)
@click.option("--current-files", is_flag=True, help="Give runs the study's files of now.")
@click.option(
    "--failures",
    is_flag=True,
    help="Only remove FAILED, job_attempt.txt and job_progress.jsonl from run directories.",
)
@click.option("--delete", is_flag=True, help="Remove databases, run directories and logs.")
@click.option("--validated", is_flag=True, help="Delete without a question.")
@click.option("--no-backup", is_flag=True, help="Remove run directories, keep no backup.")
def command(
    directory: str | None,
    studies: tuple[str, ...],
    constraints: tuple[str, ...],
    current_files: bool,
    failures: bool,
    delete: bool,
    validated: bool,
    no_backup: bool,
) -> None:
    """Put runs back to CREATED, to be executed again from an empty run directory.

    Their run directories are moved into a dated backup. Runs that are being executed stay.
    Scripts and input files are those of the runs' creation, unless --current-files is given.
    Runs of a pipeline wait until that comes to their steps: `motoko run` goes through it.

    With --failures nothing is put back: only sentinels of failures, counters of attempts and
    records of progress go, also those of the systems that runs work on. With --delete,
    everything that was computed is removed after a question, and there is no backup.
    """
    from motoko.cli import anew
    from motoko.workflow import control
    from motoko.workflow.upkeep import ending

    workflow = load_workflow(directory)
    names = study_names(workflow, studies)
    if delete:
        if failures:
            raise click.UsageError("--delete removes everything: --failures cannot go with it")
        if constraints:
            raise click.UsageError("--delete removes all runs: --constraints cannot go with it")
        what = ", ".join(names) or str(workflow.directory)
        if not validated:
            _ask(f"Delete all that was computed for {what}?")
        removed = ending.delete(workflow, names)
        click.echo(f"removed {', '.join(removed)}" if removed else "there was nothing")
        return
    from motoko.workflow.selectors import as_constraints

    control.require_created(workflow)
    if failures:
        if current_files or no_backup:
            raise click.UsageError("--failures goes with --bd_study and --constraints only")
        anew.clear_failures(workflow, names, as_constraints(constraints))
        return
    cleaned = ending.clean(
        workflow,
        names,
        as_constraints(constraints),
        keep_backup=not no_backup,
        current_files=current_files,
    )
    click.echo(f"{words.counted(cleaned.n_runs, 'run')} back to CREATED")
    anew.say_awaiting(cleaned.awaiting)
    if cleaned.without:
        have = "has" if len(cleaned.without) == 1 else "have"
        click.echo(f"left alone: {', '.join(cleaned.without)}, which {have} no such entry")
    if cleaned.n_outdated:
        n_runs = words.counted(cleaned.n_outdated, "run")
        click.echo(f"{n_runs} will execute older files than there are now: --current-files")
    if cleaned.n_active:
        click.echo(f"left alone: {words.counted(cleaned.n_active, 'run')} being executed")
    if cleaned.backup is not None:
        click.echo(f"their run directories are in {cleaned.backup}")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("--delete needs --validated where nobody can be asked")
    questions.ask(question)
