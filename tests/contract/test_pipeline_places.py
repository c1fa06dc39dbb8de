"""Where the systems of a workflow lie, when that is moved, copied or an older one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from motoko.study.study import Study
from motoko.study.system_dirs import found, placed, stored
from motoko.systems import find_systems
from motoko.workflow import Workflow
from motoko.workflow.upkeep import failures
from motoko.workflow.views.rows import listed
from tests.contract.test_pipelines import ORDER, TEXTS, piped
from tests.support.workflows import no_daemons, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path / "flow", **TEXTS) as found:
        yield found


@pytest.mark.parametrize(
    ("place", "study_dir", "text"),
    [
        ("/w/flow/work/a", "/w/flow/sim", "./../work/a"),
        ("/w/flow/sim/a", "/w/flow/sim", "./a"),
        ("/w/flow/deep/../work/a", "/w/flow/sims/one", "./../../work/a"),
        ("/w/flower/a", "/w/flow/sim", "/w/flower/a"),
        ("/scratch/a", "/w/flow/sim", "/scratch/a"),
        ("/w/flow/work/a", "/shared/sim", "/w/flow/work/a"),
    ],
)
def test_place_in_the_workflow_is_told_from_the_study(
    place: str, study_dir: str, text: str
) -> None:
    kept = stored(Path(place), Path(study_dir), Path("/w/flow"))

    assert kept == text
    moved = study_dir.replace("/w/flow", "/x/copy")
    there = str(Path(place)) if text.startswith("/") else text and _moved(place)
    assert found(kept, Path(moved)) == there
    row = placed({"sentinels": {"root": kept}, "x": 1}, Path(moved))
    assert row == {"sentinels": {"root": there}, "x": 1}


def _moved(place: str) -> str:
    return place.replace("/w/flow", "/x/copy").replace("/deep/..", "")


def test_runs_tell_where_their_systems_are_and_keep_it_so_that_it_can_move(
    workflow: Workflow,
) -> None:
    (workflow.directory / "work/a").mkdir(parents=True)
    asked: list[Any] = []

    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        asked.append(row["system_dir"])
        return "FINISHED"

    piped(workflow, ORDER, find_systems(workflow.directory / "work"), outcome=outcome)

    [(run, _)] = workflow.equil.select()
    place = str(workflow.directory / "work/a")
    assert asked == 3 * ["./../work/a"]
    assert run.system_dir == run["system_dir"] == run.get("system_dir") == place
    assert run.entries["system_dir"] == place
    [row] = listed(workflow.equil.base, [], run_name=None, limit=None).rows
    assert row["entries"]["system_dir"] == place


def test_constraints_compare_the_place_of_a_system_that_is_shown(workflow: Workflow) -> None:
    (workflow.directory / "work/a").mkdir(parents=True)
    piped(workflow, ORDER, find_systems(workflow.directory / "work"))
    [(run, _)] = workflow.equil.select()

    for constraint in (f"system_dir = '{run.system_dir}'", "system_dir ~ '^/.*/work/a$'"):
        assert [found.id for found, _ in workflow.equil.select(constraint)] == [run.id]
    assert not list(workflow.equil.select("system_dir = ./../work/a"))


def test_failures_in_another_workflow_are_left_alone(
    workflow: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tmp_path / "original"
    for name in (".wf", "work/a"):
        (original / name).mkdir(parents=True)
    (original / "work/a/FAILED").touch()
    piped(workflow, ORDER, find_systems(original / "work"))  # as an older version kept it
    monkeypatch.setattr(failures.control, "ensure_served", lambda workflow: None)

    cleared = failures.clear(workflow)

    assert cleared.elsewhere == [str(original / "work/a")]
    assert (original / "work/a/FAILED").exists()


def test_place_that_a_study_declares_is_that_of_the_task_from_before(
    workflow: Workflow,
) -> None:
    file = workflow.directory / "equil/bd.yaml"
    file.write_text(file.read_text().replace("{label: str}", "{label: str, system_dir: str}"))
    (workflow.directory / "work/a").mkdir(parents=True)
    declared = Workflow(str(workflow.directory))
    declared.run_name = "test"
    declared.initialise()
    place = str(workflow.directory / "work/a")
    declared.equil.createTask({"system_dir": place}, system="a")

    piped(declared, ORDER, find_systems(workflow.directory / "work"))

    assert [run.id for run, _ in declared.equil.select()] == [1]
    declared.close()
