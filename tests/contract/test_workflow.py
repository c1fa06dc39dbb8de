"""What workflows promise: conditions, actions, waiting, ending."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from motoko.errors import (
    ActionFailed,
    ConditionError,
    DatabaseUnavailable,
    EntryNotFound,
    RunNameMissing,
    RunsFailed,
    SchemaError,
    WorkflowError,
)
from motoko.store.patience import patience
from motoko.store.server import Server
from motoko.store.session import current_session
from motoko.study.lookout import Lookout
from motoko.workflow import Workflow, control, event
from motoko.workflow.history import History
from motoko.workflow.loop import EventLoop
from motoko.workflow.prospects import Prospects
from motoko.workflow.reopening import Reopening
from tests.support.workflows import (
    DEADLINE_S,
    conclude,
    executed,
    no_daemons,
    run,
    served_workflow,
    until,
)

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


def fail_negative(study: Any, row: Any) -> str:
    return "FAILED" if study.job_row(row["job_id"])["x"] < 0 else "FINISHED"


# waiting


def test_awaiting_created_tasks_gives_them_when_all_are_over(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        found = await workflow.mult.createTask(x=[1.0, 2.0])
        assert [(run.id, job.x, run.state) for run, job in found] == [
            (1, 1.0, "FINISHED"),
            (2, 2.0, "FINISHED"),
        ]
        workflow.vars.sum = sum(job.x for _, job in found)

    assert run(workflow, main) == 0
    assert workflow.vars.sum == 3.0
    assert workflow.finished


def test_failed_runs_end_the_wait_when_all_are_over(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        await workflow.mult.createTask(x=[1.0, -1.0, 2.0])

    with pytest.raises(RunsFailed) as caught:
        run(workflow, main, outcome=fail_negative)

    assert [(f.study, f.run_id, f.cause) for f in caught.value.failed] == [
        ("mult", 2, "exit code 1")
    ]
    assert workflow.mult.base.counts() == {"FINISHED": 2, "FAILED": 1}


def test_a_run_that_has_ever_finished_counts_as_finished(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        workflow.mult.base.run(1).state = "FINISHED"
        workflow.mult.base.run(1).state = "FORWARDED"
        found = await workflow.mult.createTask(x=1.0)
        assert found[0][0].state == "FORWARDED"

    assert run(workflow, main, outcome=None) == 0


def test_awaiting_a_selection_waits_for_the_first_match(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_first(workflow))
            workflow.mult.createTask(x=[1.0, 5.0])
        assert [job.x for _, job in waiting.result()] == [5.0]

    async def _first(workflow: Workflow) -> Any:
        return await workflow.mult.select(["x > 4", "state = FINISHED"])

    assert run(workflow, main) == 0


def test_all_waits_until_every_selected_run_satisfies_the_constraints(
    workflow: Workflow,
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        selection = workflow.mult.select("x > 0")
        assert not selection.all("state = FINISHED")
        workflow.mult.createTask(x=[1.0, 5.0])
        await selection.all("state = FINISHED")
        assert [run.state for run, _ in selection] == ["FINISHED", "FINISHED"]

    assert run(workflow, main) == 0


def test_selections_combine(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=[1.0, 2.0, 3.0])
        small, large = workflow.mult.select("x < 3"), workflow.mult.select("x > 1")
        assert [job.x for _, job in small & large] == [2.0]
        both = small & workflow.norm.select()
        assert not both
        workflow.norm.createTask(x=1.0)
        assert await both
        assert len(large) == 2
        assert large[0][1].x == 2.0
        assert bool(workflow.mult.select("x > 7")) is False

    assert run(workflow, main, outcome=None) == 0


def test_a_selection_is_of_the_present_run_name(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        workflow.run_name = "other"
        assert workflow.mult.select().exec() == []
        workflow.run_name = None
        assert len(workflow.mult.select()) == 1
        with pytest.raises(RunNameMissing):
            workflow.mult.createTask(x=1.0)

    assert run(workflow, main, outcome=None) == 0


def test_the_list_of_constraints_is_left_as_it_was(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        constraints = ["x > 1"]
        for _ in range(3):
            list(workflow.mult.select(constraints))
        assert constraints == ["x > 1"]

    assert run(workflow, main) == 0


# conditions


async def is_finished_above_1(run: Any, job: Any) -> bool:
    await anyio.lowlevel.checkpoint()
    return run.state == "FINISHED" and job.x > 1


def forms(workflow: Workflow) -> dict[str, Any]:
    return {
        "constraint": "state = FINISHED and x > 1",
        "list of constraints": ["state = FINISHED", "x > 1"],
        "function of run and job": lambda run, job: run.state == "FINISHED" and job.x > 1,
        "async function of run and job": is_finished_above_1,
        "function giving a selection": lambda workflow, task_manager: task_manager.select(
            ["state = FINISHED", "x > 1"]
        ),
        "function of nothing": lambda: workflow.mult.select("state = FINISHED and x > 1"),
    }


@pytest.mark.parametrize(
    "form",
    [
        "constraint",
        "list of constraints",
        "function of run and job",
        "async function of run and job",
        "function giving a selection",
        "function of nothing",
    ],
)
@pytest.mark.parametrize("task", ["mult", "__all__"])
def test_a_condition_on_runs_fires_with_the_matching_runs(
    workflow: Workflow, form: str, task: str
) -> None:
    seen: list[int] = []

    async def forward(runs: Any, workflow: Workflow, **params: Any) -> None:
        for run, _ in runs:
            seen.append(run.id)
            run.state = "FORWARDED"

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("forward", task, forms(workflow)[form], f=forward)
        workflow.add_action("end", event=lambda: len(seen) == 2, f=finish)
        workflow.mult.createTask(x=[1.0, 2.0, 3.0])

    assert run(workflow, main) == 0
    assert sorted(seen) == [2, 3]
    assert workflow.mult.base.counts() == {"FINISHED": 1, "FORWARDED": 2}


async def finish(workflow: Workflow, **params: Any) -> None:
    workflow.finished = True


def finished_ones(workflow: Workflow, task_manager: Any) -> Any:
    return task_manager.select("state = FINISHED")


@pytest.mark.parametrize("condition", ["state = FINISHED", finished_ones])
def test_what_an_action_fired_for_still_holds_at_its_commit(
    workflow: Workflow, condition: Any
) -> None:
    tries = []

    async def main(workflow: Workflow, **params: Any) -> None:
        loop, is_taken = asyncio.get_running_loop(), anyio.Event()

        async def take(runs: Any, **params: Any) -> None:
            for found, _ in runs:
                found.state = "TAKEN"
            session = current_session()
            assert session is not None
            session.after_commit(lambda: [loop.call_soon_threadsafe(is_taken.set)].clear())

        async def look(runs: Any, workflow: Workflow, **params: Any) -> None:
            tries.append([found.id for found, _ in runs])
            await is_taken.wait()
            workflow.vars.seen = tries

        workflow.mult.createTask(x=1.0)
        workflow.add_action("take", task="mult", event=condition, f=take)
        workflow.add_action("look", task="mult", event=condition, f=look)
        workflow.add_action("end", event=lambda: is_taken.is_set(), f=end)

    async def end(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True

    assert run(workflow, main) == 0
    assert tries == [[1]]
    assert "seen" not in workflow.vars


def test_an_error_handler_is_for_runs_that_are_still_failed(workflow: Workflow) -> None:
    asked = []

    def first_time(workflow: Workflow, task_manager: Any) -> Any:
        asked.append(1)
        return task_manager.select() if len(asked) == 1 else []

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        workflow.add_error_handler(first_time, task="mult")
        workflow.add_action("end", event=lambda: len(asked) > 1, f=finish)

    assert run(workflow, main) == 0


def test_a_task_that_is_cancelled_from_inside_ends_the_workflow(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("never", event=lambda: False, f=finish)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep_forever()

    with pytest.raises(ActionFailed, match="cancelled from inside"):
        run(workflow, main)


def test_a_boolean_condition_over_all_studies_fires_once(workflow: Workflow) -> None:
    calls = []

    async def count(workflow: Workflow, **params: Any) -> None:
        calls.append(params.get("runs"))
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("all", event=lambda workflow, task_manager: True, f=count)

    assert run(workflow, main) == 0
    assert calls == [None]


def test_nothing_fires_once_the_workflow_is_finished(workflow: Workflow) -> None:
    calls = []

    def act(name: str) -> Any:
        async def action(workflow: Workflow, **params: Any) -> None:
            calls.append(name)
            workflow.finished = True

        return action

    async def main(workflow: Workflow, **params: Any) -> None:
        for name in "ab":
            workflow.add_action(name, event=lambda: not calls, f=act(name))

    assert run(workflow, main) == 0
    assert calls == ["a"]


def test_a_condition_on_runs_of_an_empty_study_is_false(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("never", "mult", lambda run, job: True, f=finish)
        assert await workflow.check_event("never", "mult") == []

        workflow.finished = True

    assert run(workflow, main) == 0


def test_get_params_is_asked_at_the_firing(workflow: Workflow) -> None:
    got = []

    async def action(workflow: Workflow, params: Any, factor: int) -> None:
        got.append((params, factor))
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        value = [1]
        workflow.add_action("a", event=lambda: True, get_params=lambda: value[0], f=action)
        value[0] = 2

    assert run(workflow, main, factor=3) == 0
    assert got == [(2, 3)]


def test_the_same_task_and_event_name_replaces_the_action(workflow: Workflow) -> None:
    async def wrong(**params: Any) -> None:
        raise AssertionError

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("a", "mult", lambda: True, f=wrong)
        workflow.add_action("a", "mult", lambda: True, f=finish)

    assert run(workflow, main) == 0


def test_plain_functions_and_generators_are_actions_too(workflow: Workflow) -> None:
    calls = []

    def plain(runs: Any) -> None:
        calls.append("plain")
        for found, _ in runs:
            found.state = "PLAIN"

    def generator(workflow: Workflow, runs: Any, **params: Any) -> Iterator[None]:
        for found, _ in runs:
            calls.append("generator")
            found.state = "DONE"
            yield
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("one", "mult", "state = FINISHED", f=plain)
        workflow.add_action("two", "mult", "state = PLAIN", f=generator)
        workflow.mult.createTask(x=1.0)

    assert run(workflow, main) == 0
    assert calls == ["plain", "generator"]
    assert workflow.mult.base.counts() == {"DONE": 1}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, "is None"),
        (3, "is 3"),
        (
            lambda a, b, c: True,
            r"<lambda> \(test_workflow\.py:\d+\) is a function of \(a, b, c\)",
        ),
        ([1, 2], r"is \[1, 2\]"),
    ],
)
def test_a_condition_of_another_form_is_refused(
    workflow: Workflow, condition: Any, message: str
) -> None:
    with pytest.raises(ConditionError, match=message):
        workflow.add_action("a", "mult", condition, f=finish)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"event_name": "e", "task": 5}, "task=5 is no name .*mult, norm"),
        ({"event_name": "", "f": finish}, "no name of an event"),
        ({"event_name": 5, "f": finish}, "5 is no name of an event"),
        ({"event_name": "e"}, "f= is missing"),
        ({"event_name": "e", "f": 5}, "f= is 5"),
        ({"event_name": "e", "f": finish, "get_params": 5}, "get_params=5 is no function"),
    ],
)
def test_an_action_that_cannot_be_called_is_refused(
    workflow: Workflow, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(WorkflowError, match=words):
        workflow.add_action(**{"event": "state = FINISHED", **given})


def test_the_call_of_an_action_is_no_action(workflow: Workflow) -> None:
    with pytest.raises(WorkflowError, match="pass the function itself"):
        workflow.add_action("e", event="state = FINISHED", f=finish(workflow))  # type: ignore[arg-type]


def test_a_parameter_under_two_spellings_is_refused(workflow: Workflow) -> None:
    with pytest.raises(SchemaError, match="given twice, as 'x' and as 'X'"):
        workflow.mult.createTask(x=1.0, X=2.0)
    with pytest.raises(SchemaError, match="given twice, as 'm' and as 'M'"):
        workflow.mult.createTask({"m": 1, "M": 2}, x=1.0)

    assert workflow.is_empty()


def test_the_name_of_an_entry_is_text(workflow: Workflow) -> None:
    [(found, _)] = workflow.mult.createTask(x=1.0)

    with pytest.raises(SchemaError, match="is no name; a name is text"):
        found[5] = 1  # type: ignore[index]
    with pytest.raises(EntryNotFound, match="'5'"):
        found[5]  # type: ignore[index]


def test_a_constraint_that_fits_no_study_ends_the_workflow(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("a", "mult", "stat = FINISHED", f=finish)

    with pytest.raises(ConditionError, match="did you mean 'state'"):
        run(workflow, main)


def test_an_action_that_changes_nothing_is_not_repeated_until_something_changes(
    workflow: Workflow,
) -> None:
    calls = []

    async def idle(runs: Any, **params: Any) -> None:
        calls.append([found.id for found, _ in runs])

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("idle", "mult", "state = FINISHED", f=idle)
        workflow.mult.createTask(x=1.0)
        while not calls:
            await anyio.sleep(0)
        for _ in range(200):
            await anyio.sleep(0)
        before = len(calls)
        workflow.mult.createTask(x=2.0)
        while [1, 2] not in calls:
            await anyio.sleep(0)
        assert before <= 2
        workflow.finished = True

    assert run(workflow, main) == 0


# sessions


def test_what_waits_to_be_repeated_sleeps_once(workflow: Workflow) -> None:
    async def count_sleepers() -> int:
        loop = EventLoop(workflow, {}, 5.0)
        async with anyio.create_task_group() as loop._group:
            before = len(asyncio.all_tasks())
            for _ in range(3):
                loop._wake_at(math.inf)
            n_sleepers = len(asyncio.all_tasks()) - before
            loop._group.cancel_scope.cancel()
        return n_sleepers

    assert anyio.run(count_sleepers) == 1


def test_an_action_is_committed_as_a_whole_or_not_at_all(workflow: Workflow) -> None:
    async def broken(runs: Any, workflow: Workflow, **params: Any) -> None:
        for found, _ in runs:
            found.state = "FORWARDED"
        workflow.norm.createTask(x=1.0)
        workflow.vars.done = True
        raise RuntimeError("half way")

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("broken", "mult", "state = FINISHED", f=broken)
        workflow.mult.createTask(x=1.0)

    with pytest.raises(ActionFailed, match="RuntimeError: half way") as caught:
        run(workflow, main)

    assert isinstance(caught.value.__cause__, RuntimeError)
    assert workflow.mult.base.counts() == {"FINISHED": 1}
    assert workflow.norm.base.counts() == {}
    assert "done" not in workflow.vars


def test_an_action_that_meets_a_conflict_is_run_again(workflow: Workflow) -> None:
    attempts = []

    @event
    async def add(workflow: Workflow, **params: Any) -> None:
        found = workflow.mult.base.run(1)
        attempts.append(found.get("total"))
        workflow.mult.createTask(x=[10.0 * len(attempts) + i for i in (1, 2)])
        found.total = (found.get("total") or 0) + 1
        if len(attempts) == 1:
            await anyio.to_thread.run_sync(
                lambda: workflow.mult.base.database.write(
                    lambda tables: tables.update_run(1, {"total": 10})
                )
            )

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        await add(workflow)
        assert workflow.mult.base.run(1).total == 11
        workflow.mult.createTask(x=3.0)
        made = {(run.id, job.id): job.x for run, job in workflow.mult.select()}
        assert made == {(1, 1): 1.0, (2, 2): 21.0, (3, 3): 22.0, (4, 4): 3.0}

    assert run(workflow, main, outcome=None) == 0
    assert attempts == [None, 10]


def test_actions_that_create_in_one_study_take_turns(workflow: Workflow) -> None:
    bodies = []

    def creator(x: float) -> Any:
        async def create(workflow: Workflow, **params: Any) -> None:
            bodies.append(x)
            workflow.mult.createTask(x=x)
            await anyio.sleep(0)
            workflow.norm.createTask(x=x)

        return create

    async def main(workflow: Workflow, **params: Any) -> None:
        async with anyio.create_task_group() as group:
            for i in range(8):
                group.start_soon(event(creator(float(i))), workflow)
        assert len(workflow.norm.select()) == 8

    assert run(workflow, main, outcome=None) == 0
    assert sorted(set(bodies)) == [float(i) for i in range(8)]
    assert len(bodies) < 8 * 8
    assert sorted(workflow.mult.base.runs) == list(range(1, 9))


def test_who_creates_in_a_study_waits_for_the_turn_of_one_that_has(workflow: Workflow) -> None:
    order: list[str] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        has_created, has_begun = anyio.Event(), anyio.Event()

        async def first(workflow: Workflow, **params: Any) -> None:
            workflow.mult.createTask(x=1.0)
            has_created.set()
            await has_begun.wait()
            order.append("first ends")

        async def second(workflow: Workflow, **params: Any) -> None:
            order.append("second begins")
            has_begun.set()
            workflow.mult.createTask(x=2.0)
            order.append("second has created")

        async with anyio.create_task_group() as group:
            group.start_soon(event(first), workflow)
            await has_created.wait()
            group.start_soon(event(second), workflow)

    assert run(workflow, main, outcome=None) == 0
    assert order == ["second begins", "first ends", "second begins", "second has created"]


def test_concurrent_actions_lose_no_update_of_a_variable(workflow: Workflow) -> None:
    async def add(workflow: Workflow, **params: Any) -> None:
        value = workflow.vars.n
        await anyio.sleep(0)
        workflow.vars.n = value + 1

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.vars.n = 0
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(event(add), workflow)

    assert run(workflow, main, outcome=None) == 0
    assert workflow.vars.n == 5


def test_a_serial_action_has_one_firing_at_a_time(workflow: Workflow) -> None:
    together: list[int] = []
    now = 0

    async def forward(runs: Any, workflow: Workflow, **params: Any) -> None:
        nonlocal now
        now += 1
        together.append(now)
        await workflow.norm.createTask(x=float(runs[0][0].id))
        for found, _ in runs:
            found.state = "FORWARDED"
        now -= 1
        workflow.finished = len(workflow.mult.select("state = FORWARDED")) == 6

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("f", "mult", "state = FINISHED", f=forward, serial=True)
        for x in range(6):
            workflow.mult.createTask(x=float(x))
            await anyio.sleep(0)

    assert run(workflow, main) == 0
    assert set(together) == {1}


def test_finished_is_not_seen_by_others_before_the_commit(workflow: Workflow) -> None:
    seen = []

    async def action(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True
        has_looked.set()
        await has_seen.wait()

    async def main(workflow: Workflow, **params: Any) -> None:
        nonlocal has_looked, has_seen
        has_looked, has_seen = anyio.Event(), anyio.Event()
        workflow.add_action("a", event=lambda: True, f=action)
        await has_looked.wait()
        seen.append(workflow.finished)
        has_seen.set()

    has_looked = has_seen = None  # type: ignore[assignment]
    assert run(workflow, main) == 0
    assert seen == [False]


def test_gathered_waits_inside_an_action_share_its_session(workflow: Workflow) -> None:
    async def action(runs: Any, workflow: Workflow, **params: Any) -> None:
        for found, _ in runs:
            found.state = "SEEN"
        one, two = await asyncio.gather(
            workflow.norm.createTask(x=1.0),
            workflow.norm.createTask(x=2.0),
        )
        workflow.vars.ids = [one[0][0].id, two[0][0].id]
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("go", "mult", "state = FINISHED", f=action)
        workflow.mult.createTask(x=1.0)

    assert run(workflow, main) == 0
    assert workflow.vars.ids == [1, 2]
    assert workflow.mult.base.counts() == {"SEEN": 1}


def test_finished_takes_effect_with_the_commit(workflow: Workflow) -> None:
    async def action(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True
        assert workflow.finished
        await workflow.mult.createTask(x=1.0)
        workflow.vars.after = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("a", event=lambda: True, f=action)

    assert run(workflow, main) == 0
    assert workflow.mult.base.counts().keys() <= {"CREATED", "FINISHED"}
    assert "after" not in workflow.vars


# ending


def test_sys_exit_in_an_action_commits_and_gives_the_exit_code(workflow: Workflow) -> None:
    async def action(workflow: Workflow, **params: Any) -> None:
        workflow.vars.left = True
        raise SystemExit(7)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("a", event=lambda: True, f=action)

    assert run(workflow, main) == 7
    assert workflow.vars.left is True


def test_an_exception_in_main_ends_the_workflow(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("a", event=lambda: False, f=finish)
        raise KeyError("lost")

    with pytest.raises(ActionFailed, match="main raised KeyError: 'lost'"):
        run(workflow, main)


def test_an_exception_in_a_condition_ends_the_workflow(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("a", event=lambda: 1 / 0, f=finish)

    with pytest.raises(ActionFailed, match="condition of a raised ZeroDivisionError"):
        run(workflow, main)


def test_an_async_error_handler_is_awaited_and_then_the_workflow_ends(
    workflow: Workflow,
) -> None:
    handled = []

    async def handler(runs: Any, workflow: Workflow, **params: Any) -> None:
        await anyio.sleep(0)
        handled.extend(found.id for found, _ in runs)
        workflow.vars.handled = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler(f=handler)
        workflow.add_action("a", event=lambda: False, f=finish)
        workflow.mult.createTask(x=[1.0, -1.0])

    with pytest.raises(RunsFailed, match=r"mult\.2 FAILED: exit code 1"):
        run(workflow, main, outcome=fail_negative)

    assert handled == [2]
    assert workflow.vars.handled is True


def test_the_error_handler_runs_although_main_awaits_the_same_run(workflow: Workflow) -> None:
    async def handler(workflow: Workflow, **params: Any) -> None:
        workflow.vars.handled = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler(f=handler)
        await workflow.mult.createTask(x=-1.0)

    with pytest.raises(RunsFailed):
        run(workflow, main, outcome=fail_negative)

    assert workflow.vars.handled is True


def test_all_error_handlers_are_called_whose_condition_is_true(workflow: Workflow) -> None:
    called: list[str] = []

    def is_ending() -> bool:
        return workflow._loop is not None and workflow._loop._end is not None

    async def main(workflow: Workflow, **params: Any) -> None:
        for name in ("first", "second"):
            workflow.add_error_handler(f=lambda name=name: called.append(name))
        workflow.add_error_handler("state = DIVERGED", f=lambda: called.append("other"))
        workflow.add_error_handler(is_ending, f=lambda: called.append("late"))
        workflow.add_error_handler("state = FAILED and x < 0", f=lambda: called.append("third"))
        workflow.mult.createTask(x=-1.0)

    with pytest.raises(RunsFailed):
        run(workflow, main, outcome=fail_negative)

    assert sorted(called) == ["first", "late", "second", "third"]


def test_an_error_handler_that_is_registered_again_is_one(workflow: Workflow) -> None:
    def register(limit: Any) -> None:
        workflow.add_error_handler(lambda run, job: job.x > limit, f=lambda: print(limit))

    high, low = object(), object()
    for limit in (low, high, low, high):
        register(limit)
        workflow.add_error_handler(f=finish)
        workflow.add_error_handler(f=finish, event_name="mine")

    names = ["error_handler", "error_handler_2", "mine", "error_handler_3"]
    assert list(workflow.actions) == [("__all__", name) for name in names]


def test_two_error_handlers_of_different_tasks_are_both_kept(workflow: Workflow) -> None:
    async def handler(**params: Any) -> None: ...

    workflow.add_error_handler(f=handler, task="mult")
    workflow.add_error_handler(f=handler, task="norm")

    assert len(workflow.actions) == 2


def test_a_workflow_without_actions_ends_when_main_returns(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)

    assert run(workflow, main, outcome=None) == 0
    assert workflow.finished


def test_a_typo_says_which_names_there_are(workflow: Workflow) -> None:
    with pytest.raises(AttributeError, match=r"'mul'; did you mean 'mult'\? \(task managers"):
        _ = workflow.mul


@pytest.mark.parametrize("name", ["..", "a\nb", " ", "x" * 300])
def test_a_run_name_that_cannot_be_shown_is_refused(workflow: Workflow, name: str) -> None:
    workflow.run_name = name

    with pytest.raises(WorkflowError, match="is no run name"):
        workflow.mult.createTask(x=1.0)


def test_get_runs_and_is_empty(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        assert workflow.is_empty()
        workflow.mult.createTask(x=[1.0, 2.0])
        assert not workflow.is_empty()
        found = workflow.get_runs(["mult.2", "mult.1"])
        assert [(r.id, r.job.x) for r in found["mult"]] == [(2, 2.0), (1, 1.0)]

    assert run(workflow, main, outcome=None) == 0


def test_event_name_is_the_calling_function(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        assert workflow.mult.base.run(1).event_name == "main"

    assert run(workflow, main, outcome=None) == 0


def test_a_dataframe_has_a_row_a_run(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        await workflow.mult.createTask(x=[1.0, 2.0])
        workflow.mult.base.run(2).norm = 4.0

    run(workflow, main)
    table = workflow.mult.dataframe("x > 1")

    assert table.index.tolist() == [2]
    assert table.loc[2, ["x", "n", "norm", "state"]].tolist() == [2.0, 1, 4.0, "FINISHED"]
    assert str(table.create_time.dtype).startswith("datetime64")


def test_whole_numbers_in_a_dataframe_stay_whole_where_some_runs_have_none(
    workflow: Workflow,
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=[1.0, 2.0, 3.0])
        runs = workflow.mult.base.runs
        runs[1].update_entries({"big": 2**53 + 1, "good": True, "huge": 2**70, "level": 1})
        runs[2].update_entries({"level": 2})
        runs[3].update_entries({"level": 3})

    run(workflow, main, outcome=None)
    table = workflow.mult.dataframe()

    assert (table.big.dtype, table.good.dtype) == ("Int64", "boolean")
    assert (table.big[1], table.good[1], table.huge[1]) == (2**53 + 1, True, 2**70)
    assert table.big.isna().tolist() == table.good.isna().tolist() == [False, True, True]
    assert table.level.dtype == "int64"


# a run name that was finished before


def test_run_name_that_was_finished_is_finished_again_when_nothing_is_left_to_do(
    workflow: Workflow,
) -> None:
    asked: list[int] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        def is_new(workflow: Workflow, task_manager: Any) -> bool:
            asked.append(1)
            done = task_manager.select().all("state = FINISHED")
            return bool(done) and not workflow.norm.select()

        @event
        async def finish(workflow: Workflow, **params: Any) -> None:
            workflow.norm.createTask(x=1.0)
            workflow.finished = True

        workflow.add_action("all", task="mult", event=is_new, f=finish)
        workflow.mult.createTask(x=[1.0, 2.0])

    assert run(workflow, main) == 0
    n_asked = len(asked)

    assert run(workflow, main) == 0
    assert len(asked) > n_asked
    assert run(workflow, main) == 0
    assert workflow.norm.base.counts("test") == {"FINISHED": 1}


@pytest.mark.slow
def test_run_name_that_was_finished_stalls_over_runs_that_have_failed_since(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_for_stall = Prospects.look_for_stall

    def looking_until(has_stalled: anyio.Event) -> Any:
        async def look(prospects: Prospects) -> None:
            await look_for_stall(prospects)
            if prospects.stall is not None and workflow.mult.base.counts("test"):
                has_stalled.set()

        return look

    async def finishing(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True

    async def stalling(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("none", task="mult", event="x > 5", f=finishing)
        workflow.mult.createTask(x=-1.0)

    assert run(workflow, finishing) == 0

    async def until_stalled() -> None:
        workflow.orchestrator_function = stalling
        has_stalled = anyio.Event()
        monkeypatch.setattr(Prospects, "look_for_stall", looking_until(has_stalled))
        async with executed(workflow, fail_negative), anyio.create_task_group() as group:
            group.start_soon(workflow.run)
            with anyio.fail_after(30):
                await has_stalled.wait()
            group.cancel_scope.cancel()

    anyio.run(until_stalled)
    assert not workflow.finished


async def end_unheard(workflow: Workflow, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orchestrate the workflow, whose last run ends so without that its monitors hear of it."""
    study = workflow.mult.base
    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(workflow.run)
            await until(workflow, lambda: study.counts("test") == {"CREATED": 1})
            monkeypatch.setattr(Lookout, "_look", lambda self: None)
            study.database.write(partial(conclude, 1, state, 1))
            workflow.vars.note = "something else has changed"


def test_stall_is_not_said_before_the_end_of_the_last_run_was_heard_of(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("finish", task="mult", event="state = FINISHED", f=finish)
        workflow.mult.createTask(x=1.0)

    workflow.orchestrator_function = main
    anyio.run(end_unheard, workflow, "FINISHED", monkeypatch)

    assert workflow.finished
    assert "stalled" not in caplog.text


def test_workflow_is_not_finished_before_the_end_of_the_last_run_was_heard_of(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[int] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler(f=lambda runs: handled.append(len(runs)))
        workflow.mult.createTask(x=1.0)

    workflow.orchestrator_function = main
    with pytest.RaisesGroup(RunsFailed):
        anyio.run(end_unheard, workflow, "FAILED", monkeypatch)

    assert handled == [1]


def test_workflow_that_comes_to_its_end_has_not_stalled(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler()
        workflow.mult.createTask(x=1.0)

    assert run(workflow, main) == 0
    assert "stalled" not in caplog.text


def test_run_name_that_was_finished_does_not_end_before_what_was_put_back(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_off = Reopening.put_off
    seen: list[tuple[str, dict[str, int]]] = []
    study = workflow.mult.base

    def finishing(name: str) -> Any:
        @event
        async def finish(workflow: Workflow, **params: Any) -> None:
            seen.append((name, dict(study.counts("test"))))
            workflow.vars.last = len(seen)
            workflow.finished = True

        return finish

    @event
    async def forward(workflow: Workflow, runs: Any, **params: Any) -> None:
        for run, _ in runs:
            run.state = "FORWARDED"

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=[1.0, 2.0, 3.0])
        await no_runs(workflow)

    async def no_runs(workflow: Workflow, **params: Any) -> None:
        """Create no run; the actions alone."""
        workflow.add_action("good", "mult", "state = FINISHED, x > 2.5", f=finishing("good"))
        workflow.add_action(
            "some", "mult", lambda: study.counts("test") != {"CREATED": 3}, f=finishing("some")
        )
        workflow.add_action("poor", "mult", "state = FINISHED, x < 2.5", f=forward)

    def put_back() -> None:
        study.run(1).state = "CREATED"
        study.run(2).state = "CREATED"

    async def again(main: Any, n_said: int) -> None:
        """Runs that were put back are done only after the end was said so often."""
        seen.clear()
        put_back()
        workflow.orchestrator_function = main
        n_put_off = 0
        is_enough = anyio.Event()

        def putting_off(reopening: Reopening, session: Any) -> None:
            nonlocal n_put_off
            put_off(reopening, session)
            n_put_off += 1
            if n_put_off == n_said:
                is_enough.set()

        monkeypatch.setattr(Reopening, "put_off", putting_off)

        async def conclude_late() -> None:
            await is_enough.wait()
            study.database.write(  # at once: an end that is said between the two is put off too
                lambda tables: [conclude(run_id, "FINISHED", 1, tables) for run_id in (1, 2)]
            )

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(conclude_late)
                assert await workflow.run() == 0
                group.cancel_scope.cancel()

    async def saying_so(workflow: Workflow, **params: Any) -> None:
        seen.append(("main", {}))
        workflow.finished = True

    assert run(workflow, main) == 0

    anyio.run(again, no_runs, 2)
    assert study.counts("test") == {"FORWARDED": 2, "FINISHED": 1}
    assert [n for n, counts in seen if "CREATED" in counts] == ["good", "some"]
    assert seen[-1][1] == {"FORWARDED": 2, "FINISHED": 1}

    anyio.run(again, saying_so, 1)
    assert study.counts("test") == {"FINISHED": 3}


def test_an_end_that_main_says_in_a_session_waits_for_what_an_action_does(
    workflow: Workflow,
) -> None:
    said: list[bool] = []

    async def finishing(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        await workflow.mult.select("state = FINISHED")
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        has_begun, has_gone_on = anyio.Event(), anyio.Event()

        async def act(workflow: Workflow, **params: Any) -> None:
            has_begun.set()
            await has_gone_on.wait()
            workflow.vars.done = True

        workflow.mult.base.run(1).state = "FORWARDED"
        workflow.add_action("act", "mult", "state = FORWARDED", f=act, once=True)
        await has_begun.wait()
        with workflow.session():
            workflow.finished = True
        said.append(workflow.finished)
        has_gone_on.set()
        await anyio.sleep_forever()

    async def begin_again() -> None:
        workflow.orchestrator_function = main
        workflow.mult.base.run(1).state = "CREATED"
        with anyio.fail_after(30):
            assert await workflow.run() == 0

    assert run(workflow, finishing) == 0
    anyio.run(begin_again)

    assert said == [False]
    assert workflow.vars.done is True


@pytest.mark.parametrize(
    "call", [(History, "open"), (Reopening, "open"), (Prospects, "open"), (History, "close")]
)
def test_a_run_name_begins_again_and_ends_though_the_database_is_away_just_then(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, call: tuple[Any, str]
) -> None:
    owner, name = call
    real = getattr(owner, name)
    n_calls = 0

    def failing(*arguments: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            raise DatabaseUnavailable("of mult", "no server answers")
        return real(*arguments)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        workflow.finished = True

    assert run(workflow, main) == 0
    monkeypatch.setattr(owner, name, failing)

    assert run(workflow, main) == 0
    assert n_calls > 1


def test_new_work_of_a_run_name_that_was_finished_is_done(workflow: Workflow) -> None:
    async def main(workflow: Workflow, x: list[float], **params: Any) -> None:
        workflow.add_action("none", task="mult", event="x > 5", f=lambda: None)
        workflow.mult.createTask(x=x)

    async def finishing(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True

    assert run(workflow, finishing) == 0

    workflow.accepts_changes = True
    assert run(workflow, main, x=[1.0, 2.0]) == 0

    assert workflow.mult.base.counts("test") == {"FINISHED": 2}


# databases that are away


@pytest.mark.slow
@pytest.mark.parametrize("is_run", [True, False])
def test_the_loop_goes_on_while_the_first_contact_is_waited_for(
    tmp_path: Path, is_run: bool
) -> None:
    with served_workflow(tmp_path, "mult") as found:
        found.mult.createTask(x=1.0)
    workflow = Workflow(str(tmp_path))
    workflow.run_name = "test"
    server = Server(control.served(workflow))

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True

    async def start_server() -> None:
        await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(server.start)

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(workflow.run if is_run else workflow.check_events)
            group.start_soon(start_server)

    workflow.orchestrator_function = main
    workflow.add_action("seen", "mult", "state = CREATED", f=lambda runs: seen.extend(runs))
    seen: list[Any] = []
    try:
        with patience(3.0):
            anyio.run(both)
    finally:
        workflow.close()
        server.close()

    assert len(seen) == (0 if is_run else 1)


@pytest.mark.parametrize("where", ["main", "action"])
def test_awaiting_goes_on_when_an_action_puts_a_failed_run_back(
    workflow: Workflow, where: str
) -> None:
    found: list[str] = []

    def outcome(study: Any, row: Any) -> str:
        return "FINISHED" if row.get("label") else "FAILED"

    async def again(runs: Any, **params: Any) -> None:
        for one, _ in runs:
            one.label, one.state = "again", "CREATED"

    async def compute(workflow: Workflow, **params: Any) -> None:
        found.extend(one.label for one, _ in await workflow.norm.createTask(x=[1.0, 2.0]))
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("again", "norm", "state = FAILED", f=again)
        if where == "main":
            await compute(workflow)
        else:
            workflow.add_action("compute", f=compute, event=lambda: not found)

    run(workflow, main, outcome=outcome)

    assert found == ["again", "again"]


def test_awaiting_fails_when_what_is_called_for_the_failed_runs_awaits_them_or_leaves_them(
    workflow: Workflow,
) -> None:
    called: list[str] = []

    async def look(runs: Any, **params: Any) -> None:
        called.append("look")

    async def wait(runs: Any, **params: Any) -> None:
        with pytest.raises(RunsFailed):
            await runs
        called.append("wait")

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("look", "norm", "state = FAILED", f=look)
        workflow.add_action("wait", "norm", "state = FAILED", f=wait)
        await workflow.norm.createTask(x=1.0)

    with pytest.raises(RunsFailed):
        run(workflow, main, outcome=lambda study, row: "FAILED")

    assert "look" in called
