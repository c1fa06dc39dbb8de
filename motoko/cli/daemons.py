"""What commands say and do about background processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from motoko import daemon
from motoko.cli import exit_codes, output, words
from motoko.cli.places import directory_argument, load_to_look, warn_of_mistakes
from motoko.daemon import Office, Owner


def in_words(owner: Owner | None) -> str:
    """A process in a line."""
    if owner is None:
        return "not running"
    age_s = owner.age_s
    elapsed = words.duration(time.time() - owner.began if age_s is None else age_s)
    where = "" if owner.is_here else f" on {owner.host}"
    return f"process {owner.pid}{where}, since {words.moment(owner.began)} ({elapsed})"


def died(owner: Owner) -> str:
    """That an orchestrator ended and could not say how."""
    return (
        f"the last orchestrator of {owner.facts.get('run_name')} ({owner}) ended without a"
        " word: it was killed, or something in it called os._exit"
    )


def stall_in_words(run_name: str, stall: Mapping[str, Any]) -> Iterator[str]:
    """Since when nothing can happen under a run name, and what each condition lacks."""
    since = words.moment(stall["since"])
    yield f"{run_name} is stalled since {since}: nothing runs and no condition is true"
    for lack in stall["lacks"]:
        yield f"  {lack}"


def show_status(office: Office, log_file: Path, *, as_json: bool) -> int:
    """Print whether the holder of an office runs; code 6 if it does not."""
    owner = office.owner()
    if as_json:
        output.as_json(owner and owner.described())
    else:
        click.echo(f"{office.what}: {in_words(owner)}")
        if halt := office.halt:
            click.echo(f"trouble: {halt}")
        if office.has_died:
            click.echo(f"the last one did not end in good order; see {log_file}")
    return exit_codes.DONE if owner is not None else exit_codes.PROCESSES


def stop(office: Office) -> None:
    """Stop the holder of an office and say so. NotRunning if there is none."""
    owner = daemon.stop(office)
    click.echo(f"stopped {office.what} (process {owner.pid})")


def say_started(office: Office, owner: Owner, before: Owner | None) -> None:
    """Say that a process was started, or was there."""
    is_new = before is None or before.pid != owner.pid
    verb = "started" if is_new else "already running:"
    where = "" if owner.is_here else f" on {owner.host}"
    click.echo(f"{verb} {office.what} (process {owner.pid}{where})")


def add_stop_and_status(group: click.Group, kind: str, stop_help: str) -> None:
    """Give the group of the server or the launcher its commands ``stop`` and ``status``."""

    def office_and_log(directory: str | None) -> tuple[Office, Path]:
        from motoko.workflow import control

        workflow = load_to_look(directory)
        warn_of_mistakes(workflow)
        if kind == "server":
            return control.server_office(workflow), control.server_log(workflow)
        return control.launcher_office(workflow), control.launcher_log(workflow)

    @group.command(name="stop", help=stop_help)
    @directory_argument
    def stop_it(directory: str | None) -> None:
        stop(office_and_log(directory)[0])

    @group.command(help=f"Say whether the {kind} runs; code 6 if it does not.")
    @directory_argument
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, null if not running.")
    def status(directory: str | None, as_json: bool) -> int:
        return show_status(*office_and_log(directory), as_json=as_json)
