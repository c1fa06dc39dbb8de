"""Several pipelines that are under way at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import StepNotRunnable
from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from tests.contract.test_pipelines import TEXTS, phases
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

SYSTEMS = [SimSystem("a", "/work/a")]
#: What was called, and what came to its end; no function binds it.
SEEN: list[str] = []


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    SEEN.clear()
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


async def look(params: Any) -> None:
    SEEN.append(f"{params} begins")
    await asyncio.sleep(0)
    SEEN.append(f"{params} ends")


def together(
    workflow: Workflow, *orders: Pipeline, on_failure: Any = "raise", **handlers: Any
) -> list[Any]:
    """What comes of pipelines that are awaited at the same time."""
    found: list[Any] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        options = {"handlers": handlers, "on_failure": on_failure}
        pipelines = (workflow.run_pipeline(order, SYSTEMS, **options) for order in orders)
        found.extend(await asyncio.gather(*pipelines, return_exceptions=True))
        workflow.finished = True

    run(workflow, main)
    return found


def looking(payload: Any) -> Pipeline:
    return Pipeline([Step("look", payload=payload)])


def test_a_function_is_called_for_one_after_the_other(workflow: Workflow) -> None:
    orders = [looking(payload) for payload in (1, 2, 3)]

    assert together(workflow, *orders, look=look) == [SYSTEMS] * 3
    assert sorted(SEEN[::2]) == [f"{n} begins" for n in (1, 2, 3)]
    assert SEEN[1::2] == [text.replace("begins", "ends") for text in SEEN[::2]]

    SEEN.clear()
    assert together(workflow, *orders, look=look) == [SYSTEMS] * 3
    assert SEEN == []


def test_what_they_ask_for_alike_is_done_once(workflow: Workflow) -> None:
    order = Pipeline([Step("first", payload=1), Step("then", ["first"], 2)])

    assert together(workflow, *[order] * 3, first=look, then=look) == [SYSTEMS] * 3

    assert SEEN == ["1 begins", "1 ends", "2 begins", "2 ends"]


async def fail(attempts: Any) -> None:
    SEEN.append(f"after {[one['number'] for one in attempts]}")
    raise ValueError("no luck")


@pytest.mark.parametrize("then", ["prune", "keep", "raise"])
def test_a_call_that_they_ask_for_alike_has_one_budget(workflow: Workflow, then: str) -> None:
    policy = {"retry": {"application": 1, "then": then}}

    found = together(workflow, *[looking(1)] * 3, on_failure=policy, look=fail)

    assert SEEN == ["after []", "after [1]"]
    if then == "prune":
        assert found == [[]] * 3
    else:
        assert ["no luck" in str(one) for one in found] == [True] * 3


def test_one_that_is_left_lets_another_one_call(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        has_begun = asyncio.Event()

        async def look(params: Any) -> None:
            SEEN.append(params)
            if params == 1:
                has_begun.set()
                await has_left.wait()

        has_left = asyncio.Event()
        first = asyncio.ensure_future(
            workflow.run_pipeline(looking(1), SYSTEMS, handlers={"look": look})
        )
        await has_begun.wait()
        others = [
            asyncio.ensure_future(
                workflow.run_pipeline(looking(payload), SYSTEMS, handlers={"look": look})
            )
            for payload in (2, 1)
        ]
        first.cancel()
        await asyncio.wait([first])
        has_left.set()
        assert await asyncio.gather(*others) == [SYSTEMS] * 2
        workflow.finished = True

    run(workflow, main)

    assert SEEN == [1, 2]


def test_a_step_that_a_study_does_is_refused_to_the_second_one(workflow: Workflow) -> None:
    order = Pipeline([Step("prepare"), Step("equil", ["prepare"])])

    found = together(workflow, order, order)

    [why] = [one for one in found if isinstance(one, StepNotRunnable)]
    assert "an action of the name 'prepare' is registered" in str(why)
    assert SYSTEMS in found
    assert phases(workflow) == {"prepare:a": "FINISHED", "equil:a": "FINISHED"}


async def crosswise(workflow: Workflow, step: Step, params: Any) -> None:
    if params != "outer":
        return
    SEEN.append(step.name)
    while len(SEEN) < 2:
        await asyncio.sleep(0)
    [other] = {"look", "see"} - {step.name}
    await asked(workflow, other, "inner")


async def asked(workflow: Workflow, name: str, payload: str) -> Any:
    order, handlers = Pipeline([Step(name, payload=payload)]), {name: crosswise}
    return await workflow.run_pipeline(order, SYSTEMS, handlers=handlers, on_failure="raise")


def test_functions_that_wait_for_each_other_are_refused(workflow: Workflow) -> None:
    found: list[Any] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        both = (asked(workflow, name, "outer") for name in ("look", "see"))
        found.extend(await asyncio.gather(*both, return_exceptions=True))
        workflow.finished = True

    run(workflow, main)

    [why] = [one for one in found if isinstance(one, StepNotRunnable)]
    assert "would wait for another one, which waits for its end" in str(why)
    assert SYSTEMS in found


async def inside(workflow: Workflow, params: str) -> None:
    if params == "once":
        await workflow.run_pipeline(looking(""), SYSTEMS, handlers={"look": inside})
    elif params == "twice":
        order = Pipeline([Step("between", payload="once")])
        options = {"handlers": {"between": inside}, "on_failure": "raise"}
        await workflow.run_pipeline(order, SYSTEMS, **options)


@pytest.mark.parametrize("payload", ["once", "twice"])
def test_a_function_cannot_wait_for_the_end_of_its_own_call(
    workflow: Workflow, payload: str
) -> None:
    [why] = together(workflow, looking(payload), look=inside)

    assert isinstance(why, StepNotRunnable)
    assert "an action of the name 'look:a' is registered" in str(why)
