"""Steps that look at all systems: what they are given when there are more, or fewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from tests.contract.test_pipelines import TEXTS, failing, phases, piped
from tests.support.workflows import no_daemons, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

#: What was called; no function binds it.
CALLED: list[str] = []


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


def rank(system: Any) -> None:
    CALLED.append(system.name)


RANK = Step("rank", ["prepare"], barrier=True)


def ranked(workflow: Workflow, *behind: Step, names: str = "abc", **options: Any) -> list[str]:
    """For which systems the function was called."""
    CALLED.clear()
    order = Pipeline([Step("prepare"), *behind])
    systems = [SimSystem(name, f"/work/{name}") for name in names]
    options = {"on_failure": "prune", "handlers": {"rank": rank}, **options}
    piped(workflow, order, systems, **options)
    return sorted(CALLED)


def test_function_is_called_again_for_all_when_there_are_more_systems(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    assert ranked(workflow, RANK, names="ab") == ["a", "b"]
    assert ranked(workflow, RANK, names="ab") == []
    assert ranked(workflow, RANK, names="abc") == ["a", "b", "c"]
    assert ranked(workflow, RANK, names="abc") == []

    aloud = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert sorted(aloud) == [f"rank:{name} is called again, with other input" for name in "ab"]


def test_function_is_called_again_when_a_system_is_put_on_the_list_again(
    workflow: Workflow,
) -> None:
    found = [ranked(workflow, RANK, names=names) for names in ("abc", "ab", "abc", "abc")]

    # For the third one it was not called without it.
    assert found == [["a", "b", "c"], ["a", "b"], ["a", "b"], []]


def test_function_is_called_again_when_a_system_that_was_left_out_comes_back(
    workflow: Workflow,
) -> None:
    assert ranked(workflow, RANK, outcome=failing("prepare:b")) == ["a", "c"]
    assert ranked(workflow, RANK, outcome=failing("prepare:b")) == []
    for found, _ in workflow.prepare.select("state = FAILED"):
        found.state = "CREATED"
    assert ranked(workflow, RANK) == ["a", "b", "c"]


def test_system_that_fails_behind_a_barrier_has_nothing_called_again(
    workflow: Workflow,
) -> None:
    behind = (RANK, Step("check", ["rank"]))
    assert ranked(workflow, *behind, outcome=failing("check:b")) == ["a", "b", "c"]
    assert ranked(workflow, *behind, outcome=failing("check:b")) == []


@pytest.mark.parametrize("is_first", [True, False])
def test_system_that_fails_beside_a_barrier_has_nothing_called_again(
    workflow: Workflow, is_first: bool
) -> None:
    beside, before = Step("check", ["prepare"]), Step("equil", ["prepare"])
    last = Step("rank", ["equil"], barrier=True)
    steps = (beside, before, last) if is_first else (before, last, beside)

    first = ranked(workflow, *steps, outcome=failing("check:b"))

    assert {"a", "c"} <= set(first)
    for _ in range(2):
        assert ranked(workflow, *steps, outcome=failing("check:b")) == []


def test_study_makes_further_runs_when_there_are_more_systems(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    step = Step("check", ["prepare"], barrier=True)
    for names in ("ab", "ab", "abc"):
        ranked(workflow, step, names=names, handlers={})

    behind = sorted(
        (job.system, run.get("required_runs") or "", run.get("behind_runs") or "")
        for run, job in workflow.check.select()
    )
    assert behind == [
        ("a", "", "prepare.1, prepare.2, prepare.3"),
        ("a", "prepare.1, prepare.2", ""),
        ("b", "", "prepare.1, prepare.2, prepare.3"),
        ("b", "prepare.1, prepare.2", ""),
        ("c", "prepare.1, prepare.2, prepare.3", ""),
    ]
    aloud = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert [text.split(" is done anew")[0] for text in sorted(aloud)] == ["check:a", "check:b"]
    assert set(phases(workflow).values()) == {"FINISHED"}
