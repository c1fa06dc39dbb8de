"""``canYouDigIt`` as people type it: its verbs, its options and their shortened forms."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import click

from motoko.cli.bd import inside, jobs, processes, runs
from motoko.cli.bd.options import Arguments, Verb, parser_of, split_command
from motoko.errors import JobSideError
from motoko.job.facts import find_run_dir
from motoko.phrases import nearest

VERBS: dict[str, Verb] = {
    "init": Verb(processes.init, "make the database of the study, or what it lacks"),
    "info": Verb(runs.summary, "how many runs are in which state", runs.info_options),
    "jobs create": Verb(jobs.create, "make the jobs of job_space"),
    "jobs info": Verb(jobs.info, "list jobs, or show one", jobs.info_options),
    "runs create": Verb(runs.create, "make a run on each job", runs.create_options),
    "runs info": Verb(runs.info, "list runs, or show one", runs.info_options),
    "runs launch": Verb(processes.launch, "execute all CREATED runs", processes.launch_options),
    "runs clean": Verb(runs.clean, "put runs back to CREATED", runs.clean_options),
    "runs exec": Verb(runs.execute, "run a command in run directories", runs.exec_options),
    "runs plot": Verb(runs.plot, "draw a quantity of runs", runs.plot_options),
    "runs update": Verb(runs.update, "set entries of runs", runs.update_options),
    "runs quantity": Verb(runs.quantity, "push a value", runs.quantity_options),
    "server": Verb(processes.server, "the database server", processes.server_options),
    "launch_daemon": Verb(processes.daemon, "the launcher", processes.daemon_options),
    "reset": Verb(processes.reset, "start the study from scratch, with a backup"),
}
#: Those that are about the run itself when a script of a run says them.
_INSIDE: dict[str, Callable[[str, Arguments], int]] = {
    "runs update": inside.update,
    "runs quantity": inside.quantity,
    "runs info": inside.info,
}


def dispatch(words: list[str]) -> int:
    """Do what the words of a command line say; the exit code."""
    words = [word for i, word in enumerate(words) if word != "--verbose" or i]
    if not words or words[0] in ("-h", "--help", "help"):
        _print_help()
        return 0
    name = _verb(words)
    rest = words[len(name.split()) :]
    verb = VERBS[name]
    parser = parser_of(name, verb)
    given = (
        split_command(parser, rest)
        if name == "runs exec"
        else parser.parse_intermixed_args(rest)
    )
    if given.constraints is not None:
        from motoko.workflow.selectors import as_constraints

        as_constraints([given.constraints])
    if name in _INSIDE and not _names_runs(given):
        run_dir = _own_run_dir()
        if run_dir is not None:
            return _INSIDE[name](run_dir, given)
    return verb.act(given)


def _verb(words: list[str]) -> str:
    for name in (words[0], " ".join(words[:2])):
        if name in VERBS:
            return name
    kinds = [name.split()[1] for name in VERBS if name.startswith(f"{words[0]} ")]
    if kinds:
        found = f"no {words[1]!r}" if len(words) > 1 else "nothing"
        raise click.UsageError(f"{words[0]} takes {', '.join(kinds)}, and {found} was meant")
    first = dict.fromkeys(name.split()[0] for name in VERBS)
    raise click.UsageError(f"no command {words[0]!r}{nearest(words[0], first)}")


def _names_runs(given: argparse.Namespace) -> bool:
    return given.constraints is not None or getattr(given, "run_id", None) is not None


def _own_run_dir() -> str | None:
    try:
        return find_run_dir()
    except JobSideError:
        return None


def _print_help() -> None:
    click.echo("usage: canYouDigIt COMMAND [OPTIONS], in the directory of a study\n")
    width = max(map(len, VERBS))
    for name, verb in VERBS.items():
        click.echo(f"  {name:{width}}  {verb.help}")
