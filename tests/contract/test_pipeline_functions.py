"""Functions of pipelines that are others than before, or work with something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import ParametersChanged, StepNotRunnable
from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

SYSTEMS = [SimSystem("a", "/work/a")]
#: What was called; no function binds it.
CALLED: list[str] = []


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult") as found:
        yield found


def mean(system: Any) -> None:
    CALLED.append("mean")


def median(system: Any) -> None:
    CALLED.append("median")


def scaled(system: Any, scale: int = 1) -> None:
    CALLED.append(f"scale {scale}")


def limited(system: Any, limit: int) -> None:
    CALLED.append(f"limit {limit}")


def binding(value: Any) -> Callable[..., None]:
    def report(system: Any) -> None:
        CALLED.append(str(value))

    return report


class Report:
    def __init__(self, scale: int) -> None:
        self.scale = scale

    def write(self, system: Any) -> None:
        CALLED.append(f"scale {self.scale}")

    def __call__(self, system: Any) -> None:
        self.write(system)


def nameless(function: Callable[..., None]) -> Callable[..., None]:
    """Two of them have other code, and bind the same."""
    if function is mean:
        return lambda system: mean(system)
    return lambda system: median(system)


def defaulted(value: int) -> Callable[..., None]:
    def report(system: Any, *, scale: int = value) -> None:
        CALLED.append(f"scale {scale}")

    return report


def called(
    workflow: Workflow, *functions: Callable[..., Any], accepts: bool = False, **options: Any
) -> list[str]:
    """What is called when the same step is done by one function after the other."""
    CALLED.clear()
    workflow.accepts_changes = accepts

    async def main(workflow: Workflow, **params: Any) -> None:
        for function in functions:
            order = Pipeline([Step("look")])
            await workflow.run_pipeline(order, SYSTEMS, handlers={"look": function})
        workflow.finished = True

    run(workflow, main, **options)
    return list(CALLED)


@pytest.mark.parametrize(
    ("make", "one", "other", "said"),
    [
        (lambda function: function, mean, median, "look.function  "),
        (lambda scale: partial(scaled, scale=scale), 2, 3, "look.function.scale  2 -> 3"),
        (lambda scale: Report(scale).write, 2, 3, "look.function.self  'Report "),
        (Report, 2, 3, "look.function.self  'Report "),
        (binding, 2, 3, "look.function.value  2 -> 3"),
        (binding, [2], [3], "look.function.value  'list "),
        (binding, mean, median, "look.function.value  "),
        (defaulted, 2, 3, "look.function.scale  2 -> 3"),
        (nameless, mean, median, "look.function  "),
    ],
)
def test_another_function_is_refused_or_called(
    workflow: Workflow, make: Callable[[Any], Any], one: Any, other: Any, said: str
) -> None:
    first = called(workflow, make(one))
    again = called(workflow, make(one))
    with pytest.raises(ParametersChanged) as caught:
        called(workflow, make(other))
    refused = list(CALLED)
    second = called(workflow, make(other), accepts=True)
    old = called(workflow, make(one))

    assert (len(first), again, refused, len(second), len(old)) == (1, [], [], 1, 1)
    assert said in str(caught.value)


def test_function_that_is_given_to_a_written_pipeline_is_refused_as_well(
    tmp_path: Path,
) -> None:
    more = (
        "pipeline:\n  steps: {mult: , look: {requires: [mult], handler: orchestrator.main}}\n"
    )

    def called(workflow: Workflow, scale: int) -> list[str]:
        CALLED.clear()

        async def main(workflow: Workflow, **params: Any) -> None:
            function = partial(scaled, None, scale=scale)
            await workflow.run_pipeline(handlers={"look": function})
            workflow.finished = True

        run(workflow, main)
        return list(CALLED)

    with served_workflow(tmp_path, "mult", more=more) as workflow:
        assert called(workflow, 2) == ["scale 2"]
        with pytest.raises(ParametersChanged, match=r"look\.function\.scale  2 -> 3"):
            called(workflow, 3)
        workflow.accepts_changes = True
        assert called(workflow, 3) == ["scale 3"]


def test_functions_of_pipelines_that_follow_each_other_are_all_called(
    workflow: Workflow,
) -> None:
    assert called(workflow, mean, median, mean) == ["mean", "median"]
    assert called(workflow, mean, median, mean) == []


def test_options_count_that_a_function_takes(workflow: Workflow) -> None:
    assert called(workflow, mean, limited, limit=5) == ["mean", "limit 5"]
    with pytest.raises(ParametersChanged, match=r"options\.limit  5 -> 7"):
        called(workflow, mean, limited, limit=7)
    assert called(workflow, mean, limited, accepts=True, limit=7) == ["limit 7"]


def test_what_functions_leave_in_what_they_bind_makes_them_no_others(
    workflow: Workflow,
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        found: list[Any] = []

        def look(params: Any) -> None:
            CALLED.append(params)
            found.append(params)

        for payload in ("one", "two"):
            order = Pipeline([Step("look", payload=payload)])
            await workflow.run_pipeline(order, SYSTEMS, handlers={"look": look})
        workflow.finished = True

    for expected in (["one", "two"], []):
        CALLED.clear()
        run(workflow, main)
        assert expected == CALLED


def test_what_others_change_in_what_functions_bind_counts(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        settings = {"t": 0}

        def look() -> None:
            CALLED.append(str(settings["t"]))

        for t in (300, 310):
            settings["t"] = t
            await workflow.run_pipeline(Pipeline([Step("look")]), handlers={"look": look})
        workflow.finished = True

    for expected in (["300", "310"], []):
        CALLED.clear()
        run(workflow, main)
        assert expected == CALLED


def test_workflow_its_studies_and_runs_may_be_bound(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        runs = workflow.mult.createTask(x=1)

        def look() -> None:
            CALLED.append(f"{workflow.mult.study} {len(runs)} {workflow.vars.get('none')}")

        await workflow.run_pipeline(Pipeline([Step("look")]), handlers={"look": look})
        workflow.finished = True

    for expected in (["mult 1 None"], []):
        CALLED.clear()
        run(workflow, main)
        assert expected == CALLED


def test_what_nobody_can_tell_of_a_function_is_refused(workflow: Workflow) -> None:
    words = (
        r"step 'look': nobody can tell what its function binds.*\(value, .*generator.*: have"
    )

    with pytest.raises(StepNotRunnable, match=words):
        called(workflow, binding(number for number in (1, 2)))


def test_locks_may_be_bound(workflow: Workflow) -> None:
    assert len(called(workflow, binding(threading.Lock()))) == 1
    assert called(workflow, binding(threading.Lock())) == []
