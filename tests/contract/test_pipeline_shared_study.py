"""Pipelines in which one study does several steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.columns import STEP
from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from tests.contract.test_pipeline_order import Begun
from tests.contract.test_pipelines import TEXTS, piped
from tests.support.workflows import no_daemons, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

SYSTEMS = [SimSystem("a", "/work/a")]


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


def test_each_step_of_a_study_is_done_with_runs_of_its_own(workflow: Workflow) -> None:
    begun, seen = Begun(), list[int]()
    order = Pipeline(
        [
            Step("equil"),
            Step("check", ("equil",)),
            Step("again", ("check",), task="equil"),
            Step("look", ("again",)),
        ]
    )

    def look(runs: Any) -> None:
        seen.extend(found.id for found, _ in runs)

    for expected in (["equil.1", "check.1", "equil.2"], []):
        piped(workflow, order, SYSTEMS, outcome=begun, handlers={"look": look})
        assert [text.split()[0] for text in begun.taken()] == expected

    assert seen == [2]
    assert [r.event_name for r, _ in workflow.equil.select()] == ["equil", "again"]


def test_steps_that_require_the_same_are_told_apart(workflow: Workflow) -> None:
    begun = Begun()
    names = ("equil", "left", "right")
    steps = [Step(name, ("prepare",), task="equil") for name in names]

    piped(workflow, Pipeline([Step("prepare"), *steps]), SYSTEMS, outcome=begun)

    assert sorted(text.split()[0] for text in begun) == [
        *(f"equil.{number}" for number in (1, 2, 3)),
        "prepare.1",
    ]
    assert {r.event_name for r, _ in workflow.equil.select()} == set(names)
    assert len(workflow.equil.select()) == 3


def test_runs_of_a_step_from_before_steps_were_told_apart_are_still_its_own(
    workflow: Workflow,
) -> None:
    begun = Begun()
    order = Pipeline([Step("first", task="equil"), Step("check", ("first",))])
    workflow.equil.base.create_tasks({"system": "a"}, {}, run_name="test", event_name="first")

    piped(workflow, order, SYSTEMS, outcome=begun)
    other = Pipeline([*order, Step("second", ("check",), task="equil")])
    workflow.accepts_changes = True
    piped(workflow, other, SYSTEMS, outcome=begun)

    found = [(r.event_name, r.get(STEP)) for r, _ in workflow.equil.select()]
    assert found == [("first", None), ("second", "second")]
    assert [text.split()[0] for text in begun] == ["equil.1", "check.1", "equil.2"]
