"""A Python process that reads a workflow whose server does not run, or comes and goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from motoko.daemon import process
from motoko.errors import DatabaseLost, DatabaseUnavailable
from motoko.store.patience import patience
from motoko.workflow import Workflow, control
from motoko.workflow.upkeep.verification import verify
from motoko.workflow.views import overview
from tests.support.powers import without_powers
from tests.support.processes import kill_processes_of
from tests.support.workflows import write_workflow


def change_through_a_server(directory: Path, x: int) -> None:
    """Somebody else starts the server, makes a run, sets a variable, and stops it."""
    workflow = Workflow(str(directory))
    control.ensure_served(workflow)
    workflow.run_name = "first"
    workflow.mult.createTask(x=x)
    workflow.vars.last = x
    workflow.close()
    process.stop(control.server_office(workflow))


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    write_workflow(tmp_path, {"mult": None})
    change_through_a_server(tmp_path, x=1)
    workflow = Workflow(str(tmp_path))
    with patience(0.5):
        yield workflow
    workflow.close()
    kill_processes_of(tmp_path)


def seen(workflow: Workflow) -> tuple[list[int], int]:
    """The values of its jobs, and its variable."""
    return [job.x for _, job in workflow.mult.select()], workflow.vars.last


def test_what_others_have_changed_since_is_read_from_the_files(workflow: Workflow) -> None:
    assert seen(workflow) == ([1], 1)

    change_through_a_server(workflow.directory, x=2)

    assert seen(workflow) == ([1, 2], 2)
    assert list(workflow.mult.dataframe("x = 2").index) == [2]


def test_who_has_read_files_changes_through_the_server_that_was_started_since(
    workflow: Workflow,
) -> None:
    assert seen(workflow) == ([1], 1)
    control.ensure_served(other := Workflow(str(workflow.directory)))
    other.close()

    with workflow.session():
        ((run, _),) = workflow.mult.select("x = 1")
        run.note = "kept"
        workflow.vars.other = workflow.vars.last + 1
    workflow.vars.last = 3

    assert (workflow.vars.last, workflow.vars.other) == (3, 2)
    assert [run.note for run, _ in workflow.mult.select()] == ["kept"]


@pytest.mark.slow
def test_who_was_connected_reads_files_when_the_server_has_gone(workflow: Workflow) -> None:
    control.ensure_served(workflow)
    workflow.vars.last = 3
    assert seen(workflow) == ([1], 3)
    process.stop(control.server_office(workflow))

    change_through_a_server(workflow.directory, x=4)

    assert seen(workflow) == ([1, 4], 4)


@pytest.mark.slow
def test_a_change_without_a_server_says_what_starts_one(workflow: Workflow) -> None:
    assert seen(workflow) == ([1], 1)

    with pytest.raises(DatabaseUnavailable, match=r"no server answers .*motoko server start"):
        workflow.vars.last = 2

    assert seen(workflow) == ([1], 1)


@pytest.mark.slow
def test_who_could_not_change_anything_reads_what_others_have_changed_since(
    workflow: Workflow,
) -> None:
    ((run, _),) = workflow.mult.select("x = 1")
    assert seen(workflow) == ([1], 1)
    with pytest.raises(DatabaseUnavailable):
        run.note = "mine"
    with pytest.raises(DatabaseUnavailable):
        workflow.vars.last = 9

    assert run.attempts == []  # in a part of the file that was not looked at before
    change_through_a_server(workflow.directory, x=2)

    assert seen(workflow) == ([1, 2], 2)


def test_a_server_that_is_just_ending_is_not_waited_for(workflow: Workflow) -> None:
    database = workflow.mult.base.database
    read_file, looks = database.stand_in, []

    def stand_in() -> None:
        looks.append(len(looks))
        if len(looks) > 1 and read_file is not None:  # at first a server is still there
            read_file()

    database.stand_in = stand_in

    assert workflow.mult.base.tables.n_runs == 1


@pytest.mark.slow
def test_who_waits_for_runs_waits_for_the_server_too(workflow: Workflow) -> None:
    async def wait() -> None:
        await workflow.mult.select("x = 1")

    with pytest.raises(DatabaseUnavailable, match="no server answers"):
        anyio.run(wait)


def test_a_file_that_was_cut_is_refused_at_once(workflow: Workflow) -> None:
    file = workflow.mult.base.database_file
    os.truncate(file, file.stat().st_size // 2)

    with pytest.raises(DatabaseLost, match="motoko repair"):
        seen(workflow)


def test_results_are_looked_at_though_the_directory_of_runs_may_not_be(
    workflow: Workflow,
) -> None:
    runs_dir = workflow.mult.base.runs_dir
    workflow.mult.base.run_dir(1).mkdir(parents=True)
    runs_dir.chmod(0)
    try:
        with without_powers():
            found = overview.look(workflow, (), None)
            report = verify(workflow)
    finally:
        runs_dir.chmod(0o755)

    assert [study.total for study in found.studies] == [{"CREATED": 1}]
    assert [t for t in found.troubles if f"{runs_dir}: this user may not look into it" in t]
    assert [f.what.partition(":")[0] for f in report.findings] == [str(runs_dir)]
