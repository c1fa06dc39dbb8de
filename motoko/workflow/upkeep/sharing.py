"""Letting other users of the machine read a workflow: its databases, never its sockets."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.paths import STUDY_DATABASE, WORKFLOW_DATABASE

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

_READ = stat.S_IRGRP | stat.S_IROTH
_ENTER = _READ | stat.S_IXGRP | stat.S_IXOTH
#: Besides the databases: who serves and launches.
_SHOWN = (WORKFLOW_DATABASE, STUDY_DATABASE, "*.lock", "*.index")


def share(workflow: Workflow, *, is_on: bool) -> list[Path]:
    """Let everybody read the databases of a workflow, or nobody any more; what was changed.

    Sockets stay private, so that others open the files, read-only, as they are at that moment.
    Run directories have the modes that they were made with.
    """
    changed = []
    for path, bits in _paths(workflow):
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | bits if is_on else mode & ~_ENTER
        if wanted != mode:
            path.chmod(wanted)
            changed.append(path)
    return changed


def unreachable(workflow: Workflow) -> list[Path]:
    """Directories above the workflow, or of its runs, that others cannot enter."""
    above = [workflow.directory, *workflow.directory.parents]
    runs = [manager.base.runs_dir for manager in workflow.task_managers.values()]
    places = [*above, *(place for place in runs if place.exists())]
    return [place for place in places if not place.stat().st_mode & stat.S_IXOTH]


def _paths(workflow: Workflow) -> Iterator[tuple[Path, int]]:
    studies = [m.base for m in workflow.task_managers.values() if m.base.is_served_here]
    for directory in (workflow.state_dir, *(study.state_dir for study in studies)):
        if not directory.is_dir():
            continue
        yield directory, _ENTER
        for pattern in _SHOWN:
            for file in directory.glob(pattern):
                yield file, _READ
