"""Runs and selections are awaited together with whatever asyncio and anyio have for that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.errors import RunsFailed
from motoko.study.study import Study
from motoko.task_manager import RunList
from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


async def with_gather(*awaited: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*awaited)


async def with_as_completed(*awaited: Awaitable[Any]) -> list[Any]:
    return [await one for one in asyncio.as_completed(awaited)]


async def with_wait(*awaited: Awaitable[Any]) -> list[Any]:
    done, pending = await asyncio.wait([asyncio.ensure_future(one) for one in awaited])
    assert not pending
    return [one.result() for one in done]


async def with_wait_for(*awaited: Awaitable[Any]) -> list[Any]:
    return [await asyncio.wait_for(asyncio.shield(one), 20) for one in awaited]


async def with_asyncio_group(*awaited: Awaitable[Any]) -> list[Any]:
    async def give(one: Awaitable[Any]) -> Any:
        return await one

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(give(one)) for one in awaited]
    return [task.result() for task in tasks]


async def with_anyio_group(*awaited: Awaitable[Any]) -> list[Any]:
    found: dict[Awaitable[Any], Any] = {}

    async def keep(one: Awaitable[Any]) -> None:
        found[one] = await one

    async with anyio.create_task_group() as group:
        for one in awaited:
            group.start_soon(keep, one)
    return [found[one] for one in awaited]


@pytest.mark.parametrize(
    "together",
    [
        with_gather,
        with_as_completed,
        with_wait,
        with_wait_for,
        with_asyncio_group,
        with_anyio_group,
    ],
)
def test_runs_and_selections_are_awaited_together(
    workflow: Workflow, together: Callable[..., Awaitable[list[Any]]]
) -> None:
    found: list[Any] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        mult, norm = workflow.mult, workflow.norm
        created = mult.createTask(x=[1.0, 2.0]), norm.createTask(x=1.0)
        finished = norm.select("state = FINISHED")
        question = mult.select().all("state = FINISHED")
        found.extend(await together(*created, finished, question))
        workflow.finished = True

    assert run(workflow, main) == 0
    answers = [
        sorted(f"{one}" for one, _ in answer) for answer in found if isinstance(answer, list)
    ]
    assert sorted(answers) == [["mult.1", "mult.2"], ["norm.1"], ["norm.1"]]
    assert len(found) == 4 and True in found


def test_runs_that_are_equal_are_awaited_once_and_answer_for_both(workflow: Workflow) -> None:
    found: list[Any] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        first, again = workflow.mult.createTask(x=1.0), workflow.mult.createTask(x=1.0)
        found.extend(await asyncio.gather(first, again))
        workflow.finished = True

    assert run(workflow, main) == 0
    assert [[one.id for one, _ in answer] for answer in found] == [[1], [1]]


def test_each_of_those_that_failed_says_so_among_those_that_did_not(workflow: Workflow) -> None:
    found: list[Any] = []

    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        return "FAILED" if study.name == "norm" else "FINISHED"

    async def main(workflow: Workflow, **params: Any) -> None:
        created = [m.createTask(x=1.0) for m in (workflow.mult, workflow.norm)]
        found.extend(await asyncio.gather(*created, return_exceptions=True))
        workflow.finished = True

    assert run(workflow, main, outcome=outcome) == 0
    assert [one.id for one, _ in found[0]] == [1]
    assert isinstance(found[1], RunsFailed)


def test_runs_are_awaited_again_after_a_wait_that_took_too_long(workflow: Workflow) -> None:
    found: list[Any] = []

    def outcome(study: Study, row: Mapping[str, Any]) -> str | None:
        return "FINISHED" if study.name == "norm" else None

    async def main(workflow: Workflow, **params: Any) -> None:
        created = workflow.mult.createTask(x=1.0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(created, 0)
        created[0][0].state = "FINISHED"
        found.extend(await asyncio.gather(created, workflow.norm.createTask(x=1.0)))
        workflow.finished = True

    assert run(workflow, main, outcome=outcome) == 0
    assert [[one.id for one, _ in answer] for answer in found] == [[1], [1]]


def test_lists_of_runs_have_one_hash_when_they_are_equal(workflow: Workflow) -> None:
    created = workflow.mult.createTask(x=[1.0, 2.0])
    elsewhere = workflow.norm.createTask(x=[1.0, 2.0])

    written = RunList(list(created))

    assert written == created and hash(written) == hash(created)
    assert {written, created, elsewhere, created[:1]} == {created, elsewhere, created[:1]}
    assert len({created, elsewhere, created[:1], created[::-1]}) == 4
