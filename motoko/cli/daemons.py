"""What commands say and do about background processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motoko import daemon
from motoko.cli import exit_codes, logs, output, words
from motoko.daemon import Office, Owner
from motoko.errors import NotRunning

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


def described(owner: Owner | None) -> dict[str, Any] | None:
    """A process as JSON has it: pid, host, since, and what it says of itself."""
    if owner is None:
        return None
    return {"pid": owner.pid, "host": owner.host, "since": owner.began, **owner.facts}


def in_words(owner: Owner | None) -> str:
    """A process in a line."""
    if owner is None:
        return "not running"
    elapsed = words.duration(time.time() - owner.began)
    where = "" if owner.is_here else f" on {owner.host}"
    return f"process {owner.pid}{where}, since {words.moment(owner.began)} ({elapsed})"


def show_status(office: Office, log_file: Path, *, as_json: bool) -> int:
    """Print whether the holder of an office runs; code 6 if it does not."""
    owner = office.owner()
    if as_json:
        output.as_json(described(owner))
    else:
        click.echo(f"{office.what}: {in_words(owner)}")
        if owner is None and _has_died(office):
            click.echo(f"the last one did not end in good order; see {log_file}")
    return exit_codes.DONE if owner is not None else exit_codes.PROCESSES


def _has_died(office: Office) -> bool:
    return office.last_owner() is not None and not office.was_stopped


def stop(office: Office) -> None:
    """Stop the holder of an office and say so. NotRunning if there is none."""
    owner = daemon.stop(office)
    click.echo(f"stopped {office.what} (process {owner.pid})")


def say_started(office: Office, owner: Owner, before: Owner | None) -> None:
    """Say that a process was started, or was there."""
    is_new = before is None or before.pid != owner.pid
    verb = "started" if is_new else "already running:"
    click.echo(f"{verb} {office.what} (process {owner.pid})")


def follower(office: Office) -> Callable[[], bool]:
    """Whether there is nothing more to follow: nobody holds the office."""
    return lambda: office.owner() is None


def show_log(office: Office, file: Path, *, follow: bool) -> None:
    """Print the end of a process's log, and what comes until it ends."""
    logs.show(file, follow_until=follower(office) if follow else None)


@contextmanager
def server_kept_as_it_was(workflow: Workflow) -> Iterator[None]:
    """Afterwards the server runs only if it did before."""
    from motoko.workflow import control

    office = control.server_office(workflow)
    was_running = office.owner() is not None
    try:
        yield
    finally:
        workflow.close()
        if not was_running:
            with suppress(NotRunning):
                daemon.stop(office)
