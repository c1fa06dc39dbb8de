"""What studies declare as artifacts is in the store when their runs have finished."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import ArtifactsDamaged
from motoko.study.study import Study
from motoko.workflow import Workflow, making
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

BD_YAML = """\
study: solve
job: {x: float}
artifacts:
  field: out/u.txt
  frames: frames/*.txt
"""


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, solve=BD_YAML) as found:
        yield found


def leave(study: Study, row: Mapping[str, Any]) -> str:
    """What a run leaves; the second one has failed."""
    root = study.run_dir(row["id"])
    for name in ("out/u.txt", "frames/1.txt", "frames/2.txt", "other.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name} of {row['id']}")
    return "FAILED" if row["id"] == 2 else "FINISHED"


async def main(workflow: Workflow, **params: Any) -> None:
    workflow.solve.createTask(x=[1.0, 2.0, 3.0])


def deposited(workflow: Workflow) -> dict[str, tuple[str | None, str]]:
    """The artifacts by name: the run that made each, and its content."""
    store = workflow.artifacts
    return {a.name: (a.run, store.path(a.name).read_text()) for a in store.list_artifacts()}


def test_finished_runs_have_deposited_what_is_declared_when_the_workflow_ends(
    workflow: Workflow,
) -> None:
    async def add_and_end(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("end", event=is_done, f=end)
        await main(workflow)

    def is_done() -> bool:
        return len(workflow.solve.select("state = FINISHED")) == 2

    def end(workflow: Workflow) -> None:
        workflow.finished = True

    run(workflow, add_and_end, outcome=leave)

    assert deposited(workflow) == {
        f"solve/{i}/{name}": (f"solve.{i}", f"{file} of {i}")
        for i in (1, 3)
        for name, file in (
            ("field", "out/u.txt"),
            ("frames/frames/1.txt", "frames/1.txt"),
            ("frames/frames/2.txt", "frames/2.txt"),
        )
    }


def test_resumed_workflow_deposits_what_is_missing_and_mends_what_was_changed(
    workflow: Workflow,
) -> None:
    run(workflow, main, outcome=leave)
    before = deposited(workflow)
    store = workflow.artifacts
    store.remove("solve/1/field")
    store.path("solve/3/field").write_text("something else")

    run(workflow, main, outcome=leave)

    assert deposited(workflow) == before
    assert store.verify() == []


def test_damaged_artifact_whose_run_directory_is_gone_ends_the_resumed_workflow(
    workflow: Workflow,
) -> None:
    run(workflow, main, outcome=leave)
    workflow.artifacts.path("solve/3/field").write_text("something else")
    shutil.rmtree(workflow.solve.base.run_dir(3))

    with pytest.raises(ArtifactsDamaged, match="solve/3/field"):
        run(workflow, main, outcome=leave)


def test_further_attempt_replaces_what_the_one_before_deposited(workflow: Workflow) -> None:
    run(workflow, main, outcome=leave)
    for found, _ in workflow.solve.select("id = 1"):
        found.state = "CREATED"

    def other(study: Study, row: Mapping[str, Any]) -> str:
        study.database.write(lambda t: t.update_run(row["id"], {"attempt": 2}))
        (study.run_dir(row["id"]) / "out/u.txt").write_text("better")
        return "FINISHED"

    run(workflow, main, outcome=other)

    assert deposited(workflow)["solve/1/field"] == ("solve.1", "better")


def test_artifacts_are_set_aside_with_all_that_was_computed(workflow: Workflow) -> None:
    run(workflow, main, outcome=leave)

    assert workflow.artifacts.root in making.state_paths(workflow)
    assert workflow.artifacts.root not in making.state_paths(workflow, ["solve"])
