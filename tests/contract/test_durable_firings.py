"""What workflows promise of firings: resumed after an interruption, once, on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko import crashpoints
from motoko.errors import DatabaseUnavailable, SessionConflict
from motoko.store.ledger import Ledger
from motoko.store.ranges import numbers
from motoko.study.waiting import commit_current
from motoko.workflow import Workflow
from motoko.workflow.actions import ActionRegistry
from motoko.workflow.loop import EventLoop
from motoko.workflow.triggers import Trigger
from motoko.workflow.upkeep.run_changes import retry_failed, update
from motoko.workflow.upkeep.run_values import Values
from tests.support.workflows import no_daemons, run, served_workflow, until

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


def records(workflow: Workflow) -> list[dict[str, Any]]:
    with workflow.vars.db.read() as ledger:
        return list(ledger.firings().values())


def orchestrator(
    action: Any, condition: Any, is_over: Callable[[Workflow], bool], **options: Any
) -> Any:
    """A ``main`` with two runs of mult and one action, which stops when ``is_over`` says so."""

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=[1.0, 2.0])
        workflow.add_action("act", "mult", condition, f=action, **options)
        await until(workflow, lambda: is_over(workflow))
        raise SystemExit(3)

    return main


def test_an_interrupted_firing_goes_on_with_the_same_runs(workflow: Workflow) -> None:
    called: list[list[int]] = []

    async def act(runs: Any, workflow: Workflow, **params: Any) -> None:
        called.append(sorted(found.id for found, _ in runs))
        for found, _ in runs:
            found.state = "FORWARDED"
        await workflow.norm.createTask(x=1.0)
        workflow.finished = True

    first = orchestrator(act, "state = FINISHED", lambda w: len(records(w)) == 1)
    code = run(
        workflow, first, outcome=lambda study, row: "FINISHED" if study.name == "mult" else None
    )
    interrupted = records(workflow)
    again = orchestrator(act, "state = FINISHED", lambda w: False)
    code_again = run(workflow, again)

    assert (code, code_again) == (3, 0)
    assert [record["ended"] for record in interrupted] == [None]
    assert called[0] == called[-1] == numbers(interrupted[0]["runs"])
    (record,) = [r for r in records(workflow) if r["began"] == interrupted[0]["began"]]
    assert record["ended"] > record["began"]
    assert record["created"] == {"norm": [[1, 1]]}
    assert numbers(record["updated"]["mult"]) == called[0]


def test_a_firing_that_an_action_finished_the_workflow_in_is_not_resumed(
    workflow: Workflow,
) -> None:
    async def waits(runs: Any, workflow: Workflow, **params: Any) -> None:
        await workflow.norm.createTask(x=1.0)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        workflow.add_action("act", "mult", "state = CREATED", f=waits)
        await until(workflow, lambda: records(workflow))
        workflow.finished = True

    assert run(workflow, main, outcome=None) == 0
    assert [record["ended"] is None for record in records(workflow)] == [False]


def test_an_action_that_fires_once_is_not_called_again(workflow: Workflow) -> None:
    called: list[int] = []

    async def act(runs: Any, **params: Any) -> None:
        called.extend(found.id for found, _ in runs)

    async def look(workflow: Workflow, **params: Any) -> None:
        workflow.vars.n_looks = workflow.vars.get("n_looks", 0) + 1

    def main(n_runs: int) -> Any:
        async def main(workflow: Workflow, **params: Any) -> None:
            workflow.add_action("act", "mult", "state = FINISHED", f=act, once=True)
            workflow.add_action("look", event=lambda: True, f=look, once=True)
            await workflow.mult.createTask(x=[float(x) for x in range(n_runs)])
            await until(
                workflow, lambda: len(called) >= n_runs and workflow.vars.get("n_looks", 0)
            )
            raise SystemExit(3)

        return main

    assert run(workflow, main(2)) == 3
    assert sorted(called) == [1, 2]
    assert run(workflow, main(3)) == 3
    assert sorted(called) == [1, 2, 3]
    assert workflow.vars.n_looks == 1


def test_a_firing_that_changed_nothing_leaves_no_record(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        was_called = anyio.Event()

        async def act(runs: Any, **params: Any) -> None:
            was_called.set()

        workflow.mult.createTask(x=[1.0, 2.0])
        workflow.add_action("act", "mult", "state = FINISHED", f=act)
        await was_called.wait()
        raise SystemExit(3)

    assert run(workflow, main) == 3
    assert records(workflow) == []


def test_an_action_that_fires_once_does_so_by_hand_too(workflow: Workflow) -> None:
    called: list[list[int]] = []

    async def act(runs: Any, **params: Any) -> None:
        called.append(sorted(found.id for found, _ in runs))

    async def check() -> None:
        await workflow.check_event("act", "mult")
        await workflow.check_events()

    workflow.mult.createTask(x=1.0)
    workflow.add_action("act", "mult", "state = CREATED", f=act, once=True)
    anyio.run(check)

    assert called == [[1]]


def test_a_firing_that_begins_again_keeps_to_the_runs_it_began_with(workflow: Workflow) -> None:
    called: list[list[int]] = []

    async def act(runs: Any, workflow: Workflow, **params: Any) -> None:
        called.append(sorted(found.id for found, _ in runs))
        for found, _ in runs:
            found.note = "taken"
        await workflow.mult.select("note = taken")
        if len(called) == 1:
            raise SessionConflict("something else")

    async def fire() -> None:
        loop = EventLoop(workflow, {}, 1.0)
        loop._rule(("mult", "act"), action)
        firing = loop._history.begin(action, Trigger("mult", (1, 2)))
        await loop._call(loop.rules["mult", "act"], Trigger("mult", (1, 2)), firing)

    workflow.mult.createTask(x=[1.0, 2.0])
    workflow.mult.base.run(2).state = "OTHER"
    workflow.add_action("act", "mult", "state = CREATED", f=act)
    action = workflow.actions["mult", "act"]
    anyio.run(fire)

    assert called == [[1], [1]]


class Died(BaseException):
    """An orchestrator is no more."""


@contextmanager
def dying_before_the_end_is_recorded() -> Iterator[None]:
    """An orchestrator is gone once the workflow is finished, before that is recorded."""
    before = crashpoints._chosen, crashpoints._die

    def die(chosen: Any) -> None:
        raise Died

    chosen = {"workflow.finished": crashpoints._Chosen(1, "")}
    crashpoints._chosen, crashpoints._die = chosen, die
    try:
        with pytest.raises(Died):
            yield
    finally:
        crashpoints._chosen, crashpoints._die = before


def update_failed(workflow: Workflow, run_name: str) -> None:
    study = workflow.mult.base
    update(workflow, {study: [1]}, {study.name: Values({"state": "CREATED"}, {})})


@pytest.mark.parametrize("is_finished", [True, False])
def test_an_end_that_was_said_and_not_recorded_is_come_to_again(
    workflow: Workflow, is_finished: bool
) -> None:
    called: list[str] = []

    async def act(workflow: Workflow, **params: Any) -> None:
        called.append("act")
        workflow.norm.createTask(x=1.0)
        if not is_finished:
            raise SystemExit("no luck")
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        called.append("main")
        if called.count("main") == 2:
            raise SystemExit(7)
        workflow.add_action("act", event=lambda: True, f=act, once=True)
        await anyio.sleep_forever()

    with dying_before_the_end_is_recorded():
        run(workflow, main, outcome=None)
    with workflow.vars.db.read() as ledger:
        assert not ledger.run_name("test")["finished"]

    assert run(workflow, main, outcome=None) == (0 if is_finished else 1)

    assert called == ["main", "act"]
    assert workflow.exit_text == ("" if is_finished else "no luck")
    with workflow.vars.db.read() as ledger:
        assert ledger.run_name("test")["finished"]
    assert run(workflow, main, outcome=None) == 7  # it is begun again, as a finished one is


@pytest.mark.parametrize("put_back", [retry_failed, update_failed])
def test_what_is_put_back_after_an_end_that_was_not_recorded_is_done(
    workflow: Workflow, put_back: Callable[[Workflow, str], object]
) -> None:
    n_begun = 0

    async def act(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        nonlocal n_begun
        n_begun += 1
        workflow.mult.createTask(x=1.0)
        workflow.add_action("act", "mult", "state = FAILED", f=act)

    with dying_before_the_end_is_recorded():
        run(workflow, main, outcome=lambda study, row: "FAILED")
    put_back(workflow, "test")

    assert run(workflow, main) == 0
    assert n_begun == 2
    assert workflow.mult.base.counts("test") == {"FINISHED": 1}


def test_an_end_that_is_taken_back_is_none(workflow: Workflow) -> None:
    async def undo(workflow: Workflow, **params: Any) -> None:
        with workflow.session():
            workflow.finished = True
            workflow.finished = False
        raise SystemExit(0)

    with dying_before_the_end_is_recorded():
        run(workflow, undo, outcome=None)
    with workflow.vars.db.read() as ledger:
        assert ledger.run_name("test").get("said_end") is None


def test_what_was_interrupted_is_not_said_to_be_unregistered_when_main_finishes_at_once(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(workflow: Workflow, **params: Any) -> None:
        workflow.norm.createTask(x=1.0)
        await commit_current()
        await anyio.sleep_forever()

    async def finishes(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("act", "mult", "state = FINISHED", f=act)
        workflow.finished = True

    first = orchestrator(act, "state = FINISHED", lambda w: len(records(w)) == 1)
    assert run(workflow, first) == 3
    assert [record["ended"] for record in records(workflow)] == [None]
    workflow.actions = ActionRegistry()

    assert run(workflow, finishes, outcome=None) == 0

    assert "nobody registers it" not in caplog.text
    assert [record["ended"] is None for record in records(workflow)] == [False]


def test_what_was_interrupted_and_is_not_registered_stays_open(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(workflow: Workflow, **params: Any) -> None:
        workflow.norm.createTask(x=1.0)
        await commit_current()
        await anyio.sleep_forever()

    async def finishes(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True

    first = orchestrator(act, "state = FINISHED", lambda w: len(records(w)) == 1)
    assert run(workflow, first) == 3
    workflow.actions = ActionRegistry()

    assert run(workflow, finishes, outcome=None) == 0

    assert "act@mult was interrupted" in caplog.text
    assert [record["ended"] for record in records(workflow)] == [None]


def test_an_end_that_comes_while_the_server_is_away_is_recorded(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_run_name = Ledger.set_run_name
    n_refused = 0

    def away(ledger: Ledger, name: str, **facts: Any) -> None:
        nonlocal n_refused
        if facts.get("finished") and n_refused < 2:
            n_refused += 1
            raise DatabaseUnavailable("of the workflow", "the connection is lost")
        set_run_name(ledger, name, **facts)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.finished = True

    monkeypatch.setattr(Ledger, "set_run_name", away)
    code = run(workflow, main, outcome=None)

    assert (code, n_refused) == (0, 2)
    with workflow.vars.db.read() as ledger:
        assert ledger.run_name("test")["finished"]
