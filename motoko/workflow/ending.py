"""Ending what executes, and putting runs back to where they began."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko import daemon, host
from motoko.job import token
from motoko.launch.holders import end_holders
from motoko.model import states
from motoko.workflow import control

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

_GRACE_S = 5.0
_RUNS_A_COMMIT = 1000


def leave_alone(workflow: Workflow, studies: Sequence[str]) -> list[str]:
    """Let the launcher go on without some studies; what was stopped, in words."""
    office = control.launcher_office(workflow)
    owner = office.owner()
    if owner is None:
        return []
    served = owner.facts.get("studies", list(workflow.task_managers))
    rest = tuple(name for name in served if name not in studies)
    if len(rest) == len(served):
        return []
    daemon.stop(office)
    if rest:
        control.start_launcher(workflow, owner.facts.get("generator"), rest)
    gone = [name for name in served if name not in rest]
    return [f"launching runs of {', '.join(gone)}"]


def reset_active(workflow: Workflow, studies: Sequence[str], *, at_once: bool) -> int:
    """End the local processes of all executing runs and make these CREATED; how many.

    Runs that execute on another host, or that a launcher of this moment holds, stay.
    """
    if not control.is_created(workflow):
        return 0
    n_runs = 0
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        for name in studies or tuple(workflow.task_managers):
            study = workflow.task_manager(name).base
            with study.database.read() as tables:
                active = _active(tables)
            ended = [r for r, attempt in active if _end(study, r, attempt, at_once=at_once)]
            n_runs += _back_to_created(study, ended)
    return n_runs


def _active(tables: Tables) -> list[tuple[int, int]]:
    """Runs that are being executed, with the number of their attempt."""
    constraints = [tables.parse(f"state = {state}") for state in sorted(states.ACTIVE)]
    ids = [run_id for constraint in constraints for run_id in tables.select(constraint)]
    return [(run_id, tables.run(run_id).get("attempt", 0)) for run_id in ids]


def _end(study: Study, run_id: int, attempt: int, *, at_once: bool) -> bool:
    """End all processes of an attempt; whether none is left."""
    run_dir = str(study.run_dir(run_id))
    taken = token.read_token(run_dir, attempt)
    if taken is not None and taken.host not in (None, host.host_name()):
        return False
    for number in (signal.SIGKILL,) if at_once else (signal.SIGTERM, signal.SIGKILL):
        end_holders(run_dir, attempt, number)
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            if not token.is_held(run_dir, attempt):
                return True
            time.sleep(0.02)
    return False


def _back_to_created(
    study: Study, run_ids: Iterable[int], manifest: Mapping[str, Any] | None = None
) -> int:
    ids = list(run_ids)
    changes: dict[str, Any] = {"state": states.CREATED, "has_finished": None}
    if manifest is not None:
        changes["files"] = manifest["key"]
    for start in range(0, len(ids), _RUNS_A_COMMIT):
        some = ids[start : start + _RUNS_A_COMMIT]

        def reset(tables: Tables, some: list[int] = some) -> None:
            if manifest is not None:
                tables.set_manifest(manifest["key"], manifest)
            for run_id in some:
                tables.update_run(run_id, changes)

        study.database.write(reset)
    return len(ids)


@dataclass
class Cleaned:
    """What `clean` did."""

    n_runs: int
    n_active: int
    #: How many of the runs keep files that have changed since their creation.
    n_outdated: int
    backup: Path | None


def clean(
    workflow: Workflow,
    studies: Sequence[str],
    constraints: list[str],
    *,
    keep_backup: bool,
    current_files: bool,
) -> Cleaned:
    """Put runs back to CREATED and their run directories into a dated backup.

    Runs that are being executed are left as they are. With ``current_files`` the runs get the
    study's files as they are now, instead of those they were created with.
    """
    cleaned = Cleaned(0, 0, 0, None)
    backup = control.new_backup(workflow)
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        for name in studies or tuple(workflow.task_managers):
            study = workflow.task_manager(name).base
            with study.database.read() as tables:
                ids = tables.select(tables.parse(constraints))
                rows = {run_id: tables.run(run_id) for run_id in ids}
            manifest = study.manifest()
            chosen = [r for r in ids if rows[r]["state"] not in states.ACTIVE]
            outdated = [r for r in chosen if rows[r].get("files") != manifest["key"]]
            for run_id in chosen:
                directory = study.run_dir(run_id)
                if directory.exists():
                    control.move_into(backup, directory, workflow)
            if current_files:
                cleaned.n_runs += _back_to_created(study, chosen, manifest)
            else:
                over = [r for r in chosen if rows[r]["state"] != states.CREATED]
                cleaned.n_runs += _back_to_created(study, over)
                cleaned.n_outdated += len(outdated)
            cleaned.n_active += len(ids) - len(chosen)
    if backup.exists():
        if keep_backup:
            cleaned.backup = backup
        else:
            shutil.rmtree(backup)
    return cleaned


def delete(workflow: Workflow, studies: Sequence[str]) -> list[str]:
    """Stop everything and remove databases, run directories and logs; what was removed."""
    control.stop_all(workflow)
    paths = control.state_paths(workflow, studies)
    control.set_aside(workflow, keep_backup=False, studies=studies)
    return [os.path.relpath(path, workflow.directory) for path in paths]
