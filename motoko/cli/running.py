"""What ``motoko run`` and ``motoko orchestrator start`` do."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import click

from motoko import daemon
from motoko.cli import output, run_options, views, words
from motoko.cli.failures import Stopped
from motoko.cli.logs import Latest, is_shown_on_stderr
from motoko.cli.orchestration import Orchestration, closing_line, still_running
from motoko.cli.own_options import PREFIX, Declare
from motoko.errors import AlreadyRunning, MotokoError, RunNameMissing
from motoko.workflow import control

if TYPE_CHECKING:
    from motoko.cli.run_options import Chosen, Request
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

_N_EVENTS = 5


class StartedHere:
    """Stops the server and the launcher at the end of a block, if they came up inside it.

    Those that an earlier block started and left running are adopted, by their process ids.
    """

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._offices = [control.launcher_office(workflow), control.server_office(workflow)]
        self._there = {office.file: office.owner() for office in self._offices}
        self._is_leaving = False

    def __enter__(self) -> Self:
        return self

    def adopt(self, pids: Collection[int]) -> None:
        """Take processes for one's own that were there before."""
        for file, owner in self._there.items():
            if owner is not None and owner.pid in pids:
                self._there[file] = None

    def leave(self) -> list[int]:
        """Let them run on; their process ids."""
        self._is_leaving = True
        owners = [o.owner() for o in self._offices if self._there[o.file] is None]
        return [owner.pid for owner in owners if owner is not None]

    def __exit__(self, *_: object) -> None:
        self._workflow.close()
        if self._is_leaving:
            return
        others = control.orchestrators(self._workflow)
        if others:
            click.echo(
                f"server and launcher go on for {', '.join(map(repr, others))}", err=True
            )
            return
        for office in self._offices:
            if self._there[office.file] is None and office.owner() is not None:
                try:
                    daemon.stop(office)
                except MotokoError as error:
                    log.info("%s", error)


def run(arguments: Sequence[str], declare: Declare, description: str) -> int:
    """Run a workflow from its files to its end; the exit code."""
    request = run_options.read(arguments, declare, "motoko run", description)
    workflow = request.workflow
    with StartedHere(workflow) as started:
        control.ensure_running(workflow, request.mine[f"{PREFIX}generator"])
        chosen = run_options.choose_run_name(request, request.mine[f"{PREFIX}run_name"])
        started.adopt((chosen.facts or {}).get("daemons", ()))
        orchestration = _prepared(request, chosen, keep_alive=True)
        _announce(workflow, chosen)
        try:
            code = orchestration.run()
        except Stopped:
            _leave(started, workflow)
            _say_stopped(workflow, orchestration)
            raise
        except Exception as error:
            if orchestration.n_active():
                _leave(started, workflow)
                error.add_note(still_running(workflow, orchestration.n_active()))
            raise
        click.echo(closing_line(workflow, orchestration.progress, code))
        if orchestration.n_active():
            _leave(started, workflow)
            click.echo(still_running(workflow, orchestration.n_active()), err=True)
    return code


def _leave(started: StartedHere, workflow: Workflow) -> None:
    pids = started.leave()
    with suppress(MotokoError):
        run_options.record(workflow, str(workflow.run_name), daemons=pids)


def start_orchestrator(arguments: Sequence[str], declare: Declare, description: str) -> int:
    """Run only the orchestrator: here, or with ``--detach`` in the background."""
    request = run_options.read(arguments, declare, "motoko orchestrator start", description)
    workflow = request.workflow
    run_name = request.mine[f"{PREFIX}run_name"]
    if not run_name:
        raise RunNameMissing
    workflow.run_name = run_name
    office = control.orchestrator_office(workflow, run_name)
    owner = office.owner()
    if owner is not None:
        raise AlreadyRunning(office.what, str(owner))
    if request.mine[f"{PREFIX}detach"]:
        _detach(request, office)
        return 0
    is_child = daemon.READY_FD in os.environ
    try:
        control.ensure_running(workflow)
        chosen = run_options.choose_run_name(request, run_name)
        orchestration = _prepared(request, chosen, keep_alive=False, is_silent=is_child)
        if not is_child:
            _announce(workflow, chosen)
        try:
            code = orchestration.run()
        except Stopped:
            if not is_child:
                _say_stopped(workflow, orchestration)
            raise
        line = closing_line(workflow, orchestration.progress, code)
        if is_child:
            log.info("%s", line)
        else:
            click.echo(line)
        return code
    finally:
        workflow.close()


def _detach(request: Request, office: daemon.Office) -> None:
    workflow = request.workflow
    command = ["orchestrator", "start", str(workflow.directory), *request.rest]
    command += ["--run_name", str(workflow.run_name)]
    if request.mine[f"{PREFIX}wait"]:
        command += ["--wait", str(request.mine[f"{PREFIX}wait"])]
    log_file = control.log_file(workflow)
    pid = daemon.start(daemon.python_command(*command), office.what, log_file)
    click.echo(f"started {office.what} (process {pid})")
    where = shlex.quote(str(workflow.directory))
    click.echo(f"watch it with `motoko orchestrator status {where} --follow`")


def _prepared(
    request: Request, chosen: Chosen, *, keep_alive: bool, is_silent: bool = False
) -> Orchestration:
    workflow = request.workflow
    params = request.params(chosen.rest)
    run_options.record(workflow, chosen.run_name, arguments=list(chosen.rest))
    workflow.run_name = chosen.run_name
    workflow.wait_s = request.mine[f"{PREFIX}wait"] or workflow.wait_s
    daemon.log_to(control.log_file(workflow))
    view: views.View = views.Silent() if is_silent else views.Lines()
    if not is_silent and output.is_for_people() and not is_shown_on_stderr():
        latest = Latest(_N_EVENTS)
        logging.getLogger().addHandler(latest)
        view = views.Live(latest)
    return Orchestration(workflow, params, view, keep_alive=keep_alive)


def _announce(workflow: Workflow, chosen: Chosen) -> None:
    verb = "going on with" if chosen.is_resumed else "run name"
    options = f" ({shlex.join(chosen.rest)})" if chosen.rest else ""
    click.echo(f"{verb} {chosen.run_name}{options}")
    n_failed = run_options.n_failed_runs(workflow, chosen.run_name)
    if n_failed:
        click.echo(
            f"{words.counted(n_failed, 'run')} of it FAILED before: `motoko info` says why,"
            " `motoko clean --constraints 'state = FAILED'` puts them back to CREATED"
        )


def _say_stopped(workflow: Workflow, orchestration: Orchestration) -> None:
    click.echo(f"stopped the orchestrator of {workflow.run_name}", err=True)
    click.echo(still_running(workflow, orchestration.n_active()), err=True)
