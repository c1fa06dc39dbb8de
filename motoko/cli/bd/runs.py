"""``canYouDigIt runs ...``, from outside of a run."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import time
from typing import Any

import click

from motoko.cli import output, words
from motoko.cli.bd import study as studies
from motoko.cli.bd.options import Arguments
from motoko.cli.bd.texts import assignments, numbers
from motoko.columns import HIDDEN

_USUAL = (
    "run_name",
    "id",
    "job_id",
    "state",
    "nproc",
    "machine_name",
    "start_time",
    "last_step",
)

_IN_A_COPY = (
    "what was written lies in a copy alone, which goes some day;"
    " `motoko archive --unpack` brings its directory back"
)


def _one_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run_id", type=int, help="only this run")


def info_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``runs info`` and ``info``."""
    _one_run(parser)
    parser.add_argument("--order", help="the entry to sort by")
    parser.add_argument("--summary", action="store_true", help="how many are in which state")
    parser.add_argument("--infos", help="entries to show, as in id,state,x")
    parser.add_argument("--enter", action="store_true", help=argparse.SUPPRESS)


def summary(given: Arguments) -> int:
    """How many runs of each name are in which state."""
    if given.infos:
        return info(given)
    with studies.to_read(given) as (_, study):
        names = study.ask(lambda tables: list(tables.run_names()))
        named = {name: study.counts(name) for name in names}
    click.echo("---- run states ----")
    for name, counts in named.items():
        total = sum(counts.values())
        for state in words.ordered_states(counts):
            if counts[state]:
                share = 100 * counts[state] / total
                click.echo(f"{name:40} {state:>20} => {counts[state]:5} ({share:.1f}%)")
    return 0


def info(given: Arguments) -> int:
    """List runs, or show one with its job."""
    from motoko.compat.selectors import RunSelector

    if given.summary:
        return summary(given)
    with studies.to_read(given) as (_, study):
        if given.run_id is not None:
            run = study.run(given.run_id)
            click.echo("****** job info ******")
            output.facts(list(run.job.entries.items()))
            click.echo("****** run info ******")
            output.facts([(n, _shown(n, v)) for n, v in run.items() if n not in HIDDEN])
            click.echo("****** quantities ******")
            for name in run.listQuantities():
                click.echo(name)
            return 0
        pairs = RunSelector(study).selectRuns(given.constraints, sort_by=given.order)
        names = [n.strip() for n in given.infos.split(",")] if given.infos else list(_USUAL)
        rows = [[_shown(name, _entry(run, job, name)) for name in names] for run, job in pairs]
    output.table(names, rows)
    return 0


def _entry(run: Any, job: Any, name: str) -> Any:
    of, _, entry = name.lower().rpartition(".")
    if of == "jobs" or (not of and entry in job and entry not in run):
        return job[entry]
    return run.get(entry)


def _shown(name: str, value: Any) -> Any:
    if name.endswith("_time") and isinstance(value, int | float):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    return "" if value is None else value


def create_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``runs create``."""
    parser.add_argument("--run_name", required=True, help="what the runs belong to")
    parser.add_argument("--nproc", type=int, help="cores that each uses")
    parser.add_argument("--machine_name", help="the machine that they are meant for")


def create(given: Arguments) -> int:
    """Make a run on each job that constraints hold for."""
    from motoko.compat.selectors import JobSelector
    from motoko.task_manager import check_run_name

    check_run_name(given.run_name)
    params = {"nproc": given.nproc, "machine_name": given.machine_name}
    params = {name: value for name, value in params.items() if value is not None}
    with studies.to_write(given) as (workflow, study):
        job_ids = [job.id for job in JobSelector(study).selectJobs(given.constraints)]
        with workflow.session():
            before = study.ask(lambda tables: tables.n_runs)
            ids = study.create_runs(job_ids, params, run_name=given.run_name)
            n_new = study.ask(lambda tables: tables.n_runs) - before
    click.echo(f"{words.counted(n_new, 'new run')}, {len(ids) - n_new} were there")
    return 0


def clean_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``runs clean``."""
    _one_run(parser)
    parser.add_argument("--delete", action="store_true", help="remove them from the database")
    parser.add_argument("--clean_orphans", help=argparse.SUPPRESS)
    parser.add_argument("--machine_name", help=argparse.SUPPRESS)


def clean(given: Arguments) -> int:
    """Put runs back to CREATED, or delete them; what they left goes into a dated backup."""
    from motoko.cli import anew
    from motoko.workflow.upkeep import ending, run_changes

    with studies.to_write(given) as (workflow, study):
        ids = studies.run_ids(study, given)
        if given.delete:
            changes = run_changes.delete(workflow, {study: ids}, keeps_files=True)
            click.echo(f"deleted {words.counted(len(changes.done), 'run')}")
            for name, why in changes.left.items():
                click.echo(f"left alone: {name} {why}")
            backup = changes.backup
        else:
            texts = [] if given.constraints is None else [given.constraints]
            texts += [] if given.run_id is None else [f"runs.id = {given.run_id}"]
            cleaned = ending.clean(
                workflow, [study.name], texts, keep_backup=True, current_files=False
            )
            click.echo(f"{words.counted(cleaned.n_runs, 'run')} back to CREATED")
            anew.say_awaiting(cleaned.awaiting)
            backup = cleaned.backup
    if backup is not None:
        click.echo(f"their run directories are in {backup}")
    return 0


def exec_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``runs exec``."""
    _one_run(parser)
    parser.add_argument("--order", help="the entry to sort by")


def execute(given: Arguments) -> int:
    """Run a command in the directory of each run; the first code that is not 0."""
    from motoko.compat.selectors import RunSelector
    from motoko.study.archive import archive_of, is_as_packed

    if not given.command:
        raise click.UsageError("say which command: runs exec --run_id 1 ls -l")
    with studies.to_read(given) as (_, study):
        asked = {"constraints": given.constraints, "run_id": given.run_id}
        pairs = RunSelector(study).selectRuns(asked, sort_by=given.order)
        places = [(run.id, run.directory) for run, _ in pairs]
        copies = {
            run_id: (archive, place)
            for run_id, place in places
            if (archive := archive_of(study.run_row(run_id))) and place != study.run_dir(run_id)
        }
    code = 0
    # One word is a command line, as in: exec 'ls | wc -l'
    command = given.command if len(given.command) > 1 else ["bash", "-c", given.command[0]]
    for run_id, place in places:
        if not place.is_dir():
            click.echo(f"run {run_id} has no directory", err=True)
            continue
        variables = {
            **os.environ,
            "MOTOKO_RUN_DIR": str(place),
            "BLACKDYNAMITE_RUN_ID": str(run_id),
        }
        try:
            done = subprocess.run(command, cwd=place, env=variables, check=False)
        except FileNotFoundError:
            raise click.UsageError(f"no command {shlex.quote(command[0])}") from None
        code = code or done.returncode
    for run_id, (archive, place) in copies.items():
        if not is_as_packed(study, run_id, archive, place):
            click.echo(f"run {run_id} is packed: {_IN_A_COPY}", err=True)
    return code


def update_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``runs update``."""
    _one_run(parser)
    parser.add_argument("command", nargs="*", help="key=value, or key = value")


def update(given: Arguments) -> int:
    """Set entries of the runs that are meant; all of the study without constraints."""
    from motoko.cli import anew
    from motoko.errors import SchemaError
    from motoko.workflow.upkeep import run_changes, run_values

    pairs = assignments(given.command)
    with studies.to_write(given) as (workflow, study):
        ids = studies.run_ids(study, given)
        values = run_values.read_values(study, pairs, with_new=True)
        for name in values.job:
            why = "is a value of the job, which never changes"
            raise SchemaError(study.name, name, why, "`motoko runs retry --set` makes a run")
        changes = run_changes.update(workflow, {study: ids}, {study.name: values})
    click.echo(f"{words.counted(len(changes.done), 'run')} changed")
    anew.say_awaiting(changes.awaiting)
    return 0


def quantity_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``runs quantity``."""
    _one_run(parser)
    parser.add_argument("--quantity_id", help="name of the quantity")
    parser.add_argument("--value", help="the value")
    parser.add_argument("--values", help="several values, as one row: 1,2,3")
    parser.add_argument("--step", type=int, default=0, help="the step that it is of")


def quantity(given: Arguments) -> int:
    """Push a value to the runs that are meant."""
    values = numbers(given)
    with studies.to_write(given) as (_, study):
        ids = studies.run_ids(study, given)
        for run_id in ids:
            study.run(run_id).push_quantity(values, given.step, given.quantity_id)
    click.echo(f"pushed to {words.counted(len(ids), 'run')}")
    return 0


def plot_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``runs plot``."""
    _one_run(parser)
    parser.add_argument("--quantity", help="its name; or several, as in a,b")
    parser.add_argument(
        "--using", help="%%0.x:%%1.y/2 draws half of the second over the steps of the first"
    )
    parser.add_argument("--list_quantities", action="store_true", help="say which there are")
    parser.add_argument("--sort_by", help="the entry to sort the curves by")
    parser.add_argument("--legend", help="text with %%r.entry and %%j.entry")
    for name in ("--xlabel", "--ylabel", "--title", "--marker"):
        parser.add_argument(name)
    for name in ("--xscale", "--yscale"):
        parser.add_argument(name, type=float, default=1.0, help="a factor")
    for name in ("--xrange", "--yrange", "--figsize"):
        parser.add_argument(name, help="two numbers, as in 0,1")
    for name in ("--start", "--end"):
        parser.add_argument(name, type=float, help="step to begin, or to end, with")
    parser.add_argument("--frequency", type=int, default=1, help="take every so manieth row")
    parser.add_argument("--blackwhite", action="store_true")
    parser.add_argument("--fileout", help="file to write; else a window opens")


def plot(given: Arguments) -> int:
    """Draw a quantity of the runs that are meant."""
    from motoko.cli.bd.picture import draw
    from motoko.compat.selectors import RunSelector

    with studies.to_read(given) as (_, study):
        asked = {"constraints": given.constraints, "run_id": given.run_id}
        pairs = RunSelector(study).selectRuns(asked, sort_by=given.sort_by)
        if given.list_quantities or given.quantity is None:
            for name in sorted({n for run, _ in pairs for n in run.listQuantities()}):
                click.echo(name)
            return 0
        n_curves = draw(given, pairs)
    where = "" if given.fileout is None else f" in {given.fileout}"
    click.echo(f"{words.counted(n_curves, 'curve')}{where}")
    return 0
