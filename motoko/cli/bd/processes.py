"""What ``canYouDigIt`` says to the processes of a study: its server and its launcher."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

import anyio
import click

from motoko.cli import daemons, words
from motoko.cli.bd import study as studies
from motoko.cli.bd.options import Arguments
from motoko.errors import NotRunning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from motoko.daemon import Office
    from motoko.errors import FailedRun
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

_LOOK_S = 0.1
#: Within so long a process that has ended is replaced by whoever else needs it, if it is.
_REPLACED_S = 10.0


def init(given: Arguments) -> int:
    """Make the database, and leave its server running as the habit is."""
    from motoko.study.presence import check_not_foreign
    from motoko.workflow import control

    workflow, study = studies.found(given)
    check_not_foreign(study.state_dir)
    control.ensure_served(workflow)
    workflow.close()
    click.echo(f"the database of {study.config.study} is in {study.state_dir}")
    return 0


def reset(given: Arguments) -> int:
    """Set everything of the study aside in a dated backup, and make it anew."""
    from motoko.workflow import control, making

    workflow, study = studies.found(given)
    making.stop_idle(workflow, [study.name])
    backup = making.set_aside(workflow, keep_backup=True, studies=[study.name])
    with making.naming(backup):
        control.ensure_served(workflow)
    workflow.close()
    if backup is not None:
        click.echo(f"what was there is in {backup}")
    click.echo(f"the database of {study.config.study} is empty")
    return 0


def server_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``server``."""
    parser.add_argument("verb", choices=["start", "stop", "status"])


def server(given: Arguments) -> int:
    """Start, stop or show the server."""
    from motoko.workflow import control

    workflow, _ = studies.found(given)
    office = control.server_office(workflow)
    if given.verb == "stop":
        daemons.stop(office)
        return 0
    if given.verb == "status":
        return daemons.show_status(office, control.server_log(workflow), as_json=False)
    before = office.owner()
    control.ensure_served(workflow)
    workflow.close()
    owner = office.owner()
    if owner is not None:
        daemons.say_started(office, owner, before)
    return 0


def _generator_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--generator", help="how runs are executed, as in bashCoat")
    for name in ("--outpath", "--machine_name"):
        parser.add_argument(name, help="accepted: bd.yaml says it")
    for name in ("--stdout", "--stop_on_error", "--verbose"):
        parser.add_argument(name, action="store_true", help="accepted")


def daemon_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``launch_daemon``."""
    _generator_option(parser)
    parser.add_argument("--start", action="store_true", help="start it (the default)")
    parser.add_argument("--stop", action="store_true", help="stop it; runs go on")
    parser.add_argument("--status", action="store_true", help="say whether it runs")
    parser.add_argument("--detach", "-d", action="store_true", help="accepted: always")
    parser.add_argument("--wait", help="accepted: it is told, and does not look every so often")
    _chosen_options(parser)


def daemon(given: Arguments) -> int:
    """Start, stop or show the launcher, in the background."""
    from motoko.workflow import control

    workflow, study = studies.found(given)
    office = control.launcher_office(workflow)
    if given.stop:
        daemons.stop(office)
        return 0
    if given.status:
        return daemons.show_status(office, control.launcher_log(workflow), as_json=False)
    before = office.owner()
    if _is_limited(given):
        control.check_no_launcher(office)
        control.ensure_served(workflow)
        _start_limited(workflow, study, _created(study, given), given)
    else:
        control.ensure_running(workflow, _generator(given))
    workflow.close()
    owner = office.owner()
    if owner is not None:
        daemons.say_started(office, owner, before)
    return 0


def launch_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``runs launch``."""
    _generator_option(parser)
    _chosen_options(parser)


def _chosen_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nruns", type=int, default=-1, help="so many at most, the first ones")


def launch(given: Arguments) -> int:
    """Execute CREATED runs, all or those that are meant, and wait for them; a launcher that was
    started for it ends."""
    from motoko.launch.executing import find_executing
    from motoko.workflow import control

    workflow, study = studies.found(given)
    if _is_limited(given):
        control.check_no_launcher(control.launcher_office(workflow))
    with control.in_custody(workflow):
        control.ensure_served(workflow)
        ids = _created(study, given)
        if not ids:
            click.echo("no such run is CREATED" if _is_limited(given) else "no run is CREATED")
            return 0
        if _is_limited(given):
            _start_limited(workflow, study, ids, given)
        else:
            control.start_launcher(workflow, _generator(given))
        failed = anyio.run(_until_over, workflow, study, ids, _is_limited(given))
        while find_executing(study):  # a script may go on after it has said finish()
            time.sleep(_LOOK_S)
    click.echo(f"{words.counted(len(ids) - len(failed), 'run')} done, {len(failed)} failed")
    for run in failed:
        click.echo(f"  {run}")
    return 1 if failed else 0


async def _until_over(
    workflow: Workflow, study: Study, ids: list[int], is_limited: bool
) -> list[FailedRun]:
    """Wait for runs; which of them failed. NotRunning once there is no server or no launcher,
    without which they would be waited for in vain."""
    from motoko.study.waiting import until_over
    from motoko.workflow import control, places

    offices = {control.launcher_office(workflow): control.launcher_log(workflow)}
    if places.address(workflow).is_here:
        offices[control.server_office(workflow)] = control.server_log(workflow)
    failed: list[FailedRun] | None = None
    gone: Office | None = None
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            nonlocal failed
            failed = await until_over({study: ids})
            group.cancel_scope.cancel()

        group.start_soon(wait)
        gone = await _until_gone(offices)
        group.cancel_scope.cancel()
    if failed is not None:
        return failed
    assert gone is not None
    error = NotRunning(gone.what)
    none = " --nruns 0" if is_limited else ""
    then = "begins no other run" if is_limited else "begins what is CREATED"
    error.add_note(f"  it ended before the runs were over; its log is {offices[gone]}")
    error.add_note(
        f"  what executes goes on: `motoko bd launch_daemon --start{none}` takes it up"
        f" and {then}"
    )
    raise error


async def _until_gone(offices: Iterable[Office]) -> Office:
    """Wait until one of these is held by nobody, and nobody takes it again."""
    seen = dict.fromkeys(offices, time.monotonic())
    while True:
        for office in seen:
            now = time.monotonic()
            if office.owner() is not None:
                seen[office] = now
            elif now - seen[office] > _REPLACED_S:
                return office
        await anyio.sleep(_LOOK_S)


def _is_limited(given: Arguments) -> bool:
    return given.nruns >= 0 or given.constraints is not None


def _created(study: Study, given: Arguments) -> list[int]:
    texts = [] if given.constraints is None else [given.constraints]
    chosen = study.select(study.parse([*texts, "state = CREATED"]))
    waiting = set(study.ask(lambda tables: tables.awaiting_step()))
    ids = [run_id for run_id in chosen if run_id not in waiting]
    return ids[: given.nruns] if given.nruns >= 0 else ids


def _start_limited(workflow: Workflow, study: Study, ids: list[int], given: Arguments) -> None:
    """Start a launcher that begins these runs, and none of other studies."""
    from motoko.launch.choice import write_chosen
    from motoko.workflow import control

    chosen: dict[str, list[int]] = {m.base.name: [] for m in workflow.task_managers.values()}
    chosen[study.name] = ids
    file = workflow.state_dir / f"launch-only-{os.getpid()}.json"
    try:
        write_chosen(file, chosen)
        control.start_launcher(workflow, _generator(given), only=file)
    finally:
        file.unlink(missing_ok=True)


def _generator(given: Arguments) -> str | None:
    return None if given.generator is None else str(given.generator).removesuffix("Coat")
