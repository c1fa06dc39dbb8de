"""``motoko server``"""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import click

from motoko.cli import daemons
from motoko.cli.own_options import TAKEOVER
from motoko.cli.places import directory_argument, load_workflow
from motoko.paths import SERVER_LOG

_takeover = click.option("--takeover", is_flag=True, help=TAKEOVER)


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


@command.command()
@directory_argument
@click.option("--name", "names", multiple=True, help="A further name or address of the server.")
@click.option("--days", type=click.FloatRange(min=0), help="How long they hold (usual: 730).")
@click.option("--renew", is_flag=True, help="Make new ones in the place of those there are.")
def certs(
    directory: str | None, names: tuple[str, ...], days: float | None, renew: bool
) -> None:
    """Make the certificates by which server and clients know each other over the network.

    An authority, a certificate of the server for the names in motoko.yaml, and one that all
    clients show. Those that are there stay, and are listed. The server takes new ones when it
    is started again; all that is connected stays so.
    """
    from motoko.errors import CertificatesNotMade
    from motoko.store import certificates, tls

    config = load_workflow(directory).config
    place = config.certificates_dir
    wanted = {*names, *config.tcp_names}
    if not wanted:
        why = "no host: zeo://name:port says what the server is called; --name does, too"
        raise CertificatesNotMade(str(config.file), why)
    made = certificates.make(
        place, wanted, days=certificates.LIFE_DAYS if days is None else days, renews=renew
    )
    for one in certificates.present(place):
        how = "made" if one.file in {other.file for other in made} else "kept"
        how = "EXPIRED" if one.has_expired else how
        of = f" for {', '.join(one.names)}" if one.names else ""
        click.echo(f"{how}  {one.file}{of}, until {one.until:%Y-%m-%d}")
        lacking = sorted(wanted - set(one.names)) if one.file.stem == tls.SERVER else []
        if lacking:
            click.echo(f"it is not for {', '.join(lacking)}: --renew makes one that is")


@command.command(hidden=True)
@click.argument("state_dir", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1)
@_takeover
def serve(state_dir: Path, files: tuple[str, ...], takeover: bool) -> None:
    """Be the server of these files, until asked to end."""
    from motoko import daemon
    from motoko.store.address import Served
    from motoko.workflow.holding_files import run_server

    daemon.log_to(state_dir / SERVER_LOG)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    held = [Served.from_data(json.loads(one)) for one in files]
    run_server(state_dir, held, stop, daemon.say_ready, takeover=takeover)
