"""``motoko orchestrator``"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from motoko.cli import daemons, exit_codes, output, words
from motoko.cli.own_options import PREFIX, RawCommand, declare_shared
from motoko.cli.places import directory_argument, load_to_look, warn_of_mistakes
from motoko.cli.side_by_side import start_beside
from motoko.errors import NotRunning

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

_DESCRIPTION = """\
Run the orchestrator of a workflow until it is finished.

Server and launcher are started if they do not run, and stay. A run name that was begun before
goes on where it stopped."""

_run_name = click.option("--run_name", "-n", metavar="NAME", help="That of this run name.")


@click.group()
def command() -> None:
    """The process that evaluates conditions and fires actions: one for each run name."""


@command.command(cls=RawCommand)
def start(arguments: tuple[str, ...]) -> int:
    """Run the orchestrator until the workflow is finished."""
    from motoko.cli import interrupts

    with interrupts.put_off() as signals:
        is_detached = bool({"-d", "--detach"} & set(arguments))
        early = None if is_detached else start_beside(arguments)
        from motoko.cli import running
        from motoko.cli.run_options import Call

    call = Call(arguments, _declare, "motoko orchestrator start", _DESCRIPTION, signals, early)
    return running.start_orchestrator(call)


def _declare(parser: Any) -> None:
    declare_shared(parser)
    parser.add_argument(
        "--detach",
        "-d",
        dest=f"{PREFIX}detach",
        action="store_true",
        help="Run in the background.",
    )


@command.command()
@directory_argument
@_run_name
def stop(directory: str | None, run_name: str | None) -> None:
    """Stop an orchestrator; runs, launcher and server go on."""
    from motoko.cli.orchestration import still_running
    from motoko.workflow import control

    workflow = load_to_look(directory)
    warn_of_mistakes(workflow)
    active = sorted(control.orchestrators(workflow))
    if run_name is None and len(active) > 1:
        raise click.UsageError(f"several run: say --run_name, one of {', '.join(active)}")
    workflow.run_name = run_name or (active[0] if active else None)
    if workflow.run_name is None:
        raise NotRunning("the orchestrator")
    daemons.stop(control.orchestrator_office(workflow, workflow.run_name))
    click.echo(still_running(workflow, 0), err=True)


@command.command()
@directory_argument
@_run_name
@click.option("--logs", "-l", is_flag=True, help="Show the end of the log.")
@click.option("--follow", "-f", is_flag=True, help="Show the log as it grows, until the end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(
    directory: str | None, run_name: str | None, logs: bool, follow: bool, as_json: bool
) -> int:
    """Say which orchestrators run, and which are stalled; code 6 if none runs."""
    from motoko.workflow import control
    from motoko.workflow.views import overview

    workflow = load_to_look(directory)
    warn_of_mistakes(workflow)
    active = {
        name: owner
        for name, owner in control.orchestrators(workflow).items()
        if run_name in (None, name)
    }
    stalls = overview.stalls(workflow, active)
    if as_json:
        output.as_json(
            [{**owner.described(), "stall": stalls.get(n)} for n, owner in active.items()]
        )
    else:
        for name, owner in active.items():
            click.echo(f"orchestrator of run name {name}: {daemons.in_words(owner)}")
            if name in stalls:
                for line in daemons.stall_in_words(name, stalls[name]):
                    click.echo(line)
        if not active:
            click.echo(f"no orchestrator runs{_last(workflow, run_name)}")
    if logs or follow:
        from motoko.cli.logs import show

        def is_over() -> bool:
            return not any(n in control.orchestrators(workflow) for n in active)

        show(control.log_file(workflow), follow_until=is_over if follow else None)
    return exit_codes.DONE if active else exit_codes.PROCESSES


def _last(workflow: Workflow, run_name: str | None) -> str:
    """How the last one ended, from the workflow's database."""
    from motoko.errors import MotokoError
    from motoko.workflow import control, opening

    known: dict[str, dict[str, Any]] = {}
    with suppress(MotokoError):
        opening.open_ledger(workflow)
        with workflow.vars.db.read() as ledger:
            known = ledger.run_names()
    workflow.close()
    names = [name for name in known if run_name in (None, name)]
    if not names:
        return ""
    facts = known[names[-1]]
    when = words.moment(facts.get("ended"))
    if facts.get("finished"):
        return f"; {names[-1]} finished {when}"
    if facts.get("error"):
        return f"; {names[-1]} ended {when}: {facts['error']}"
    last = control.died_orchestrator(workflow, names[-1])
    return f"; {names[-1]} is not finished" if last is None else f"; {daemons.died(last)}"
