"""What keeps a workflow from going on: full disks, processes that are gone."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.errors import DatabaseLost, MotokoError, MovedOrCopied
from motoko.paths import WORKFLOW_DATABASE
from motoko.store import layout
from motoko.study.presence import closed_runs
from motoko.workflow import control, put_back, whereabouts

if TYPE_CHECKING:
    from motoko.daemon import Office
    from motoko.workflow.workflow import Workflow

#: With less than this it is a matter of moments until nothing can be recorded any more.
_LEAST_BYTES = 1_000_000
#: So many holders that died soon after they began are no accident.
_MANY = 2


def troubles(workflow: Workflow) -> Iterator[str]:
    """Each in a sentence; nothing when all is well."""
    yield from standing_troubles(workflow, is_at_work=True)
    if _loss(workflow) is None:  # otherwise nothing is to be started
        where = shlex.quote(str(workflow.directory))
        yield from _missing(
            control.server_office(workflow),
            control.server_log(workflow),
            f"nothing goes on until `motoko server start {where}`",
        )
        yield from _launcher(workflow)
    for office in (control.server_office(workflow), control.launcher_office(workflow)):
        owner = office.owner()
        for trouble in owner.facts.get("troubles", ()) if owner is not None else ():
            yield f"{trouble['what']}: {trouble['why']}"


def standing_troubles(workflow: Workflow, *, is_at_work: bool = False) -> Iterator[str]:
    """Those that are there whether anything runs or not."""
    lost = _loss(workflow)
    if lost is not None:
        yield str(lost)
    if (unfinished := put_back.unfinished(workflow)) is not None:
        yield str(unfinished)
    try:
        whereabouts.check(workflow)
    except MovedOrCopied as unknown:
        yield str(unknown)
    yield from full_disks(workflow, is_at_work=is_at_work)
    for manager in workflow.task_managers.values():
        if (closed := closed_runs(manager.base)) is not None:
            yield closed
    for office in (control.server_office(workflow), control.launcher_office(workflow)):
        if halt := office.halt:
            yield halt


def _loss(workflow: Workflow) -> DatabaseLost | None:
    try:
        control.check_not_lost(workflow)
        if control.server_office(workflow).owner() is None:  # nobody changes it
            layout.check_not_cut(workflow.state_dir / WORKFLOW_DATABASE)
    except DatabaseLost as lost:
        return lost
    except MotokoError:  # whoever opens that database says so
        pass
    return None


def missing_launcher(workflow: Workflow) -> str:
    """Why there is no launcher, and what to do, in a sentence."""
    never = f"the launcher does not run; {_until_launcher(workflow)}"
    return next(_launcher(workflow), never)


def unended(workflow: Workflow) -> str:
    """That nobody ends what executes of a cancelled run, and what to do, in a sentence."""
    where = shlex.quote(str(workflow.directory))
    return f"no launcher is there to end it; `motoko launcher {where}` does"


def _launcher(workflow: Workflow) -> Iterator[str]:
    office, log_file = control.launcher_office(workflow), control.launcher_log(workflow)
    yield from _missing(office, log_file, _until_launcher(workflow))


def _until_launcher(workflow: Workflow) -> str:
    return f"no run starts until `motoko launcher {shlex.quote(str(workflow.directory))}`"


def _missing(office: Office, log_file: Path, until: str) -> Iterator[str]:
    owner = office.owner()
    if owner is not None:
        if owner.n_fallen >= _MANY and not owner.stands:
            times = f"{owner.n_fallen} times in a row soon after it began"
            yield f"{office.what} has died {times}; see {log_file}"
    elif office.was_stopped:
        yield f"{office.what} was stopped; {until}"
    elif office.has_died:
        yield f"{office.what} has died; see {log_file}; {until}"
    elif office.last_owner() is not None:
        yield f"{office.what} does not run; {until}"


def with_full_disk(workflow: Workflow, sentence: str) -> str:
    """What holds something up, with the full disk that nothing is recorded on, if any."""
    full = next(full_disks(workflow, is_at_work=True), None)
    if full is None or full in sentence:
        return sentence
    return f"{sentence}; {full}"


def full_disks(workflow: Workflow, *, is_at_work: bool) -> Iterator[str]:
    """The disks of a workflow on which little or nothing can be written any more.

    The sentence is the same however much is left, since it is one trouble until that is over.
    """
    places = [workflow.directory, workflow.state_dir]
    for manager in workflow.task_managers.values():
        places += [manager.base.state_dir, manager.base.runs_dir]
    then = "and all goes on" if is_at_work else "then run again"
    seen = set()
    for place in places:
        with suppress(OSError):
            device = place.stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            disk = os.statvfs(place)
            n_free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
            if n_free * disk.f_frsize < _LEAST_BYTES:
                waits = "; what cannot be recorded waits" if is_at_work else ", then run again"
                yield f"less than 1 MB is left on the disk of {place}: free some{waits}"
            elif disk.f_files and not disk.f_favail:
                yield f"no more files fit on the disk of {place}: remove some, {then}"
