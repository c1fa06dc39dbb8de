"""Policies of pipelines: what their runs are told, and what becomes of systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import PipelineError, RunsFailed
from motoko.pipeline import Pipeline, Step
from motoko.workflow import Workflow
from tests.contract.test_pipelines import ORDER, STUDIES, SYSTEMS, TEXTS, failing, phases, piped
from tests.support.workflows import no_daemons, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


def test_runs_are_tried_again_as_the_pipeline_says_and_it_decides_on_the_rest(
    workflow: Workflow,
) -> None:
    policy = {"retry": {"attempts": 2, "out of memory": 4, "then": "prune"}}

    survivors = piped(workflow, outcome=failing("equil:b"), on_failure=policy)

    assert survivors == ["a", "c"]
    assert "check:b" not in phases(workflow)
    told = [
        run.on_failure["retry"]
        for name in STUDIES
        for run, _ in getattr(workflow, name).select()
    ]
    assert len(told) == 8
    assert all((one["application"], one["out of memory"]) == (2, 4) for one in told)
    assert all(one["then"] == "keep" for one in told)


@pytest.mark.parametrize("is_of_study", [True, False])
def test_raise_names_the_systems_whose_phases_failed(tmp_path: Path, is_of_study: bool) -> None:
    texts = dict(TEXTS)
    if is_of_study:
        texts["equil"] += "on_failure: raise\n"
    given = {} if is_of_study else {"on_failure": "raise"}

    with served_workflow(tmp_path, **texts) as workflow, pytest.raises(RunsFailed) as caught:
        piped(workflow, outcome=failing("equil:b"), **given)

    assert "equil:b: equil." in str(caught.value)
    assert "motoko run --run_name test --retry-failed" in caught.value.__notes__[0]


def test_function_is_called_again_as_long_as_there_is_budget_and_told_why(
    workflow: Workflow,
) -> None:
    calls: list[tuple[str, list[str]]] = []

    async def check(system: Any, attempts: Any, **params: Any) -> None:
        calls.append((system.name, [one["cause"] for one in attempts]))
        if system.name == "b" or (system.name == "c" and not attempts):
            raise ValueError("no luck")

    policy = {"retry": {"application": 2, "then": "prune"}}
    pipeline = Pipeline([Step("check")])

    survivors = piped(workflow, pipeline, handlers={"check": check}, on_failure=policy)

    why = "ValueError: no luck"
    assert survivors == ["a", "c"]
    assert sorted(calls) == [
        ("a", []),
        ("b", []),
        ("b", [why]),
        ("b", [why, why]),
        ("c", []),
        ("c", [why]),
    ]


def test_a_policy_that_nobody_knows_is_refused_before_anything_begins(
    workflow: Workflow,
) -> None:
    with pytest.raises(PipelineError, match=r"prone.*did you mean 'prune'"):
        piped(workflow, ORDER, SYSTEMS, on_failure="prone")
    assert phases(workflow) == {}
