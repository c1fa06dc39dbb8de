"""Databases that were moved or copied, once the user has said which."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from motoko import host
from motoko.crashpoints import reached
from motoko.errors import AlreadyRunning, ConfigError, Mistake
from motoko.job import holders, layout
from motoko.launch.executing import find_executing
from motoko.launch.work import EPOCH, open_runs
from motoko.model import states
from motoko.store.rows import COPIED_FROM
from motoko.study.archive import archives_dir
from motoko.workflow import control, put_back, whereabouts

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow


@dataclass
class Settled:
    """What was done."""

    #: Where databases are that are at home there now.
    directories: list[str] = field(default_factory=list)
    #: How many runs of a copy are CREATED again, since they execute for the original.
    n_runs: int = 0


def settle(workflow: Workflow, *, is_copy: bool) -> Settled:
    """Take databases for what they are where they lie now; nothing for those at home.

    A copy gets databases of its own: what executed, or was cancelled and still did, executes
    for the original; its runs are CREATED here. Raises AlreadyRunning while a process of the
    workflow runs, and ConfigError for a copy that shares a server or run directories with its
    original.
    """
    changes = whereabouts.changes(workflow)
    settled = Settled([str(change.state_dir.parent) for change in changes])
    if not changes:
        return settled
    put_back.check(workflow)
    for change in changes:
        if not change.is_renamed:
            _leave_processes(change.state_dir)
    _check_nothing_runs(workflow)
    if is_copy:
        places = {change.state_dir for change in changes}
        is_whole = workflow.state_dir in places
        bases = [manager.base for manager in workflow.task_managers.values()]
        studies = [s for s in bases if is_whole or s.state_dir in places]
        mistakes = list(_shared(workflow, studies))
        if mistakes:
            raise ConfigError(mistakes)
        for place in places:
            _break_links(place)
        settled.n_runs = _make_own(workflow, studies)
        reached("place.settled")
    whereabouts.record(workflow)
    return settled


def _check_nothing_runs(workflow: Workflow) -> None:
    offices = [control.server_office(workflow), control.launcher_office(workflow)]
    offices += [
        control.orchestrator_office(workflow, name) for name in control.orchestrators(workflow)
    ]
    for office in offices:
        owner = office.owner()
        if owner is not None and owner.is_here:
            raise AlreadyRunning(office.what, f"{owner}; `motoko kill` ends it")


def _leave_processes(state_dir: Path) -> None:
    """Forget the processes of the original, and where they are reached."""
    for pattern in ("*.lock", "*.stop-*", "*.kept-*", "*.passed-*", "*.sock", "*.sock.path"):
        for file in state_dir.glob(pattern):
            if _is_linked(file) or not host.is_locked(str(file)):
                file.unlink(missing_ok=True)


def _is_linked(file: Path) -> bool:
    """Whether the same file is in another directory too: the copy was made of hard links."""
    return file.stat().st_nlink > 1


def _shared(workflow: Workflow, studies: Iterable[Study]) -> Iterable[Mistake]:
    """What a copy would use together with its original."""
    for study in studies:
        if not study.is_served_here:
            found = f"the database of {study.name} is served at {study.address}"
            allowed = "the original uses it too: name another host, or none"
            yield Mistake(
                str(workflow.config.file), 0, f"task_managers.{study.name}", found, allowed
            )
            continue
        home = os.path.realpath(study.directory)
        for place in (study.runs_dir, archives_dir(study)):
            if place.exists() and not Path(os.path.realpath(place)).is_relative_to(home):
                allowed = "the original uses it too: name another outpath"
                found = f"directories of runs lie in {place}"
                yield Mistake(str(study.config.file), 0, "outpath", found, allowed)


def _break_links(state_dir: Path) -> None:
    """Give a copy that was made of hard links files of its own."""
    for file in state_dir.iterdir():
        if file.is_file() and _is_linked(file):
            aside = file.with_name(f"{file.name}.own")
            shutil.copy2(file, aside)
            aside.replace(file)


def _make_own(workflow: Workflow, studies: Iterable[Study]) -> int:
    n_runs = 0
    with control.server_kept_as_it_was(workflow):
        control.serve_as_it_is(workflow)
        for study in studies:
            n_runs += len(study.database.write(_disown))
            reached("place.disowned")
            for one in find_executing(study):
                taken = Path(layout.token_file(one.run_dir, one.attempt))
                if _is_linked(taken) or not holders.is_held(one.run_dir, one.attempt):
                    taken.unlink()
    return n_runs


def _disown(tables: Tables) -> list[int]:
    """Give a database an identity of its own; the runs that are to be executed again."""
    before = tables.fact(COPIED_FROM) or []
    tables.set_fact(COPIED_FROM, [*before, tables.fact("generation")])
    tables.set_fact("generation", secrets.token_hex(8))
    tables.set_fact(EPOCH, None)
    again = []
    active = {run_id for state in states.ACTIVE for run_id in tables.in_state(state)}
    for run_id in sorted(active.union(open_runs(tables))):
        if tables.run(run_id)["state"] == states.CANCELLED:
            tables.update_run(run_id, {"end_time": time.time()})
        else:
            tables.update_run(run_id, {"state": states.CREATED}, is_decided=True)
            again.append(run_id)
    return again
