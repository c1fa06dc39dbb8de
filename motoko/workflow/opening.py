"""Opening a workflow's databases to read them, whether their server runs or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.daemon import Office
from motoko.errors import DatabaseLost, StudyNotFound
from motoko.paths import WORKFLOW_DATABASE
from motoko.store import layout
from motoko.store.database import Database
from motoko.study.presence import check_created, check_not_cut_short
from motoko.study.study import Study
from motoko.workflow import control, places, reading
from motoko.workflow.variables import WorkflowVars

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


def load_study(workflow: Workflow, name: str) -> Study:
    """The study of a task manager, which is read from its file while no server runs.

    ConfigError with the mistakes in its ``bd.yaml``.
    """
    study = reading.load_study(workflow.config, name)

    def stand_in() -> None:
        server, file = control.server_office(workflow), study.database_file
        if study.is_served_here and _is_to_be_read(file, server):
            open_study(study, server)

    study.database.stand_in = stand_in
    return study


def variables(workflow: Workflow) -> WorkflowVars:
    """The workflow's variables, which are read from their file while no server runs."""
    file = workflow.state_dir / WORKFLOW_DATABASE
    found = WorkflowVars(str(file), address=places.address(workflow))
    found.db.ledger = found.db

    def stand_in() -> None:
        if _is_to_be_read(file, server := control.server_office(workflow)):
            _open(found.db, file, server)

    found.db.stand_in = stand_in
    return found


def _is_to_be_read(file: Path, server: Office) -> bool:
    return file.is_file() and (server.owner() is None or not _is_own(file))


def _is_own(file: Path) -> bool:
    return file.stat().st_uid == os.getuid()


def open_all(workflow: Workflow) -> None:
    """Open all databases to read them, whether their server runs or not.

    Raises StudyNotFound for one that was not made yet.
    """
    office = control.server_office(workflow)
    for manager in workflow.task_managers.values():
        open_study(manager.base, office)
    open_ledger(workflow)


def open_ledger(workflow: Workflow) -> None:
    """Open the workflow's own database to read it, whether its server runs or not."""
    if not control.is_there(workflow):
        raise StudyNotFound(str(workflow.directory), layout.NO_DATABASE)
    file = workflow.state_dir / WORKFLOW_DATABASE
    _open(workflow.vars.db, file, control.server_office(workflow))


def open_study(study: Study, server: Office) -> None:
    """Open the database of one study to read it, whether its server runs or not."""
    if not study.is_served_here and not _is_idle(study.database_file, server):
        study.database.connect()
        return
    check_created(study)
    _open(study.database, study.database_file, server)
    try:
        check_not_cut_short(study)
    except DatabaseLost:
        if server.owner() is None:  # nobody makes runs that this copy of the file cannot know
            raise


def _is_idle(file: Path, server: Office) -> bool:
    """Whether a file of the workflow is there to be read, and no server holds it anywhere."""
    return file.is_file() and server.owner() is None


def _open(database: Database[Any], file: Path, server: Office) -> None:
    if not _is_own(file):  # shared to be read: its socket is its user's
        database.open_file(file)
        return
    owner = server.owner()
    is_served = owner is not None and str(file) in owner.facts.get("files", ())
    if is_served and owner is not None and (owner.is_here or database.address.path is None):
        database.connect()
        return
    if owner is None:  # nobody changes it, or writes an index of it
        layout.check_not_cut(file)
    database.open_file(file)
