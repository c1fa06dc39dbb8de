"""Leaving a workflow before its end, on purpose: for the next batch job, or the next call."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import click

from motoko.cli import exit_codes, words
from motoko.cli.own_options import PREFIX
from motoko.errors import LaunchError
from motoko.launch.commands import ask
from motoko.launch.generator import LocalGenerator
from motoko.launch.own_job import OwnJob, own_job
from motoko.workflow import control
from motoko.workflow.generators import generator_named, generators_of

if TYPE_CHECKING:
    from motoko.cli.run_options import Request
    from motoko.workflow.workflow import Workflow

#: With --once all is left when nothing has happened for so long.
_QUIET_S, _LOOK_S = 1.0, 0.1
#: What is kept of the walltime for ending in good order: a share of it, within limits.
_SHARE, _LEAST_S, _MOST_S = 0.1, 20.0, 600.0
_SUBMIT_S = 120.0


def declare(parser: Any) -> None:
    """The options that are about leaving."""
    parser.add_argument(
        "--once",
        dest=f"{PREFIX}once",
        action="store_true",
        help="Do what is to be done now, and leave; jobs go on. For cron.",
    )
    parser.add_argument(
        "--foreground",
        dest=f"{PREFIX}foreground",
        action="store_true",
        help="Leave nothing running: for a batch job, which submits itself again in time.",
    )
    parser.add_argument(
        "--walltime",
        dest=f"{PREFIX}walltime",
        metavar="TIME",
        help="With --foreground: how long it may take, if not as the batch system says.",
    )
    parser.add_argument(
        "--resubmit",
        dest=f"{PREFIX}resubmit",
        metavar="COMMAND",
        help="With --foreground: the command that submits this job again.",
    )


@dataclass
class Parting:
    """How a process leaves a workflow that is not finished."""

    is_once: bool = False
    is_foreground: bool = False
    job: OwnJob | None = None
    #: When to leave, on the clock of this process.
    deadline: float | None = None
    command: tuple[str, ...] = ()
    #: Whether it has left.
    has_left: bool = False

    def watch(self, workflow: Workflow) -> Callable[[], Awaitable[None]] | None:
        """What returns when it is time to leave; None if nobody is to leave."""
        if self.is_once:
            return lambda: _until_at_rest(workflow)
        return self._until_deadline if self.deadline is not None else None

    async def _until_deadline(self) -> None:
        assert self.deadline is not None
        await anyio.sleep(max(0.0, self.deadline - time.monotonic()))

    def end_local(self, workflow: Workflow, generator: str | None) -> None:
        """End the runs that execute as processes of this job, and put them back, unless their
        launcher was started by another command, or serves another one too."""
        from motoko.workflow.upkeep import ending

        kinds = generators_of(workflow, workflow.task_managers, generator)
        local = [
            name
            for name, kind in kinds.items()
            if isinstance(generator_named(workflow, kind), LocalGenerator)
        ]
        office = control.launcher_office(workflow)
        if office.owner() is not None:
            use = workflow.custody.use(office) if workflow.custody is not None else None
            if use is None or use.own is None or use.end():
                return  # others use it: what it executes goes on
        if local:
            command = "motoko run --foreground"
            done = ending.reset_active(
                workflow, local, at_once=False, command=command, leave_handed_on=True
            )
            if done.n_runs:
                click.echo(
                    f"{words.counted(done.n_runs, 'run')} that executed here: CREATED again"
                )

    def conclude(self, workflow: Workflow, code: int) -> int:
        """Say how it goes on, and see to it; the exit code."""
        if not self.has_left:
            return code
        if self.is_once:
            click.echo("nothing is to be done now; the same command goes on")
            return exit_codes.GOES_ON
        what = str(self.job) if self.job is not None else "this process"
        if not self.command:
            click.echo(
                f"stopped before the walltime of {what} is over; the same command goes on"
            )
            return exit_codes.GOES_ON
        place = self.job.directory if self.job is not None else None
        answer = ask(self.command, _SUBMIT_S, place)
        if not answer.is_good:
            said = answer.words or answer.output
            raise LaunchError(
                f"{shlex.join(self.command)} has not submitted {what} again: {said.strip()}"
            )
        said = " ".join(answer.output.split())
        click.echo(f"stopped before the time of {what} is over; submitted again: {said}")
        return exit_codes.DONE


def parting_of(request: Request) -> Parting:
    """What the options say. UsageError, and LaunchError when a batch system does not tell."""
    from motoko.config import parse_walltime

    mine = {name: request.mine[f"{PREFIX}{name}"] for name in ("once", "foreground")}
    walltime, command = request.mine[f"{PREFIX}walltime"], request.mine[f"{PREFIX}resubmit"]
    if mine["once"] and mine["foreground"]:
        raise click.UsageError("--once and --foreground are two ways to leave: say one")
    if not mine["foreground"]:
        if walltime is not None or command is not None:
            raise click.UsageError("--walltime and --resubmit belong to --foreground")
        return Parting(is_once=mine["once"])
    try:
        given_s = None if walltime is None else parse_walltime(walltime)
    except ValueError as error:
        raise click.UsageError(f"--walltime: {walltime!r} is not {error}") from None
    began = time.monotonic()
    job = own_job(os.environ)
    left_s = given_s if given_s is not None or job is None else job.left_s
    again = tuple(shlex.split(command)) if command is not None else job.again if job else ()
    deadline = None
    if left_s is not None:
        kept_s = min(max(_SHARE * left_s, _LEAST_S), _MOST_S, left_s / 2)
        deadline = began + left_s - kept_s
    return Parting(is_foreground=True, job=job, deadline=deadline, command=again)


async def _until_at_rest(workflow: Workflow) -> None:
    """Wait until neither orchestrator nor launcher has anything to do for a while."""
    office = control.launcher_office(workflow)
    seen: int | None = None
    since = time.monotonic()
    while seen is None or time.monotonic() - since < _QUIET_S:
        await anyio.sleep(_LOOK_S)
        owner = office.owner()
        if owner is None:
            is_busy = not office.was_stopped  # it has died, and is started again
        else:
            is_busy = owner.facts.get("is_at_rest") is False
        now = None if is_busy else workflow.n_noticed
        if now is None or now != seen:
            seen, since = now, time.monotonic()
