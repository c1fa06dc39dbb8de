"""``motoko runs``"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from motoko.cli import exit_codes, output, reading, words
from motoko.cli.places import load_workflow

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.upkeep.changes import Changes
    from motoko.workflow.workflow import Workflow

_DEFAULT_LIMIT = 100
_in = click.option(
    "--dir", "directory", metavar="DIR", help="The workflow's directory, if not this one."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """List runs, show one; try again, cancel, correct and delete runs.

    The last four take runs by name (mult.3), or a study and constraints on its runs.
    """


@command.command(name="list")
@click.argument("study")
@click.argument("constraints", nargs=-1)
@_in
@click.option("--run_name", metavar="NAME", help="Only runs of this run name.")
@click.option("--limit", type=click.IntRange(1), default=_DEFAULT_LIMIT, show_default=True)
@click.option("--all", "is_all", is_flag=True, help="All of them, without a limit.")
@_json
def list_runs(
    study: str,
    constraints: tuple[str, ...],
    directory: str | None,
    run_name: str | None,
    limit: int,
    is_all: bool,
    as_json: bool,
) -> None:
    """List the runs of a study that constraints hold for.

    For example: motoko runs list solve 'state = FAILED' 'h < 0.1'. The latest runs are
    shown when there are more than the limit.
    """
    from motoko.cli import runs
    from motoko.workflow.selectors import as_constraints
    from motoko.workflow.upkeep import run_names
    from motoko.workflow.views import rows

    def gather(workflow: Workflow) -> rows.Listed:
        if run_name is not None:
            run_names.check_known(workflow, run_name)
        return rows.listed(
            workflow.task_manager(study).base,
            as_constraints(constraints),
            run_name=run_name,
            limit=None if is_all else limit,
        )

    found = reading.read(directory, gather, study)
    if as_json:
        output.as_json(found.rows)
        return
    if not found.rows:
        click.echo("no runs")
        return
    output.table(*runs.table(found))
    if found.n_runs > len(found.rows):
        click.echo(f"the last {len(found.rows)} of {found.n_runs} runs; --all shows all")


@command.command()
@click.argument("run", metavar="STUDY.ID")
@click.option("--script", "is_script", is_flag=True, help="Only its script for a batch system.")
@_in
@_json
def show(run: str, is_script: bool, directory: str | None, as_json: bool) -> None:
    """Show everything that is known of one run; of a failed one, why."""
    from motoko.cli import runs
    from motoko.workflow.views import rows, scripts

    study = run.rpartition(".")[0] or None
    if is_script:
        text = reading.read(directory, lambda workflow: scripts.script(workflow, run), study)
        click.echo(text, nl=False)
        return
    found = reading.read(directory, lambda workflow: rows.card(workflow, run), study)
    if as_json:
        output.as_json(found.as_json())
        return
    click.echo(click.style(f"{found.study}.{found.run['id']}  {found.run['state']}", bold=True))
    for heading, pairs in runs.sections(found):
        shown = [(k, v if isinstance(v, words.Whole) else words.value(v)) for k, v in pairs]
        if any(text for _, text in shown):
            click.echo(f"\n{heading}")
            output.facts([(f"  {name}", text) for name, text in shown])


_runs = click.argument("runs", metavar="RUN...", nargs=-1, required=True)
_all = click.option(
    "--all", "is_all", is_flag=True, help="All runs of a study, if it is alone."
)
_new = click.option(
    "--new", "with_new", is_flag=True, help="Also entries and states that no run has yet."
)
_ASSIGNMENT = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
_MOST_SHOWN = 10


@command.command()
@_runs
@_in
@click.option("--set", "assigned", metavar="KEY=VALUE", multiple=True, help="A new value.")
@click.option("--current-files", is_flag=True, help="Give runs the study's files of now.")
@click.option("--clean-dir", is_flag=True, help="Move what they left into a dated backup.")
@click.option(
    "--out-of-order", is_flag=True, help="Do not let runs of a pipeline wait for their steps."
)
@_new
@_json
def retry(
    runs: tuple[str, ...],
    directory: str | None,
    assigned: tuple[str, ...],
    current_files: bool,
    clean_dir: bool,
    out_of_order: bool,
    with_new: bool,
    as_json: bool,
) -> int:
    """Try runs again: they are CREATED, and launched as their next attempt.

    Those that a step of a pipeline has made wait until the pipeline comes to that step, so that
    what it requires is done before; --out-of-order has them launched at once, also such as wait
    already.

    A study alone means its FAILED runs. With --set an entry of the run has a new value; another
    value of the job makes a new run, linked to the old one, which stays as it is. Runs that
    execute are left alone. Ends with code 4 if nothing was done.
    """
    from motoko.cli import anew
    from motoko.study.order import OUT_OF_ORDER
    from motoko.workflow.upkeep import run_changes, run_values

    pairs = _assignments(assigned)
    with _opened(directory, runs) as workflow:
        chosen = _chosen(workflow, runs, otherwise="state = FAILED")
        values = {
            study.name: run_values.read_retry_values(study, pairs, with_new=with_new)
            for study in chosen
        }
        how = run_changes.Retry(values, current_files, clean_dir, not out_of_order)
        changes = run_changes.retry(workflow, chosen, how)
    if as_json:
        output.as_json(changes.as_json())
        return _code(changes)
    n_again = len(changes.done) - len(changes.made)
    if n_again or not changes.made:
        click.echo(f"{words.counted(n_again, 'run')} CREATED again")
    for before, now in list(changes.made.items())[:_MOST_SHOWN]:
        click.echo(f"{now} has the new values, {before} stays")
    if len(changes.made) > _MOST_SHOWN:
        click.echo(f"and {words.counted(len(changes.made) - _MOST_SHOWN, 'more new run')}")
    anew.say_older_files(changes, "--current-files")
    anew.say_awaiting(changes.awaiting, f"; {OUT_OF_ORDER} executes them at once")
    _say_more(changes)
    return _code(changes)


@command.command()
@_runs
@_in
@_all
@_json
def cancel(runs: tuple[str, ...], directory: str | None, is_all: bool, as_json: bool) -> int:
    """Make runs CANCELLED; the launcher ends the processes of those that execute.

    Those that are over or have finished once, whatever their state is now, are left alone.
    Ends with code 4 if all are.
    """
    from motoko.workflow.upkeep import run_changes
    from motoko.workflow.views import troubles

    with _opened(directory, runs) as workflow:
        changes = run_changes.cancel(workflow, _chosen(workflow, runs, is_all=is_all))
        nobody = troubles.unended(workflow)
    for name in changes.going_on[:_MOST_SHOWN]:
        click.echo(f"{name} still executes: {nobody}", err=True)
    if len(changes.going_on) > _MOST_SHOWN:
        click.echo(f"and {len(changes.going_on) - _MOST_SHOWN} more", err=True)
    if as_json:
        output.as_json(changes.as_json())
        return _code(changes)
    click.echo(f"{words.counted(len(changes.done), 'run')} CANCELLED")
    _say_more(changes)
    return _code(changes)


@command.command()
@click.argument("runs", metavar="RUN... KEY=VALUE...", nargs=-1, required=True)
@_in
@_all
@_new
@_json
def update(
    runs: tuple[str, ...], directory: str | None, is_all: bool, with_new: bool, as_json: bool
) -> None:
    """Set entries of runs, their state among them: SUBMITTED and RUNNING only a launcher gives.

    The values come last, without a blank before their sign: `mult.3 mult.4 norm=2.5`. A
    constraint has blanks: `mult 'norm > 3' norm=3`.
    """
    from motoko.cli import anew
    from motoko.errors import SchemaError
    from motoko.workflow.upkeep import run_changes, run_values

    selected = list(runs)
    given: list[str] = []
    while selected and _ASSIGNMENT.fullmatch(selected[-1]):
        given.insert(0, selected.pop())
    if not given or not selected:
        raise click.UsageError("name runs, then what to set: mult.3 norm=2.5")
    pairs = _assignments(given)
    with _opened(directory, selected) as workflow:
        chosen = _chosen(workflow, selected, is_all=is_all)
        values = {
            study.name: run_values.read_values(study, pairs, with_new=with_new)
            for study in chosen
        }
        for study in chosen:
            for name in values[study.name].job:
                why = "is a value of the job, which never changes"
                raise SchemaError(
                    study.name, name, why, "`motoko runs retry --set` makes a run"
                )
        changes = run_changes.update(workflow, chosen, values)
    if as_json:
        output.as_json(changes.as_json())
        return
    click.echo(f"{words.counted(len(changes.done), 'run')} changed")
    anew.say_awaiting(changes.awaiting)


@command.command()
@_runs
@_in
@_all
@click.option("--dry-run", is_flag=True, help="Only say which.")
@click.option("--delete-files", is_flag=True, help="Remove run directories, keep no backup.")
@_json
def delete(
    runs: tuple[str, ...],
    directory: str | None,
    is_all: bool,
    dry_run: bool,
    delete_files: bool,
    as_json: bool,
) -> int:
    """Remove runs from the database; no other run ever gets their ids.

    Their directories, and what the database knew of them, go into a dated backup. Runs that
    execute, and those that an action is being called with, are left alone. Ends with code 4
    if all are.
    """
    from motoko.workflow.upkeep import run_changes

    with _opened(directory, runs) as workflow:
        chosen = _chosen(workflow, runs, is_all=is_all)
        if dry_run:
            changes = run_changes.to_delete(workflow, chosen)
        else:
            changes = run_changes.delete(workflow, chosen, keeps_files=not delete_files)
    if as_json:
        output.as_json(changes.as_json())
        return _code(changes)
    n_runs = words.counted(len(changes.done), "run")
    click.echo(f"would delete {n_runs}" if dry_run else f"deleted {n_runs}")
    if dry_run:
        for name in changes.done[:_MOST_SHOWN]:
            click.echo(f"  {name}")
        if len(changes.done) > _MOST_SHOWN:
            click.echo(f"  and {len(changes.done) - _MOST_SHOWN} more")
    _say_more(changes)
    return _code(changes)


@contextmanager
def _opened(directory: str | None, selected: Sequence[str]) -> Iterator[Workflow]:
    """A workflow whose databases may be written; its server runs on only if it did before.

    A mistake in what is ``selected`` is said before anything else.
    """
    from motoko.cli.logs import warn_on_stderr
    from motoko.workflow import control, restarts
    from motoko.workflow.selectors import read_selectors

    workflow = load_workflow(directory)
    warn_on_stderr(restarts.__name__)
    read_selectors(workflow, selected)
    control.require_created(workflow)
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        yield workflow


def _chosen(
    workflow: Workflow, texts: Sequence[str], *, otherwise: str = "", is_all: bool = False
) -> dict[Study, list[int]]:
    """The runs that are meant; ``otherwise`` constrains those of a study that stands alone."""
    from motoko.workflow.selectors import all_ids, read_selectors

    found = read_selectors(workflow, texts)
    for i, selector in enumerate(found):
        if selector.is_whole and otherwise:
            found[i] = selector._replace(constraints=(otherwise,))
        elif selector.is_whole and not is_all:
            name = selector.study.name
            raise click.UsageError(f"which runs of {name}? name constraints, or say --all")
    return all_ids(found)


def _assignments(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        found = _ASSIGNMENT.fullmatch(text)
        if found is None:
            raise click.UsageError(f"{text!r} is not of the form KEY=VALUE")
        pairs[found[1]] = found[2]
    return pairs


def _code(changes: Changes) -> int:
    return exit_codes.DONE if changes.done else exit_codes.NOT_FOUND


def _say_more(changes: Changes) -> None:
    for name, why in list(changes.left.items())[:_MOST_SHOWN]:
        click.echo(f"left alone: {name} {why}")
    if len(changes.left) > _MOST_SHOWN:
        click.echo(f"left alone: {len(changes.left) - _MOST_SHOWN} more")
    if changes.backup is not None:
        click.echo(f"their run directories are in {changes.backup}")
