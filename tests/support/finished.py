"""A workflow that has run to its end, for tests that change what it left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.workflow import Workflow
from motoko.workflow.whereabouts import RECORD
from tests.support.command_line import CommandLine, new_workflow


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What ``motoko run`` leaves of the workflow that ``motoko new`` makes."""
    directory = tmp_path_factory.mktemp("finished") / "demo"
    with new_workflow(directory) as here:
        here.run("run", "--run_name", "first")
        yield directory


@pytest.fixture
def here(finished_once: Path, tmp_path: Path) -> CommandLine:
    """A copy of it that does not know to be one; nothing runs."""
    directory = tmp_path / "demo"
    shutil.copytree(finished_once, directory, symlinks=True, ignore=_is_no_file)
    return CommandLine(directory)


def _is_no_file(directory: Any, names: list[str]) -> list[str]:
    paths = {name: Path(directory, name) for name in names}
    return [n for n, path in paths.items() if n == RECORD or path.is_socket()]


@contextmanager
def tables_of(here: CommandLine, study: str) -> Iterator[Tables]:
    """What a study's database says now, read from its file."""
    workflow = Workflow(str(here.directory))
    found: Study = workflow.task_manager(study).base
    found.database.open_file(found.database_file)
    try:
        with found.database.read() as tables:
            yield tables
    finally:
        workflow.close()


def everything(tables: Tables) -> dict[str, Any]:
    """All runs with their jobs, attempts and quantities."""
    found: dict[str, Any] = {}
    for run_id in tables.run_ids():
        row = dict(tables.run(run_id))
        job = dict(tables.job(row["job_id"]))
        found[str(run_id)] = row, job, tables.attempts(run_id), tables.quantities(run_id)
    return found
