"""Making the databases of studies, under the names that existing helper scripts call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motoko.workflow import control, making

if TYPE_CHECKING:
    from motoko.task_manager import TaskManager
    from motoko.workflow import Workflow

__all__ = ["create_bd_studies", "create_bd_study"]


def create_bd_study(task_manager: TaskManager) -> None:
    """Make one study anew: what it had goes into a dated backup. Its server runs afterwards."""
    workflow, name = task_manager.workflow, task_manager.study
    making.stop_idle(workflow, [name])
    with making.naming(making.set_aside(workflow, keep_backup=True, studies=[name])):
        control.ensure_served(workflow)


def create_bd_studies(workflow: Workflow, validated: bool | None = None) -> None:
    """Make all studies: anew with ``validated``, with a backup of what was there; otherwise
    only what is missing."""
    workflow.create(validated=validated)
