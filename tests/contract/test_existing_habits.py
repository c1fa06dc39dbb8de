"""What existing directories and scripts rely on, where no other test says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.compat.selectors import JobSelector, RunSelector
from motoko.launch.environment import Environment, user_name
from motoko.launch.rundir import Kit
from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")
YAML = """\
study: mult
job: {x: float, values: list}
run: {compiler: str}
config_files: [sub/deep/a.txt, ../outside.txt]
outpath: ../scratch
"""


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    directory = tmp_path / "w"
    for name in ("mult/sub/deep/a.txt", "outside.txt", "mult/doIt.py"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("before")
    with served_workflow(directory, mult=YAML) as workflow:
        yield workflow


def test_files_land_flat_with_the_content_of_the_runs_creation(
    workflow: Workflow, tmp_path: Path
) -> None:
    workflow.mult.createTask(x=1.0)
    (workflow.directory / "outside.txt").write_text("after")
    workflow.mult.createTask(x=2.0)
    study = workflow.mult.base
    found = []

    for run_id in (1, 2):
        place = tmp_path / str(run_id)
        place.mkdir()
        with study.database.read() as tables:
            manifest = tables.manifest(tables.run(run_id)["files"])
        assert manifest is not None
        Kit(study.files, manifest).place(str(place), {})
        found.append({path.name: path.read_text() for path in place.iterdir()})

    assert set(found[0]) == {"a.txt", "outside.txt", "doIt.py", "launch.sh"}
    assert [files["outside.txt"] for files in found] == ["before", "after"]


def test_run_directories_may_lie_elsewhere(workflow: Workflow) -> None:
    [(one, _)] = workflow.mult.createTask(x=1.0)

    place = workflow.directory / "scratch" / "BD-mult-runs" / "run-1"
    assert Path(one.run_path).resolve() == place


def test_scripts_have_the_variables_that_they_had(workflow: Workflow, tmp_path: Path) -> None:
    environment = Environment(workflow.mult.base, tmp_path, {})

    variables = environment.of_run(3, {}, str(tmp_path), 1)

    expected = {
        "BLACKDYNAMITE_HOST": f"zeo://{workflow.directory}/mult",
        "BLACKDYNAMITE_STUDY": "mult",
        "BLACKDYNAMITE_SCHEMA": "mult",
        "BLACKDYNAMITE_RUN_ID": "3",
        "BLACKDYNAMITE_USER": user_name({}),
    }
    assert {name: variables.get(name) for name in expected} == expected


def test_what_does_not_make_another_task(workflow: Workflow) -> None:
    def other_event(**values: Any) -> list[int]:
        return [run.id for run, _ in workflow.mult.createTask(x=1.0, run_params=values)]

    [(first, _)] = workflow.mult.createTask(x=1.0, run_params={"compiler": "gcc"})

    assert other_event(compiler="gcc") == [first.id] and first.event_name != "other_event"
    assert other_event(compiler="gcc", note="mine", walltime="1:00", mem=5) == [first.id]
    assert other_event(compiler="gcc", nproc=2) == [2]
    assert other_event(compiler="gcc", machine_name="here") == [3]
    assert other_event(compiler="clang") == [4]


def test_selectors_take_texts_lists_and_mappings(workflow: Workflow) -> None:
    workflow.mult.createTask(x=[3.0, 1.0, 2.0])
    base = workflow.mult.base
    runs, jobs = RunSelector(base), JobSelector(base)
    asked: list[str] = ["x > 1"]

    def ids(constraints: Any, **more: Any) -> list[int]:
        return [run.id for run, _ in runs.selectRuns(constraints, **more)]

    assert ids(asked) == ids("x > 1") == ids({"constraints": asked, "job_id": None}) == [1, 3]
    assert asked == ["x > 1"]
    assert ids({"run_id": 2}) == ids({"job_id": 2}) == ids("runs.job_id = jobs.id, id = 2")
    assert ids(None, sort_by="x", quiet=True) == [2, 3, 1]
    assert [job.x for job in jobs.selectJobs("x < 3", sort_by="x")] == [1.0, 2.0]
    assert [r.id for r, _ in workflow.mult.base.pairs([1])] == [1]
    assert 1 in workflow.mult.base.runs and len(workflow.mult.base.jobs) == 3


def test_actions_that_wait_are_ended_when_the_workflow_is_finished(workflow: Workflow) -> None:
    ended = []

    async def wait(workflow: Workflow, **_: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("wait")

    async def finish(workflow: Workflow, **_: Any) -> None:
        workflow.finished = True

    async def main(workflow: Workflow, **_: Any) -> None:
        workflow.add_action("waits", "mult", "state = CREATED", f=wait)
        workflow.mult.createTask(x=1.0)
        workflow.add_action("ends", "mult", "state = CREATED", f=finish)

    assert run(workflow, main, outcome=lambda study, row: None) == 0
    assert ended == ["wait"]
