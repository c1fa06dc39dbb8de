"""Who awaits runs: what is called for those that failed comes first; and whether all that is
called awaits runs, when a workflow may be left until some change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from motoko.errors import ActionFailed, RunsFailed
from motoko.workflow import Workflow
from motoko.workflow.calls import Calls
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


@pytest.fixture
def has_asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether somebody has asked what becomes of runs that he awaits and that have failed."""
    asked: list[str] = []
    decided = Calls._decided

    async def noted(self: Calls, study: str, run_ids: Iterable[int]) -> None:
        asked.append(study)
        await decided(self, study, run_ids)

    monkeypatch.setattr(Calls, "_decided", noted)
    return lambda: bool(asked)


async def fail(workflow: Workflow, run_id: int, has_asked: Callable[[], bool]) -> None:
    """Let a run fail that is awaited, and time pass after that."""
    study = workflow.mult.base
    failed = {"state": "FAILED"}
    await anyio.to_thread.run_sync(
        lambda: study.database.write(lambda tables: tables.update_run(run_id, failed))
    )
    while not has_asked():
        await anyio.sleep(0)
    for _ in range(200):
        await anyio.sleep(0)


def test_awaiting_goes_on_while_a_serial_action_is_called_for_another_failed_run(
    workflow: Workflow, has_asked: Callable[[], bool]
) -> None:
    calls: list[list[int]] = []

    async def mend(runs: Any, workflow: Workflow, **params: Any) -> None:
        calls.append([one.id for one, _ in runs])
        if len(calls) == 1:
            await fail(workflow, 2, has_asked)
        for one, _ in runs:
            one.state = "FINISHED"

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("mend", "mult", "state = FAILED", f=mend, serial=True)
        workflow.mult.createTask(x=1.0)
        second = workflow.mult.createTask(x=2.0)
        workflow.mult.base.run(1).state = "FAILED"
        await second
        workflow.finished = True

    assert run(workflow, main, outcome=None) == 0
    assert calls == [[1], [2]]


def test_awaiting_goes_on_until_conditions_were_asked_since_a_run_has_failed(
    workflow: Workflow, has_asked: Callable[[], bool]
) -> None:
    async def mend(runs: Any, **params: Any) -> None:
        for one, _ in runs:
            one.state = "FINISHED"

    async def takes_time() -> bool:
        for _ in range(50):
            await anyio.sleep(0)
        return False

    async def fails_meanwhile() -> bool:
        if workflow.mult.select("state = CREATED") and not has_asked():
            await fail(workflow, 1, has_asked)
        return False

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("before", "mult", takes_time, f=mend)
        workflow.add_action("mend", "mult", "state = FAILED", f=mend)
        workflow.add_action("after", "mult", fails_meanwhile, f=mend)
        await workflow.mult.createTask(x=1.0)
        workflow.finished = True

    assert run(workflow, main, outcome=None) == 0


@pytest.mark.parametrize("how", ["raises", "finished", "cancelled"])
def test_an_error_handler_may_await_runs_that_fail_when_the_workflow_has_ended(
    workflow: Workflow, how: str
) -> None:
    scopes: list[anyio.CancelScope] = []
    seen: list[str] = []
    is_begun = []

    async def handle(workflow: Workflow, **params: Any) -> None:
        is_begun.append(True)
        await until_said(seen)
        other = workflow.mult.createTask(x=2.0)
        other[0][0].state = "FAILED"
        with anyio.fail_after(10), pytest.raises(RunsFailed):
            await other
        seen.append("handled")

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler("state = FAILED and x = 1.0", handle)
        workflow.mult.createTask(x=1.0)[0][0].state = "FAILED"
        await until_said(is_begun)
        seen.append(how)
        if how == "raises":
            raise ValueError(how)
        workflow.finished = how == "finished"
        if how == "cancelled":
            scopes[0].cancel()

    async def work() -> None:
        workflow.orchestrator_function = main
        with anyio.CancelScope() as scope, suppress(ActionFailed, RunsFailed):
            scopes.append(scope)
            await workflow.run()

    anyio.run(work)
    assert (seen, is_begun) == ([how, "handled"], [True])


async def until_said(said: list[Any]) -> None:
    """Wait for it, and until what follows from it has happened."""
    while not said:
        await anyio.sleep(0)
    for _ in range(200):
        await anyio.sleep(0)
