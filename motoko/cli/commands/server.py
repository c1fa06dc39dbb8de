"""``motoko server``"""

from __future__ import annotations

import signal
import threading

import click

from motoko.cli import daemons
from motoko.cli.places import directory_argument, find_directory, load_workflow


@click.group()
def command() -> None:
    """The process that holds the databases of a workflow: one for all its studies."""


@command.command()
@directory_argument
def start(directory: str | None) -> None:
    """Start the server in the background, unless it runs."""
    from motoko.workflow import control

    workflow = load_workflow(directory)
    office = control.server_office(workflow)
    before = office.owner()
    control.ensure_served(workflow)
    workflow.close()
    owner = office.owner()
    if owner is not None:
        daemons.say_started(office, owner, before)


@command.command()
@directory_argument
def stop(directory: str | None) -> None:
    """Stop the server. Who needs it waits until it is there again."""
    from motoko.workflow import control

    daemons.stop(control.server_office(load_workflow(directory)))


@command.command()
@directory_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON, null if it does not run.")
def status(directory: str | None, as_json: bool) -> int:
    """Say whether the server runs; code 6 if it does not."""
    from motoko.workflow import control

    workflow = load_workflow(directory)
    log_file = workflow.state_dir / "server.log"
    return daemons.show_status(control.server_office(workflow), log_file, as_json=as_json)


@command.command(hidden=True)
@directory_argument
def serve(directory: str | None) -> None:
    """Be the server, until asked to end."""
    from motoko import daemon
    from motoko.workflow import control

    daemon.log_to(find_directory(directory) / ".wf" / "server.log")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    control.run_server(load_workflow(directory), stop, daemon.say_ready)
