"""What studies declare as artifacts is in the store when their runs have finished."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from motoko.artifacts import content as content_module
from motoko.artifacts.manifest import Manifest
from motoko.errors import ArtifactsDamaged, ArtifactsRefused, PhaseFailed
from motoko.pipeline import Pipeline, Step
from motoko.study import archive
from motoko.study.study import Study
from motoko.systems import SimSystem
from motoko.workflow import Workflow, deposits, making
from tests.support.workflows import DEADLINE_S, executed, no_daemons, run, served_workflow

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
        (study.run_dir(row["id"]) / "out/u.txt").write_text("better")
        return "FINISHED"

    run(workflow, main, outcome=other)

    assert deposited(workflow)["solve/1/field"] == ("solve.1", "better")


def test_packed_runs_deposit_what_is_missing_and_are_said_to_lack_nothing(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    run(workflow, main, outcome=leave)
    before, study, store = deposited(workflow), workflow.solve.base, workflow.artifacts
    store.remove("solve/1/field")
    store.path("solve/1/frames/frames/1.txt").write_text("something else")
    study.database.connect()
    archive.pack(study, [1, 3], is_busy=lambda _: False)

    run(workflow, main, outcome=leave)

    assert deposited(workflow) == before
    assert [r.message for r in caplog.records if " left no " in r.message] == []


def piped(workflow: Workflow, handler: Any, on_failure: str = "prune") -> list[str]:
    """Solve for three systems, of which b leaves a file that cannot be stored, then call a
    function; who is through."""
    through: list[str] = []

    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        place = study.run_dir(row["id"]) / "out"
        place.mkdir(parents=True, exist_ok=True)
        (place / "u.txt").write_bytes(b"x" * 1_000_000)  # takes longer than telling of it
        return "FINISHED"

    async def solve_and_look(workflow: Workflow, **params: Any) -> None:
        order = Pipeline([Step("solve"), Step("look", ["solve"])])
        systems = [SimSystem(name, f"/work/{name}") for name in "abc"]
        handlers = {"look": handler}
        found = await workflow.run_pipeline(
            order, systems, handlers=handlers, on_failure=on_failure
        )
        through.extend(system.name for system in found if system is not None)
        workflow.finished = True

    run(workflow, solve_and_look, outcome=outcome)
    return through


def test_next_phase_begins_when_what_is_declared_is_deposited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[bool] = []

    def copy_or_refuse(source: Path, *more: Any) -> Any:
        if "run-2" in source.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return content_module.copy_file(source, *more)

    def look(workflow: Workflow, runs: Any) -> None:
        names = {artifact.name for artifact in workflow.artifacts.list_artifacts()}
        stored.append({f"solve/{run.id}/field" for run, _ in runs} <= names)

    yaml = "study: solve\njob: {system: str}\nartifacts: {field: out/u.txt}\n"
    with served_workflow(tmp_path, solve=yaml) as workflow:
        with monkeypatch.context() as patch:
            patch.setattr("motoko.artifacts.store.copy_file", copy_or_refuse)
            pruned = piped(workflow, look)
            with pytest.raises(PhaseFailed, match="solve:b failed: artifact solve/2/field can"):
                piped(workflow, look, "keep")
        mended = piped(workflow, look)

    assert (pruned, mended) == (["a", "c"], ["a", "b", "c"])
    assert stored == [True, True, True]


def test_what_cannot_be_stored_ends_the_workflow_with_its_runs_and_reasons(
    workflow: Workflow, tmp_path: Path
) -> None:
    def leave_a_link(study: Study, row: Mapping[str, Any]) -> str:
        leave(study, row)
        if row["id"] == 3:
            (study.run_dir(3) / "frames/3.txt").symlink_to(tmp_path)
        return "FINISHED"

    with pytest.raises(ArtifactsRefused, match=r"solve\.3: artifact .*frames/3\.txt") as caught:
        run(workflow, main, outcome=leave_a_link)

    assert list(caught.value.causes) == ["solve.3"]
    assert len(deposited(workflow)) == 9  # and all else is there
    (workflow.solve.base.run_dir(3) / "frames/3.txt").unlink()
    run(workflow, main)
    assert len(deposited(workflow)) == 9


def test_what_an_attempt_did_not_leave_is_kept_and_said_to_be_stale(workflow: Workflow) -> None:
    run(workflow, main, outcome=leave)
    for found, _ in workflow.solve.select("id = 1"):
        found.state = "CREATED"

    def leave_less(study: Study, row: Mapping[str, Any]) -> str:
        (study.run_dir(row["id"]) / "frames/2.txt").unlink()
        return "FINISHED"

    run(workflow, main, outcome=leave_less)

    stale = {a.name: a.stale for a in workflow.artifacts.list_artifacts(prefix="solve/1/")}
    assert stale == {
        "solve/1/field": None,
        "solve/1/frames/frames/1.txt": None,
        "solve/1/frames/frames/2.txt": "solve.1 has finished anew, in attempt 2",
    }


def test_what_other_runs_left_is_not_read_again(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(workflow, main, outcome=leave)
    damaged = workflow.artifacts.path("solve/1/field")
    damaged.write_text("of another run name")
    workflow.run_name = "other"

    run(workflow, main, outcome=leave)

    assert damaged.read_text() == "of another run name"


def test_artifacts_are_set_aside_with_all_that_was_computed(workflow: Workflow) -> None:
    run(workflow, main, outcome=leave)

    assert workflow.artifacts.root in making.state_paths(workflow)
    assert workflow.artifacts.root not in making.state_paths(workflow, ["solve"])


def test_who_has_to_end_leaves_what_is_being_copied_and_no_trace_of_it(
    workflow: Workflow,
) -> None:
    has_begun = threading.Event()

    def copy_slowly(*given: Any) -> Any:
        patch.setattr(content_module, "_CHUNK", 1)
        has_begun.set()
        return content_module.copy_file(*given)

    def leave_much(study: Study, row: Mapping[str, Any]) -> str:
        leave(study, row)
        (study.run_dir(row["id"]) / "out/u.txt").write_bytes(bytes(5_000_000))
        return "FINISHED"

    async def stop_it() -> None:
        workflow.orchestrator_function = main
        async with executed(workflow, leave_much), anyio.create_task_group() as group:
            group.start_soon(workflow.run)
            await anyio.to_thread.run_sync(has_begun.wait, DEADLINE_S)
            group.cancel_scope.cancel()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motoko.artifacts.store.copy_file", copy_slowly)
        anyio.run(stop_it)
    kept = deposited(workflow)
    left = [path.name for path in (workflow.artifacts.root / ".artifacts").iterdir()]
    run(workflow, main, outcome=leave_much)

    assert kept == {}
    assert set(left) <= {"lock"}
    assert len(deposited(workflow)) == 9


def test_many_runs_deposit_with_few_saves(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    write = Manifest.write

    def count(own: Manifest, contents: Any) -> None:
        saved.append(len(contents.artifacts))
        write(own, contents)

    async def many(workflow: Workflow, **params: Any) -> None:
        workflow.solve.createTask(x=[float(i) for i in range(20)])

    monkeypatch.setattr(Manifest, "write", count)
    run(workflow, many, outcome=leave)

    assert saved[-1] == len(deposited(workflow)) == 19 * 3
    assert len(saved) < 19


def test_what_is_declared_and_was_left_by_none_is_said_once(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    def leave_little(study: Study, row: Mapping[str, Any]) -> str:
        state = leave(study, row)
        (study.run_dir(row["id"]) / "out/u.txt").unlink()
        return state

    run(workflow, main, outcome=leave_little)

    said = [r.getMessage() for r in caplog.records if "left no" in r.getMessage()]
    assert said == [
        "2 finished runs of solve left no out/u.txt (artifact field): solve.1, solve.3"
    ]


@pytest.mark.parametrize("metadata", [None, {"attempt": 1, "unit": "kT"}])
def test_what_somebody_else_has_stored_of_a_run_stays(
    workflow: Workflow, tmp_path: Path, metadata: dict[str, Any] | None
) -> None:
    run(workflow, main, outcome=leave)
    plot = tmp_path / "plot"
    plot.write_text("a plot")
    for name in ("solve/1/plot", "plots/1"):
        workflow.artifacts.put_file(plot, name, run="solve.1", metadata=metadata)
    before = deposited(workflow)

    run(workflow, main, outcome=leave)

    assert deposited(workflow) == before


def test_what_a_script_goes_on_to_write_is_deposited_when_it_has_ended(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    going_on = {1}
    monkeypatch.setattr(
        deposits, "executing_in", lambda study, i, **_: i in going_on or None, raising=False
    )
    monkeypatch.setattr(deposits, "_ENDING_S", 0.0, raising=False)
    file = workflow.solve.base.run_dir(1) / "out/u.txt"
    run(workflow, main, outcome=leave)
    assert deposited(workflow)["solve/1/field"] == ("solve.1", "out/u.txt of 1")
    told = [record.message for record in caplog.records if "finish()" in record.message]
    file.write_text("whole")

    going_on.clear()
    run(workflow, main, outcome=leave)

    assert deposited(workflow)["solve/1/field"] == ("solve.1", "whole")
    assert len(deposited(workflow)) == 6
    assert len(told) == 1 and "solve.1" in told[0]
