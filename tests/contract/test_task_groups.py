"""An action may work in task groups: what makes it begin again does so from there too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from motoko.errors import ActionFailed, DatabaseUnavailable
from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

Work = Callable[[], Awaitable[None]]


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "norm") as found:
        yield found


async def with_anyio(work: Work, beside: Work) -> None:
    async with anyio.create_task_group() as outer, anyio.create_task_group() as group:
        group.start_soon(work)
        outer.start_soon(beside)


async def with_asyncio(work: Work, beside: Work) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work())  # type: ignore[arg-type]
        group.create_task(beside())  # type: ignore[arg-type]


@pytest.mark.parametrize("grouped", [with_anyio, with_asyncio])
def test_an_action_that_meets_a_conflict_in_a_task_group_is_begun_again(
    workflow: Workflow, grouped: Callable[[Work, Work], Awaitable[None]]
) -> None:
    seen = []

    async def add(workflow: Workflow, **params: Any) -> None:
        is_done = asyncio.Event()

        async def work() -> None:
            total = workflow.vars.get("total", 0)
            seen.append(total)
            workflow.vars.total = total + 1
            if len(seen) == 1:
                write = workflow.vars.db.write
                await anyio.to_thread.run_sync(write, lambda v: v.set_variable("total", 10))
            await workflow.norm.createTask(x=1.0)  # commits
            if len(seen) == 2:
                raise ExceptionGroup("two", [ValueError(), DatabaseUnavailable("of x", "y")])
            workflow.finished = True
            is_done.set()

        async def beside() -> None:
            await is_done.wait()

        await grouped(work, beside)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("add", event=lambda: True, f=add)

    assert run(workflow, main) == 0
    assert seen == [0, 10, 11]
    assert workflow.vars.total == 12


def test_an_error_in_a_task_group_ends_the_workflow(workflow: Workflow) -> None:
    async def act(**params: Any) -> None:
        async def work() -> None:
            raise ValueError("no")

        await with_anyio(work, anyio.sleep_forever)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("act", event=lambda: True, f=act)

    with pytest.raises(ActionFailed) as caught:
        run(workflow, main)
    assert isinstance(caught.value.__cause__, ValueError)
