"""Bringing what is stored of a study in line with a changed ``bd.yaml``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from motoko.crashpoints import reached
from motoko.durable import copy_file, force_directory
from motoko.errors import AlreadyRunning
from motoko.store.migration import Instructions, Migrated, is_needed, migrate
from motoko.workflow import control, making, whereabouts

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


class Outcome(NamedTuple):
    """What a migration changed, and where the database as it was lies."""

    migrated: Migrated
    backup: Path


def migrate_study(workflow: Workflow, name: str, how: Instructions) -> Outcome | None:
    """Bring the stored jobs and runs of a study in line with its ``bd.yaml``.

    The database is copied into a dated backup first. None when there is nothing to do.
    Raises AlreadyRunning while an orchestrator or the launcher runs, SchemaChanged for what the
    instructions leave open, and what `whereabouts.check_own` does.
    """
    whereabouts.check_own(workflow)
    offices = [
        control.orchestrator_office(workflow, n) for n in control.orchestrators(workflow)
    ]
    for office in [*offices, control.launcher_office(workflow)]:
        owner = office.owner()
        if owner is not None:
            raise AlreadyRunning(office.what, str(owner), office.stop or "motoko launcher stop")
    study = workflow.task_manager(name).base
    control.require_created(workflow)
    place = making.new_backup(workflow)
    backup = place / study.database_file.relative_to(workflow.directory)
    with control.server_kept_as_it_was(workflow):
        control.start_server(workflow)
        workflow.connect()
        workflow.recover()
        with study.database.read() as tables:
            stored = tables.schema
        if not is_needed(stored, study.schema, how, study.migrate_command):
            return None
        backup.parent.mkdir(parents=True)
        aside = backup.with_name(f".{backup.name}.unfinished")
        copy_file(study.database_file, aside)
        reached("migrate.aside")
        aside.rename(backup)
        force_directory(backup.parent)
        reached("migrate.copied")
        try:
            migrated = study.database.write(lambda tables: migrate(tables, study.schema, how))
        except BaseException:
            shutil.rmtree(place)
            raise
    return Outcome(migrated, backup)
