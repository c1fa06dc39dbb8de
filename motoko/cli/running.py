"""What ``motoko run`` and ``motoko orchestrator start`` do."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from motoko import daemon
from motoko.cli import output, run_options, views, words
from motoko.cli.failures import Stopped
from motoko.cli.logs import Latest, is_shown_on_stderr
from motoko.cli.orchestration import Orchestration, closing_line, still_running
from motoko.cli.own_options import PREFIX, Declare
from motoko.errors import AlreadyRunning, MotokoError, RunNameMissing
from motoko.workflow import control, run_names
from motoko.workflow.custody import Custody

if TYPE_CHECKING:
    from motoko.cli.run_options import Request
    from motoko.workflow.run_names import Chosen
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

_N_EVENTS = 5


@contextmanager
def _in_custody(workflow: Workflow) -> Iterator[Custody]:
    """What comes up in the block ends with it, unless it was left."""
    custody = Custody(workflow)
    try:
        yield custody
    finally:
        workflow.close()
        others = custody.needed_by()
        if others and not custody.is_left:
            names = ", ".join(map(repr, others))
            click.echo(f"server and launcher go on for {names}", err=True)
        custody.end()


def run(arguments: Sequence[str], declare: Declare, description: str) -> int:
    """Run a workflow from its files to its end; the exit code."""
    request = run_options.read(arguments, declare, "motoko run", description)
    workflow = request.workflow
    with _in_custody(workflow) as custody:
        control.ensure_running(workflow, request.mine[f"{PREFIX}generator"])
        chosen = run_names.choose(workflow, request.mine[f"{PREFIX}run_name"], request.rest)
        custody.adopt((chosen.facts or {}).get("daemons", ()))
        orchestration = _prepared(request, chosen, keep_alive=True)
        _announce(workflow, chosen)
        try:
            code = orchestration.run()
        except Stopped:
            _leave(custody, workflow)
            _say_stopped(workflow, orchestration)
            raise
        except Exception as error:
            if orchestration.n_active():
                _leave(custody, workflow)
                error.add_note(still_running(workflow, orchestration.n_active()))
            raise
        click.echo(closing_line(workflow, orchestration.progress, code))
        if orchestration.n_active():
            _leave(custody, workflow)
            click.echo(still_running(workflow, orchestration.n_active()), err=True)
    return code


def _leave(custody: Custody, workflow: Workflow) -> None:
    pids = custody.leave()
    with suppress(MotokoError):
        run_names.record(workflow, str(workflow.run_name), daemons=pids)


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
        chosen = run_names.choose(workflow, run_name, request.rest)
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
    params = request.params(chosen.options)
    run_names.record(workflow, chosen.run_name, arguments=list(chosen.options))
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
    options = f" ({shlex.join(chosen.options)})" if chosen.options else ""
    click.echo(f"{verb} {chosen.run_name}{options}")
    n_failed = run_names.n_failed(workflow, chosen.run_name)
    if n_failed:
        click.echo(
            f"{words.counted(n_failed, 'run')} of it FAILED before: `motoko info` says why,"
            " `motoko clean --constraints 'state = FAILED'` puts them back to CREATED"
        )


def _say_stopped(workflow: Workflow, orchestration: Orchestration) -> None:
    click.echo(f"stopped the orchestrator of {workflow.run_name}", err=True)
    click.echo(still_running(workflow, orchestration.n_active()), err=True)
