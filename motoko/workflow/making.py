"""Making a workflow's databases, and setting aside what is there."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.crashpoints import reached
from motoko.errors import AlreadyRunning, MotokoError, RunsExecuting
from motoko.study import moving
from motoko.study.presence import check_not_foreign

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

from motoko.workflow import control

BACKUP_PREFIX = "motoko-backup-"
#: In a backup that not everything was moved to yet.
_UNFINISHED = ".unfinished"
#: Where lies what is being removed.
_REMOVED = ".motoko-removed"


def create(workflow: Workflow, *, reset: bool, keep_backup: bool = True) -> Path | None:
    """Make all databases and start their server; where the backup lies, if there is one.

    With ``reset`` everything that was there (databases, run directories, logs) is moved into
    a dated directory first, or removed if no backup is to be kept. Without, what is missing is
    added. Refuses with AlreadyRunning while an orchestrator runs, and with RunsExecuting while
    scripts do.
    """
    for manager in workflow.task_managers.values():
        check_not_foreign(manager.base.state_dir)
    backup = None
    if reset:
        for name, owner in control.orchestrators(workflow).items():
            office = control.orchestrator_office(workflow, name)
            raise AlreadyRunning(office.what, str(owner), office.stop)
        stop_idle(workflow)
        backup = set_aside(workflow, keep_backup=keep_backup)
    with naming(backup):
        moving.remove(workflow.directory / _REMOVED)
        control.ensure_served(workflow)
    return backup


@contextmanager
def naming(backup: Path | None, what: str = "what was there") -> Iterator[None]:
    """An error inside the block says where it is, if anything was set aside."""
    try:
        yield
    except (MotokoError, OSError) as error:
        if backup is not None and backup.exists():
            error.add_note(f"{what} is in {backup}")
        raise


def stop_idle(workflow: Workflow, studies: Collection[str] = ()) -> None:
    """Stop everything; RunsExecuting, before anything is stopped, if scripts still execute."""
    check_idle(workflow, studies)
    control.stop_all(workflow)
    check_idle(workflow, studies)  # the launcher may have started one meanwhile


def check_idle(workflow: Workflow, studies: Collection[str] = ()) -> None:
    """RunsExecuting if scripts of these studies, or of all, still execute."""
    from motoko.launch.executing import find_executing

    names = studies or workflow.task_managers
    found = [one for n in names for one in find_executing(workflow.task_manager(n).base)]
    if found:
        raise RunsExecuting(str(workflow.directory), [(one.title, one.host) for one in found])


def state_paths(workflow: Workflow, studies: Collection[str] = ()) -> list[Path]:
    """What is there of databases, run directories and logs: of some studies, or of all."""
    found = [] if studies else [workflow.state_dir]
    if not studies and workflow.artifacts.manifest_file.exists():
        found.append(workflow.artifacts.root)
    for name in studies or workflow.task_managers:
        study = workflow.task_manager(name).base
        found += [study.state_dir, study.runs_dir]
    return [path for path in found if path.exists()]


def set_aside(
    workflow: Workflow, *, keep_backup: bool, studies: Collection[str] = ()
) -> Path | None:
    """Move `state_paths` into a dated directory, or remove them; that directory, if any.

    Nothing of the workflow may run. Who is killed meanwhile is followed by the next call, which
    moves what is left to the same place.
    """
    workflow.close()
    removed = workflow.directory / _REMOVED
    paths = state_paths(workflow, studies)
    if keep_backup and not paths:
        return None
    backup = _unfinished_backup(workflow, paths) if keep_backup else removed
    unfinished = backup / _UNFINISHED
    with naming(backup, "what was moved before that"):
        if keep_backup:
            backup.mkdir(exist_ok=True)
            unfinished.touch()
        else:
            moving.remove(removed)  # what a call that was killed has left
        for path in paths:
            move_into(backup, path, workflow)
            reached("reset.moved")
    reached("reset.complete")
    if keep_backup:
        unfinished.unlink()
        return backup
    moving.remove(removed)
    return None


def _unfinished_backup(workflow: Workflow, paths: Iterable[Path]) -> Path:
    """The backup into which a call that was killed has moved the rest, or a new one."""
    for found in workflow.directory.glob(f"{BACKUP_PREFIX}*/{_UNFINISHED}"):
        backup = found.parent
        if not any(place_in(backup, path, workflow).exists() for path in paths):
            return backup
    return new_backup(workflow)


def new_backup(workflow: Workflow) -> Path:
    """The name of a dated directory that is not there yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    backup = workflow.directory / f"{BACKUP_PREFIX}{stamp}"
    n = 1
    while backup.exists():
        n += 1
        backup = workflow.directory / f"{BACKUP_PREFIX}{stamp}-{n}"
    return backup


def move_into(backup: Path, path: Path, workflow: Workflow) -> None:
    """Move a file or directory of the workflow to its `place_in` a backup."""
    target = place_in(backup, path, workflow)
    target.parent.mkdir(parents=True, exist_ok=True)
    moving.move(path, target)


def check_dirs(
    workflow: Workflow, study: Study, ids: Iterable[int], *, are_kept: bool = True
) -> None:
    """PermissionError, which says what to do, if the directories of these runs cannot be moved
    into a backup, or removed if they are not kept."""
    present = [path for path in map(study.run_dir, ids) if path.exists()]
    if present:
        moving.check_writable(study.runs_dir)
    if present and are_kept:
        moving.check_writable(workflow.directory)
        moving.check_movable(present)
    else:
        for path in present:
            moving.check_removable(path)


def find_set_aside(path: Path, workflow: Workflow) -> Path | None:
    """Where a file or directory that is gone was moved last."""
    backups = workflow.directory.glob(f"{BACKUP_PREFIX}*")
    places = [place_in(backup, path, workflow) for backup in backups]
    present = [place for place in places if place.exists()]
    return max(present, key=str, default=None)


def place_in(backup: Path, path: Path, workflow: Workflow) -> Path:
    """The same place in a backup; for run directories outside of the workflow, ``elsewhere``
    and the name of their task manager."""
    plain = Path(os.path.normpath(path))
    target = backup / "elsewhere" / path.name
    if plain.is_relative_to(workflow.directory):
        target = backup / plain.relative_to(workflow.directory)
    else:
        for name, manager in workflow.task_managers.items():
            runs_dir = manager.base.runs_dir
            if path.is_relative_to(runs_dir):
                target = backup / "elsewhere" / name / path.relative_to(runs_dir.parent)
                break
    return target
