"""Whether all that is called awaits runs: then a workflow may be left until some change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


def test_who_awaits_several_things_at_once_is_one_that_awaits(workflow: Workflow) -> None:
    at_work: list[int | None] = []
    awaiting: list[int | None] = []

    async def look(found: list[int | None]) -> None:
        await anyio.wait_all_tasks_blocked()
        found.append(workflow.n_noticed)

    async def act(workflow: Workflow, **params: Any) -> None:
        await look(at_work)
        async with anyio.create_task_group() as group:
            group.start_soon(both)
            await look(awaiting)
            workflow.finished = True
            group.cancel_scope.cancel()

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("act", event=lambda: not at_work, f=act)
        await both()

    async def both() -> None:
        managers = (workflow.mult, workflow.norm)
        await asyncio.gather(*(manager.select("state = LATER") for manager in managers))

    assert run(workflow, main) == 0
    assert at_work == [None]
    assert awaiting[0] is not None
