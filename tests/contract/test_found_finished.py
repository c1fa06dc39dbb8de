"""Runs that are taken for finished since files said so: the end of a workflow tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from motoko.cli.orchestration import closing_line, left_line
from motoko.study.study import Study
from motoko.workflow import Workflow
from motoko.workflow.views.progress import Progress
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

TEXTS = {
    "solve": "study: solve\njob: {x: int}\nsentinels: true\n",
    "plain": "study: plain\njob: {x: int}\n",
}


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


def found_finished(study: Study, row: Mapping[str, Any]) -> str:
    """What becomes of runs: files say of those with an odd value that they are finished."""
    if study.job_row(row["job_id"])["x"] % 2:
        run_id, number = row["id"], row.get("attempt", 0) + 1
        facts = {"state": "FINISHED", "executed": False}
        study.database.write(lambda tables: tables.set_attempt(run_id, number, facts))
    return "FINISHED"


def watched(workflow: Workflow, *names: str, again: int | None = None) -> Progress:
    """Have the studies of these names do their tasks, watching; one run is put back."""
    progress = Progress(workflow, "test")

    async def main(workflow: Workflow, **params: Any) -> None:
        with progress.watching():
            for name in names:
                runs = workflow.task_manager(name).createTask(x=[1, 2, 3])
                await runs
                if again is not None:
                    [one] = [run for run, _ in runs if run.id == again]
                    one.state = "CREATED"
                    await runs
        workflow.finished = True

    assert run(workflow, main, outcome=found_finished) == 0
    progress.read_again()
    return progress


def test_end_tells_how_many_runs_were_not_executed_since_files_said_that_they_are_finished(
    workflow: Workflow,
) -> None:
    progress = watched(workflow, "solve", "plain")

    assert progress.found_finished == {"solve": [1, 3]}
    told = (
        "not executed, since files said that they are finished: solve 2 runs,"
        " `motoko runs show solve.1`"
    )
    assert f"; {told}; results in" in closing_line(workflow, progress, 0)
    assert left_line(workflow, progress).endswith(f"; {told}")


def test_what_was_finished_before_is_not_told_of_again_unless_it_is_put_back(
    workflow: Workflow,
) -> None:
    watched(workflow, "solve")

    assert watched(workflow, "solve").found_finished == {}
    assert watched(workflow, "solve", again=2).found_finished == {}
    assert watched(workflow, "solve", again=3).found_finished == {"solve": [3]}


def test_runs_that_went_unnoticed_are_found_in_the_end(workflow: Workflow) -> None:
    study = workflow.solve.base
    ids = study.create_tasks({"x": [1, 2]}, {}, run_name="test", event_name="")
    progress = Progress(workflow, "test")
    progress.read_again()

    ids += study.create_tasks({"x": 3}, {}, run_name="test", event_name="")
    for run_id in ids:
        state = found_finished(study, study.run_row(run_id))
        study.database.write(lambda t, i=run_id, s=state: t.update_run(i, {"state": s}))
    progress.read_again()

    assert progress.found_finished == {"solve": [1, 3]}


def test_one_that_was_executed_after_all_while_nobody_noticed_is_not_told_of(
    workflow: Workflow,
) -> None:
    study = workflow.solve.base
    progress = Progress(workflow, "test")
    progress.read_again()
    [run_id] = study.create_tasks({"x": 1}, {}, run_name="test", event_name="")
    state = found_finished(study, study.run_row(run_id))
    study.database.write(lambda tables: tables.update_run(run_id, {"state": state}))
    progress.read_again()
    assert progress.found_finished == {"solve": [1]}

    study.database.write(lambda t: t.set_attempt(run_id, 2, {"state": "FINISHED"}))
    progress.read_again()

    assert progress.found_finished == {}
