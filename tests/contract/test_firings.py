"""When actions fire and with what: conditions that change, databases that go away, the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from ZEO.Exceptions import ClientDisconnected

from motoko.errors import (
    ActionFailed,
    ConflictsExhausted,
    DatabaseFailed,
    DatabaseUnavailable,
    RunsFailed,
)
from motoko.store import patience as store_patience
from motoko.store import server
from motoko.store.deletion import delete_runs
from motoko.store.patience import patiently
from motoko.store.rows import Rows
from motoko.store.session import current_session
from motoko.study.study import Study
from motoko.study.waiting import commit_current
from motoko.workflow import Workflow, conditions, control, firings, loop, triggers
from motoko.workflow.actions import Action, no_action
from motoko.workflow.triggers import Trigger
from tests.support.studies import ServerProcess, open_study, process_serving
from tests.support.workflows import no_daemons, run, served_workflow, write_workflow
from tests.support.workflows import until as until_changed

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")
FOR_EVER_S = 1e6


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


async def finish(workflow: Workflow, **params: Any) -> None:
    workflow.finished = True


def change(study: Study, run_id: int, **changes: Any) -> None:
    """Change a run as another process would."""
    study.database.write(lambda tables: tables.update_run(run_id, changes))


# what is fired for


def test_a_study_is_watched_from_when_it_knows_what_the_condition_names(
    workflow: Workflow,
) -> None:
    called: list[str] = []
    lacks: list[str] = []

    async def see(runs: Any, **params: Any) -> None:
        for found, _ in runs:
            called.append(str(found))
            found.state = "SEEN"

    async def main(workflow: Workflow, **params: Any) -> None:
        for manager in (workflow.mult, workflow.norm):
            manager.createTask(x=[1.0, 2.0])
        workflow.mult.base.run(1).score = 5.0
        workflow.add_action("see", event="score > 1 and state != SEEN", f=see)
        await workflow.mult.select("state = SEEN")
        assert workflow._loop is not None
        lacks.extend(conditions.lacks(workflow, workflow._loop.rules.values()))
        workflow.norm.base.run(2).score = 5.0
        await workflow.norm.select("state = SEEN")
        workflow.finished = True

    assert run(workflow, main, outcome=None) == 0
    assert called == ["mult.1", "norm.2"]
    assert lacks[0].endswith("; norm does not know 'score' so far")


@pytest.mark.parametrize(
    "condition",
    [
        "state = FINISHED",
        lambda run, job: run.state == "FINISHED",
        lambda workflow, task_manager: task_manager.select("state = FINISHED"),
    ],
    ids=["constraint", "function", "selection"],
)
def test_runs_for_which_the_condition_ceased_to_hold_are_not_passed(
    workflow: Workflow, condition: Any
) -> None:
    got: list[list[int]] = []

    async def forward(runs: Any, workflow: Workflow, **params: Any) -> None:
        got.append([found.id for found, _ in runs])
        if len(got) == 1:
            await anyio.to_thread.run_sync(lambda: change(workflow.mult.base, 1, state="MINE"))
        for found, _ in runs:
            found.state = "FORWARDED"

    async def main(workflow: Workflow, **params: Any) -> None:
        with workflow.session():
            workflow.mult.createTask(x=[1.0, 2.0])
            for found, _ in workflow.mult.select():
                found.state = "FINISHED"
        workflow.add_action("forward", "mult", condition, f=forward)
        workflow.add_action("end", event=lambda: len(got) == 2, f=finish)

    assert run(workflow, main, outcome=None) == 0
    assert got == [[1, 2], [2]]
    assert workflow.mult.base.counts() == {"MINE": 1, "FORWARDED": 1}


def test_no_action_is_called_when_its_condition_ceased_to_hold(workflow: Workflow) -> None:
    calls: list[str] = []

    async def take(runs: Any, workflow: Workflow, **params: Any) -> None:
        calls.append("take")
        await anyio.to_thread.run_sync(lambda: change(workflow.mult.base, 1, state="MINE"))
        for found, _ in runs:
            found.state = "TAKEN"

    workflow.mult.createTask(x=1.0)
    workflow.mult.base.run(1).state = "FINISHED"
    workflow.add_action("take", "mult", "state = FINISHED", f=take)
    anyio.run(workflow.check_event, "take", "mult")

    assert calls == ["take"]
    assert workflow.mult.base.counts() == {"MINE": 1}


@pytest.mark.parametrize("condition", ["state = FINISHED", "state = NEVER"])
def test_an_action_that_is_registered_again_while_it_is_called_goes_on_as_one(
    workflow: Workflow, condition: str
) -> None:
    calls: list[list[int]] = []
    decided: list[bool] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        has_begun, may_end = anyio.Event(), anyio.Event()

        async def see(runs: Any, **params: Any) -> None:
            calls.append([found.id for found, _ in runs])
            has_begun.set()
            await may_end.wait()
            for found, _ in runs:
                found.state = "SEEN"

        workflow.mult.createTask(x=1.0)
        workflow.mult.base.run(1).state = "FINISHED"
        workflow.add_action("see", "mult", "state = FINISHED", f=see)
        await has_begun.wait()
        workflow.add_action("see", "mult", condition, f=see)
        decided.append(await workflow.has_decided())
        may_end.set()
        workflow.add_action("end", "mult", "state = SEEN", f=finish)

    assert run(workflow, main, outcome=None) == 0
    assert calls == [[1]]
    assert decided == [False]


def test_a_serial_action_is_called_for_one_study_after_the_other(workflow: Workflow) -> None:
    seen: list[str] = []

    async def see(runs: Any, workflow: Workflow, **params: Any) -> None:
        seen.append("begins")
        for found, _ in runs:
            found.state = "SEEN"
        await commit_current()
        seen.append("ends")

    async def main(workflow: Workflow, **params: Any) -> None:
        for manager in (workflow.mult, workflow.norm):
            manager.createTask(x=1.0)
            manager.base.run(1).state = "FINISHED"
        workflow.add_action("see", event="state = FINISHED", f=see, serial=True)
        workflow.add_action("end", event=lambda: seen.count("ends") == 2, f=finish)

    assert run(workflow, main, outcome=None) == 0
    assert seen == ["begins", "ends", "begins", "ends"]


def test_an_event_that_is_fired_by_hand_gets_the_runs_of_its_trigger(
    workflow: Workflow,
) -> None:
    async def forward(runs: Any, workflow: Workflow, params: int, **others: Any) -> int:
        for found, _ in runs:
            found.state = "FORWARDED"
        return len(runs) * params + others["offset"]

    async def count(workflow: Workflow, **params: Any) -> int:
        return len(workflow.mult.select())

    async def fire(f: Any, trigger: Any) -> Any:
        return await workflow.fire_event("e", "mult", f, trigger, lambda: 10, {"offset": 1})

    workflow.mult.createTask(x=[1.0, 2.0, 3.0])

    assert anyio.run(fire, forward, workflow.mult.select("x > 1")) == 21
    assert workflow.mult.base.counts() == {"CREATED": 1, "FORWARDED": 2}
    assert anyio.run(fire, count, True) == 3
    assert anyio.run(fire, count, workflow.mult.select("x > 9")) == []


@pytest.mark.parametrize(
    "fire",
    [
        lambda workflow: workflow.check_events(),
        lambda workflow: workflow.check_event("leave"),
        lambda workflow: workflow.fire_event("leave", "mult", leave, True, None, {}),
    ],
    ids=["check_events", "check_event", "fire_event"],
)
def test_sys_exit_in_an_action_that_is_fired_by_hand_is_raised(
    workflow: Workflow, fire: Any
) -> None:
    workflow.add_action("leave", event=lambda: True, f=leave)

    with pytest.raises(SystemExit) as stop:
        anyio.run(fire, workflow)

    assert stop.value.code == 3
    assert workflow.vars.left


def leave(workflow: Workflow) -> None:
    workflow.vars.left = True
    sys.exit(3)


def test_a_function_of_runs_is_asked_about_changed_runs_alone_in_a_large_study(
    workflow: Workflow,
) -> None:
    n_runs = triggers.FULL_SCAN_RUNS + 1
    asked: list[int] = []
    got: list[list[int]] = []

    def is_ready(run: Any, job: Any) -> bool:
        asked.append(run.id)
        return bool(run.state == "FINISHED")

    async def forward(runs: Any, workflow: Workflow, **params: Any) -> None:
        got.append([found.id for found, _ in runs])
        for found, _ in runs:
            found.state = "FORWARDED"

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("forward", "mult", is_ready, f=forward)
        workflow.add_action("end", event=lambda: len(got) == 2, f=finish)
        while len(asked) < n_runs:
            await anyio.sleep(0)
        asked.clear()
        workflow.mult.base.run(7).state = "FINISHED"
        while not got:
            await anyio.sleep(0)
        workflow.mult.base.run(n_runs).state = "FINISHED"
        await anyio.sleep_forever()

    workflow.wait_s = FOR_EVER_S
    workflow.mult.createTask(x=[float(i) for i in range(n_runs)])
    assert run(workflow, main, outcome=None) == 0
    assert got == [[7], [n_runs]]
    assert len(asked) < n_runs / 2


@pytest.mark.parametrize(
    ("is_so", "change_it"),
    [
        (
            lambda w: w.norm.base.run(1).state == "FINISHED",
            lambda w: change(w.norm.base, 1, state="FINISHED"),
        ),
        (lambda w: "go" in w.vars, lambda w: setattr(w.vars, "go", 1)),
        (
            lambda w: w.mult.base.run(2).state == "FINISHED",
            lambda w: change(w.mult.base, 2, state="FINISHED"),
        ),
    ],
    ids=["another study", "a variable", "another run"],
)
def test_a_function_of_few_runs_is_asked_again_whatever_has_changed(
    workflow: Workflow,
    is_so: Callable[[Workflow], bool],
    change_it: Callable[[Workflow], None],
) -> None:
    n_asked = 0

    def is_ready(run: Any, job: Any) -> bool:
        nonlocal n_asked
        n_asked += 1
        return run.id == 1 and is_so(workflow)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=[1.0, 2.0])
        workflow.norm.createTask(x=1.0)
        n_before = -1
        while n_before != n_asked or not n_asked:  # until there is no news of these
            n_before = n_asked
            for _ in range(300):
                await anyio.sleep(0)
        change_it(workflow)
        await anyio.sleep_forever()

    workflow.wait_s = FOR_EVER_S
    workflow.add_action("end", "mult", is_ready, f=finish)
    assert run(workflow, main, outcome=None) == 0


def test_others_get_their_turn_while_a_function_is_asked_about_many_runs(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_runs = 5 * triggers._N_AT_ONCE
    monkeypatch.setattr(triggers, "FULL_SCAN_RUNS", 1)
    workflow.mult.createTask(x=[float(i) for i in range(n_runs)])
    study = workflow.mult.base
    asked: list[int] = []
    is_away: list[bool] = []

    def is_ready(run: Any, job: Any) -> bool:
        if is_away and run.id == 7:
            is_away.clear()
            raise DatabaseUnavailable("here", "it is away")
        asked.append(run.id)
        return bool(run.state == "FINISHED")

    monitor = triggers.FilterMonitor(Action("e", "mult", is_ready, finish), workflow.mult)

    async def meanwhile() -> None:
        assert 0 < len(asked) < n_runs
        change(study, 1, state="FINISHED")
        study.database.write(lambda tables: delete_runs(tables, [n_runs]))
        monitor.look(study.tables, {1, n_runs})

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(meanwhile)
            assert await monitor.trigger() == []
        assert asked == list(range(1, n_runs))
        asked.clear()

        assert await monitor.trigger() == [Trigger("mult", (1,))]
        assert asked == [1]
        monitor.look_elsewhere()  # they are too many to be asked about at each change
        assert await monitor.trigger() == [Trigger("mult", (1,))]
        assert asked == [1]

        monitor.look_again()
        is_away.append(True)
        with pytest.raises(DatabaseUnavailable):
            await monitor.trigger()
        asked.clear()
        assert await monitor.trigger() == [Trigger("mult", (1,))]
        assert asked == list(range(1, n_runs))

    anyio.run(main)


def test_others_get_their_turn_while_a_function_is_asked_once_more_in_the_session(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "_N_AT_ONCE", 2)
    n_runs, n_asked = 6, 0
    seen: set[int] = set()
    called: list[int] = []

    def is_ready(run: Any, job: Any) -> bool:
        nonlocal n_asked
        n_asked += 1
        return True

    async def look() -> None:
        while not called:
            seen.add(n_asked)
            await anyio.lowlevel.checkpoint()

    async def main() -> None:
        workflow.mult.createTask(x=[float(i) for i in range(n_runs)])
        workflow.add_action("act", "mult", is_ready, f=lambda runs: called.append(len(runs)))
        async with anyio.create_task_group() as group:
            group.start_soon(look)
            await workflow.check_event("act", "mult")

    anyio.run(main)

    assert called == [n_runs]
    assert seen >= {2, 4, n_runs + 2, n_runs + 4}


def test_a_run_that_is_deleted_while_a_function_is_asked_about_it_is_left_out(
    workflow: Workflow,
) -> None:
    study = workflow.mult.base
    called: list[int] = []

    async def is_ready(run: Any, job: Any) -> bool:
        if run.id == 2 and not called:
            await anyio.to_thread.run_sync(
                lambda: study.database.write(lambda tables: delete_runs(tables, [2]))
            )
        return bool(run.state == "CREATED")

    async def act(runs: Any, **params: Any) -> None:
        called.extend(found.id for found, _ in runs)

    workflow.mult.createTask(x=[1.0, 2.0, 3.0])
    workflow.add_action("act", "mult", is_ready, f=act)
    anyio.run(workflow.check_event, "act", "mult")

    assert called == [1, 3]


@pytest.mark.parametrize(
    "form", [lambda flag: lambda: flag(), lambda flag: lambda run, job: flag()]
)
def test_what_no_database_tells_is_noticed_on_the_timer(workflow: Workflow, form: Any) -> None:
    n_asked = 0

    def flag() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked >= 30

    workflow.wait_s = 0.01
    workflow.mult.createTask(x=1.0)
    workflow.add_action("end", "mult", form(flag), f=finish)

    assert run(workflow, wait_for_the_end, outcome=None) == 0


async def wait_for_the_end(workflow: Workflow, **params: Any) -> None:
    await anyio.sleep_forever()


def test_a_run_that_begins_again_is_awaited_again(workflow: Workflow) -> None:
    n_executed = 0

    def fail_the_second_time(study: Study, row: Any) -> str:
        nonlocal n_executed
        n_executed += 1
        return "FINISHED" if n_executed == 1 else "FAILED"

    async def main(workflow: Workflow, **params: Any) -> None:
        found = await workflow.mult.createTask(x=1.0)
        assert found[0][0].has_finished
        workflow.mult.base.run(1).state = "CREATED"
        await workflow.mult.createTask(x=1.0)

    with pytest.raises(RunsFailed, match=r"mult\.1"):
        run(workflow, main, outcome=fail_the_second_time)

    assert n_executed == 2
    assert "has_finished" not in workflow.mult.base.run(1)


def test_an_error_handler_sees_what_another_one_has_changed_at_the_end(
    workflow: Workflow,
) -> None:
    asked: list[None] = []
    has_raised: list[bool] = []
    got: list[int] = []

    def give_up(workflow: Workflow) -> None:
        for found, _ in workflow.mult.select("x > 1"):
            found.state = "FAILED"

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler(lambda: bool(has_raised), give_up, event_name="give up")
        workflow.add_error_handler(
            "state = FAILED", lambda runs: got.extend(found.id for found, _ in runs)
        )
        workflow.add_action("count", event=lambda: asked.append(None), f=finish)
        while not asked:  # what the others wait for has been looked at
            await anyio.sleep(0)
        has_raised.append(True)
        raise ValueError("no")

    workflow.mult.createTask(x=[1.0, 2.0])

    with pytest.raises(ActionFailed, match="ValueError: no"):
        run(workflow, main, outcome=None)

    assert got == [2]


def test_what_ends_the_workflow_lets_an_error_handler_complete(workflow: Workflow) -> None:
    async def handler(workflow: Workflow, **params: Any) -> None:
        has_begun.set()
        for _ in range(50):
            await anyio.sleep(0)
        workflow.vars.handled = True

    async def main(workflow: Workflow, **params: Any) -> None:
        nonlocal has_begun
        has_begun = anyio.Event()
        workflow.add_error_handler(f=handler)
        workflow.mult.createTask(x=1.0)
        await has_begun.wait()
        raise SystemExit(3)

    has_begun: anyio.Event = None  # type: ignore[assignment]
    assert run(workflow, main, outcome=lambda study, row: "FAILED") == 3
    assert workflow.vars.handled is True


# databases that are away


@pytest.fixture
def away(tmp_path: Path) -> Iterator[tuple[Workflow, ServerProcess]]:
    """A workflow that has never read the two runs of its study ``norm``, and its server."""
    directory = write_workflow(tmp_path / "w", {"mult": None, "norm": None})
    workflow = Workflow(str(directory))
    workflow.run_name = "test"
    with process_serving(control.served(workflow)) as server:
        workflow.initialise()
        other = open_study(directory / "norm")
        other.create_tasks({"x": [1.0, 2.0]}, None, run_name="test", event_name="main")
        other.close()
        yield workflow, server
        workflow.close()


def read(workflow: Workflow) -> int:
    """What has to be asked of the server."""
    return len([job.x for _, job in workflow.norm.select("x > 1")])


@pytest.mark.slow
def test_conditions_wait_for_a_database_that_is_away(
    away: tuple[Workflow, ServerProcess], caplog: pytest.LogCaptureFixture
) -> None:
    workflow, server = away
    is_away = False

    def condition() -> bool:
        return is_away and read(workflow) == 1

    async def main(workflow: Workflow, **params: Any) -> None:
        nonlocal is_away
        workflow.add_action("end", event=condition, f=finish)
        server.kill()
        is_away = True
        workflow.add_action("never", event=lambda: False, f=finish)
        while "does not answer" not in caplog.text:
            await anyio.sleep(0)
        await anyio.to_thread.run_sync(server.start)
        await anyio.sleep_forever()

    assert run(workflow, main, outcome=None, seconds=60) == 0
    assert "answers again" in caplog.text


@pytest.mark.slow
def test_an_action_that_meets_a_database_that_is_away_begins_again(
    away: tuple[Workflow, ServerProcess],
) -> None:
    workflow, server = away
    found: list[int | None] = []

    async def action(workflow: Workflow, **params: Any) -> None:
        workflow.vars.begun = True
        found.append(None)
        if len(found) == 1:
            server.kill()
            killed.set()
        found[-1] = read(workflow)
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        nonlocal killed
        killed = anyio.Event()
        workflow.add_action("a", event=lambda: True, f=action)
        await killed.wait()
        await anyio.to_thread.run_sync(server.start)
        await anyio.sleep_forever()

    killed: anyio.Event = None  # type: ignore[assignment]
    assert run(workflow, main, outcome=None, seconds=60) == 0
    assert len(found) > 1
    assert found[0] is None
    assert found[-1] == 1
    assert workflow.vars.begun is True


def test_an_action_begins_again_whose_runs_cannot_be_looked_up_for_a_moment(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_run = Rows.has_run
    n_lost = 0

    def losing(rows: Rows, run_id: int) -> bool:
        nonlocal n_lost
        if current_session() is not None and n_lost == 0:
            n_lost += 1
            raise ClientDisconnected("timed out waiting for connection")
        return has_run(rows, run_id)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("end", "mult", "state = CREATED", f=finish)
        workflow.mult.createTask(x=1.0)
        monkeypatch.setattr(Rows, "has_run", losing)

    assert run(workflow, main, outcome=None) == 0
    assert n_lost == 1


def test_a_database_that_cannot_be_written_ends_the_workflow(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_tries = 0

    def failing(*arguments: Any, **options: Any) -> None:
        nonlocal n_tries
        n_tries += 1
        monkeypatch.setattr(store_patience, "FAILING_S", 0.0 if n_tries > 1 else FOR_EVER_S)
        raise RuntimeError("the file is damaged")

    async def action(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        monkeypatch.setattr(server._File, "tpc_vote", failing)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("a", event=lambda: True, f=action)
        await anyio.sleep_forever()

    with pytest.raises(DatabaseFailed, match="RuntimeError: the file is damaged"):
        run(workflow, main, outcome=None)
    assert n_tries > 2  # the first time it may have been a server that ends


def test_runs_that_failed_are_named_though_the_database_is_away_just_then(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = loop.runs_failed
    n_asked = 0

    def asked(workflow: Workflow, trigger: Any) -> Any:
        def ask() -> Any:
            nonlocal n_asked
            n_asked += 1
            if n_asked == 1:
                raise DatabaseUnavailable("of mult", "no server answers")
            return failed(workflow, trigger)

        return patiently(workflow.mult.base.database, ask)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        workflow.add_error_handler()
        await anyio.sleep_forever()

    monkeypatch.setattr(loop, "runs_failed", asked)
    with pytest.raises(RunsFailed):
        run(workflow, main, outcome=lambda study, row: "FAILED")


@pytest.mark.slow
def test_work_that_is_done_is_committed_when_the_database_is_back(
    away: tuple[Workflow, ServerProcess],
) -> None:
    workflow, server = away
    n_begun = 0

    async def action(workflow: Workflow, **params: Any) -> None:
        nonlocal n_begun
        n_begun += 1
        workflow.norm.createTask(x=3.0)
        workflow.finished = True
        server.kill()
        killed.set()

    async def main(workflow: Workflow, **params: Any) -> None:
        nonlocal killed
        killed = anyio.Event()
        workflow.add_action("a", event=lambda: True, f=action)
        await killed.wait()
        await anyio.to_thread.run_sync(server.start)
        await anyio.sleep_forever()

    killed: anyio.Event = None  # type: ignore[assignment]
    assert run(workflow, main, outcome=None, seconds=60) == 0
    assert n_begun == 1
    assert workflow.norm.base.run(3).job.x == 3.0


def test_an_action_that_others_always_get_in_the_way_of_ends_the_workflow(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firings, "MOST_BEGINNINGS", 3)
    seen: list[int] = []

    async def act(workflow: Workflow, **params: Any) -> None:
        study = workflow.mult.base
        seen.append(study.run(1).n)
        assert len(seen) <= 3
        await anyio.to_thread.run_sync(lambda: change(study, 1, n=seen[-1] + 1))
        study.run(1).n = 0

    workflow.mult.createTask(x=1.0)
    workflow.mult.base.run(1).n = 7
    workflow.add_action("act", event=lambda: True, f=act)
    with pytest.raises(ConflictsExhausted, match="act: gave up after 3 "):
        anyio.run(workflow.check_event, "act")

    assert seen == [7, 8, 9]


def test_actions_that_create_tasks_between_their_waits_do_not_hold_each_other_up(
    workflow: Workflow,
) -> None:
    n_begun = 0

    async def act(runs: Any, workflow: Workflow, **params: Any) -> None:
        nonlocal n_begun
        n_begun += 1
        assert n_begun < 50, "they begin again and again"
        for found, job in runs:
            found.state = "SEEN"
            for place in (10, 20):
                await workflow.mult.select().is_not_empty()
                workflow.norm.createTask(x=place + job.x)

    async def main(workflow: Workflow, **params: Any) -> None:
        for x in (1.0, 2.0, 3.0):
            workflow.add_action(f"act_{x:g}", "mult", f"state = FINISHED and x = {x}", f=act)
        workflow.mult.createTask(x=[1.0, 2.0, 3.0])
        made = workflow.norm.select("state = FINISHED")
        await until_changed(workflow, lambda: len(made) == 6)
        workflow.finished = True

    assert run(workflow, main) == 0


# firings that change nothing


@pytest.fixture
def finished(workflow: Workflow) -> Workflow:
    """A workflow with one run, which is FINISHED."""
    workflow.mult.createTask(x=1.0)
    workflow.mult.base.run(1).state = "FINISHED"
    return workflow


async def until(question: Callable[[], bool]) -> None:
    """Wait for something that no database tells."""
    while not question():
        await anyio.sleep(0)


def test_firing_that_changed_nothing_is_not_repeated_because_time_passes(
    finished: Workflow,
) -> None:
    n_calls = n_asked = 0

    def do_nothing(runs: Any) -> None:
        nonlocal n_calls
        n_calls += 1

    def on_timer() -> bool:
        nonlocal n_asked
        n_asked += 1
        return False

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("idle", "mult", "state = FINISHED", f=do_nothing)
        workflow.add_action("timer", event=on_timer, f=finish)
        await until(lambda: n_calls > 0 and n_asked > 10)
        before, last = n_calls, n_asked
        await until(lambda: n_asked > last + 10)
        assert n_calls == before
        workflow.vars.level = 1
        await until(lambda: n_calls > before)
        workflow.finished = True

    finished.wait_s = 0.01
    assert run(finished, main, outcome=None) == 0


@pytest.mark.parametrize("is_true", [True, False])
def test_firing_that_changed_nothing_is_told_if_anything_was_called(
    workflow: Workflow, caplog: pytest.LogCaptureFixture, is_true: bool
) -> None:
    caplog.set_level("INFO")
    answers = iter([True, is_true])  # when it is evaluated, and in the session
    is_void: list[bool] = []

    def condition() -> bool:
        return next(answers, False)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.register(Action("idle", "mult", condition, no_action, on_end=is_void.append))
        await until(lambda: len(is_void) > 0)
        workflow.finished = True

    assert run(workflow, main, outcome=None) == 0
    assert is_void == [not is_true]
    assert ("changed nothing" in caplog.text) is is_true


@pytest.mark.parametrize(
    "condition", [lambda: True, lambda run, job: True], ids=["workflow", "runs"]
)
def test_firing_that_changed_nothing_is_repeated_on_the_timer_if_it_rests_on_a_function(
    finished: Workflow, condition: Any
) -> None:
    n_calls = 0

    def end_in_the_end(workflow: Workflow) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 10:  # to set it to False would be some change, too
            workflow.finished = True

    finished.wait_s = 0.01
    finished.add_action("poll", "mult", condition, f=end_in_the_end)

    assert run(finished, wait_for_the_end, outcome=None) == 0


def test_firing_that_changed_nothing_is_repeated_for_what_changed_while_it_went_on(
    finished: Workflow,
) -> None:
    found: list[int] = []
    n_asked = 0
    is_changed = anyio.Event()

    async def read(workflow: Workflow) -> None:
        found.append(len(workflow.norm.select()))
        await is_changed.wait()
        workflow.finished = found[-1] == 1

    def asked() -> bool:
        nonlocal n_asked
        n_asked += 1
        return False

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("read", "mult", "state = FINISHED", f=read)
        workflow.add_action("asked", event=asked, f=finish)
        await until(lambda: len(found) > 0 and n_asked > 0)
        before = n_asked
        workflow.norm.createTask(x=1.0)
        await until(lambda: n_asked > before)
        is_changed.set()
        await anyio.sleep_forever()

    finished.wait_s = FOR_EVER_S
    assert run(finished, main, outcome=None, seconds=10) == 0
    assert found == [0, 1]
