"""``motoko server``"""

from __future__ import annotations

import signal
import threading

import click

from motoko.cli import daemons
from motoko.cli.places import directory_argument, find_directory, load_workflow
from motoko.paths import SERVER_LOG, WORKFLOW_STATE

_takeover = click.option("--takeover", is_flag=True, help=daemons.TAKEOVER)


@click.group()
def command() -> None:
    """The process that holds the databases of a workflow: one for all its studies."""


@command.command()
@directory_argument
@_takeover
def start(directory: str | None, takeover: bool) -> None:
    """Start the server in the background, unless it runs."""
    from motoko.workflow import control

    workflow = load_workflow(directory)
    office = control.server_office(workflow)
    before = office.owner()
    control.ensure_served(workflow, takeover=takeover)
    workflow.close()
    owner = office.owner()
    if owner is not None:
        daemons.say_started(office, owner, before)


daemons.add_stop_and_status(
    command,
    "server",
    "Stop the server. Who needs it waits until it is there again.",
)


@command.command(hidden=True)
@directory_argument
@_takeover
def serve(directory: str | None, takeover: bool) -> None:
    """Be the server, until asked to end."""
    from motoko import daemon
    from motoko.workflow import control

    daemon.log_to(find_directory(directory) / WORKFLOW_STATE / SERVER_LOG)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    control.run_server(load_workflow(directory), stop, daemon.say_ready, takeover=takeover)
