"""Steps of pipelines that plain functions do: beside all else, in sessions of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from motoko.errors import ActionFailed, StudyError
from motoko.pipeline import Pipeline, Step
from motoko.study.study import Study
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from motoko.workflow.threads import does_at_once
from tests.support.workflows import DEADLINE_S, executed, no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

#: What a call has raised after it was left; no function binds it.
RAISED: list[BaseException] = []
BD_YAML = "study: solve\njob: {system: str, n: int}\n"


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, solve=BD_YAML) as found:
        yield found


def systems(*names: str) -> list[SimSystem]:
    return [SimSystem(name, f"/work/{name}") for name in names]


def calling(
    f: Callable[..., Any], *names: str, then: tuple[Step, ...] = (), **options: Any
) -> Callable[..., Any]:
    """A ``main`` that has a function called for systems of these names, and steps after it."""

    async def main(workflow: Workflow, **params: Any) -> None:
        order = Pipeline([Step("look"), *then])
        await workflow.run_pipeline(order, systems(*names), handlers={"look": f}, **options)

    return main


def test_while_a_plain_function_is_called_the_workflow_goes_on(workflow: Workflow) -> None:
    has_gone_on = threading.Event()
    waited: list[bool] = []

    def look(system: SimSystem) -> None:
        if system.name == "a":
            waited.append(has_gone_on.wait(DEADLINE_S / 3))

    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        has_gone_on.set()
        return "FINISHED"

    step = Step("solve", ["look"], {"job": {"n": 1}})
    run(workflow, calling(look, "a", "b", "c", then=(step,)), outcome=outcome)

    assert waited == [True]
    assert len(workflow.solve.select("state = FINISHED")) == 3


def test_plain_functions_have_sessions_as_all_actions_have(workflow: Workflow) -> None:
    names = [f"s{i}" for i in range(12)]

    def look(system: SimSystem, workflow: Workflow) -> None:
        workflow.solve.createTask(system=system.name, n=[1, 2])
        assert len(workflow.solve.select(f"system = {system.name}")) == 2
        setattr(workflow.vars, system.name, "done")
        workflow.vars.n = workflow.vars.get("n", 0) + 1
        if system.name == "s7":
            raise ValueError("no s7")

    run(workflow, calling(look, *names, on_failure="prune"))

    wanted = set(names) - {"s7"}
    assert sorted(job.system for _, job in workflow.solve.select()) == sorted([*wanted] * 2)
    assert {name for name in names if workflow.vars.get(name)} == wanted
    assert workflow.vars.n == 11


def test_plain_function_that_is_left_changes_nothing_and_is_called_again(
    workflow: Workflow,
) -> None:
    has_begun, goes_on, has_ended = (threading.Event() for _ in range(3))
    RAISED.clear()

    def look(workflow: Workflow) -> None:
        workflow.vars.before = 1
        has_begun.set()
        try:
            assert goes_on.wait(DEADLINE_S)
            workflow.solve.createTask(system="x", n=1)
        except StudyError as error:
            RAISED.append(error)
        finally:
            has_ended.set()

    async def stop_it() -> None:
        workflow.orchestrator_function = calling(look, "a")
        async with executed(workflow), anyio.create_task_group() as group:
            group.start_soon(workflow.run)
            await anyio.to_thread.run_sync(has_begun.wait, DEADLINE_S)
            group.cancel_scope.cancel()

    anyio.run(stop_it)  # returns, though it waits
    goes_on.set()
    assert has_ended.wait(DEADLINE_S)
    left = list(workflow.vars), list(workflow.solve.select())
    run(workflow, calling(look, "a"))

    assert ["this call was left" in str(error) for error in RAISED] == [True]
    assert left == ([], [])
    assert workflow.vars.before == 1
    assert len(workflow.solve.select()) == 1


def test_what_a_plain_function_raises_gives_or_says_holds(workflow: Workflow) -> None:
    async def later(workflow: Workflow) -> None:
        await workflow.solve.createTask(system="x", n=1)
        workflow.vars.later = 1

    def look(workflow: Workflow) -> Any:
        return later(workflow)

    def cancelled() -> None:
        raise asyncio.CancelledError

    def leave() -> None:
        raise SystemExit(7)

    workflow.accepts_changes = True  # another function each time
    run(workflow, calling(look, "a"))
    with pytest.raises(ActionFailed, match="look:b raised RuntimeError: something"):
        run(workflow, calling(cancelled, "b"))
    code = run(workflow, calling(leave, "c"))

    assert workflow.vars.later == 1
    assert code == 7


def test_async_functions_and_generators_are_told_from_plain_ones() -> None:
    class Called:
        async def __call__(self) -> None: ...

    async def some() -> Any:
        yield

    async def one(n: int) -> None: ...

    def items() -> Any:
        yield

    def plain(n: int = 0) -> None: ...

    assert [does_at_once(f) for f in (Called(), some, one, partial(one, 1), items)] == [
        False
    ] * 5
    assert [does_at_once(f) for f in (plain, partial(plain, 1), print, dict)] == [True] * 4
