"""Tasks of one session: what they read and write while the session is being committed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.errors import SessionConflict
from motoko.store import unit
from motoko.store.session import Session, current_session, entered
from motoko.study.waiting import commit_current
from motoko.workflow import Workflow, firings
from motoko.workflow.firings import in_session
from tests.support.workflows import served_workflow

DEADLINE_S = 20


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        found.mult.createTask(x=1.0)
        yield found


@pytest.fixture
def other(workflow: Workflow) -> Iterator[Workflow]:
    found = Workflow(str(workflow.directory))
    found.run_name = workflow.run_name
    yield found
    found.close()


class Held:
    """The first commit over several databases stops in its thread until it is let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_come = threading.Event()
        self._may_go = threading.Event()
        monkeypatch.setattr(unit, "reached", self._reached)

    def _reached(self, point: str) -> None:
        if point == "commit.begun" and not self.has_come.is_set():
            self.has_come.set()
            assert self._may_go.wait(DEADLINE_S)

    async def come(self) -> None:
        assert await anyio.to_thread.run_sync(self.has_come.wait, DEADLINE_S)

    def let_through(self) -> None:
        assert not self._may_go.is_set()
        self._may_go.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def both(
    workflow: Workflow, held: Held, meanwhile: Callable[[], Any], after: Callable[[], Any]
) -> Callable[[], Awaitable[None]]:
    """An action of which one task waits, after it has done something, and another goes on."""

    async def wait() -> None:
        workflow.vars.note = "first"
        workflow.mult.createTask(x=2.0)
        await commit_current()

    async def go_on() -> None:
        if not held.has_come.is_set():
            await held.come()
            meanwhile()
            held.let_through()
            await commit_current()
        after()

    async def body() -> None:
        await asyncio.gather(wait(), go_on())

    return body


def points(workflow: Workflow, name: str = "mult") -> list[float]:
    return [job.x for _, job in workflow.task_manager(name).select()]


def test_siblings_of_a_commit_go_on_with_what_is_being_committed(
    workflow: Workflow, held: Held
) -> None:
    seen: list[Any] = []

    def meanwhile() -> None:
        seen.extend([points(workflow), workflow.vars.note])
        workflow.vars.note += ", then second"
        workflow.mult.createTask(x=2.0)
        [(made, _)] = workflow.mult.createTask(x=3.0)
        made.note = "new"
        workflow.norm.createTask(x=4.0)
        seen.append(points(workflow))

    anyio.run(in_session, both(workflow, held, meanwhile, lambda: None), "work")

    assert seen == [[1.0, 2.0], "first", [1.0, 2.0, 3.0]]
    assert (points(workflow), points(workflow, "norm")) == ([1.0, 2.0, 3.0], [4.0])
    assert workflow.vars.note == "first, then second"
    assert workflow.mult.base.run(3).note == "new"


def test_what_siblings_have_read_holds_still_when_the_commit_is_through(
    workflow: Workflow, other: Workflow, held: Held
) -> None:
    seen: list[float] = []

    def read_and_create() -> None:
        seen.append(workflow.mult.base.run(1).norm or 0.0)
        workflow.norm.createTask(x=seen[-1])

    def meanwhile() -> None:
        read_and_create()
        with entered(None):
            other.mult.base.run(1).norm = 10.0

    workflow.mult.base.run(1).state = "FINISHED"
    anyio.run(in_session, both(workflow, held, meanwhile, read_and_create), "work")

    assert seen == [0.0, 10.0]
    assert points(workflow, "norm") == [10.0]


def test_a_commit_that_meets_a_conflict_is_begun_again_with_what_went_on_from_it(
    workflow: Workflow, other: Workflow, held: Held
) -> None:
    def meanwhile() -> None:
        workflow.vars.note += ", then second"
        with entered(None):
            other.vars.note = "others"

    anyio.run(in_session, both(workflow, held, meanwhile, lambda: None), "work")

    assert workflow.vars.note == "first"
    assert points(workflow) == [1.0, 2.0]


def test_nothing_is_committed_that_went_on_from_what_was_not(
    workflow: Workflow, other: Workflow, held: Held
) -> None:
    session = Session()
    with entered(session):
        workflow.vars.note = "first"
        workflow.mult.createTask(x=2.0)

    with ThreadPoolExecutor() as pool, entered(session):
        commit = pool.submit(session.commit)
        held.has_come.wait(DEADLINE_S)
        workflow.vars.more = workflow.vars.note
        with entered(None):
            other.vars.note = "others"
        held.let_through()
        with pytest.raises(SessionConflict, match="variable 'note'"):
            commit.result()

    with pytest.raises(SessionConflict, match="gone on from"):
        session.commit()
    session.abort()
    assert "more" not in workflow.vars


def test_who_was_cut_off_in_a_commit_that_failed_begins_again(
    workflow: Workflow, other: Workflow, held: Held
) -> None:
    n_calls = 0

    async def first_half() -> None:
        workflow.vars.note = "first"
        workflow.mult.createTask(x=2.0)
        await commit_current()

    async def body() -> None:
        nonlocal n_calls
        n_calls += 1
        task = asyncio.ensure_future(first_half())
        if n_calls == 1:
            await held.come()
            task.cancel()  # the commit goes on in its thread, and nobody waits for it
            await asyncio.wait([task])
            with entered(None):
                other.vars.note = "others"
            held.let_through()
            session = current_session()
            assert session is not None
            with suppress(SessionConflict):
                await anyio.to_thread.run_sync(session.settle)
        else:
            await task
        workflow.vars.more = "second"

    anyio.run(in_session, body, "work")

    assert (n_calls, points(workflow)) == (2, [1.0, 2.0])
    assert (workflow.vars.note, workflow.vars.more) == ("first", "second")


def test_who_waits_for_the_commit_of_another_is_told_that_it_failed(
    workflow: Workflow, other: Workflow, held: Held
) -> None:
    session = Session()
    with entered(session):
        workflow.vars.note = "first"
        workflow.mult.createTask(x=2.0)

    with ThreadPoolExecutor() as pool:
        commits = [pool.submit(session.commit)]
        held.has_come.wait(DEADLINE_S)
        commits.append(pool.submit(session.commit))
        other.vars.note = "others"
        held.let_through()
        errors = [commit.exception() for commit in commits]

    assert [type(error) for error in errors] == [SessionConflict, SessionConflict]
    session.abort()


def test_the_turn_of_who_goes_on_to_create_is_kept_when_the_commit_is_through(
    workflow: Workflow,
) -> None:
    session, rival = Session(takes_turns=True), object()
    turn = workflow.mult.base.database.turn
    with entered(session):
        workflow.mult.createTask(x=2.0)
        session.seal()
        workflow.mult.createTask(x=3.0)

    session.settle()
    assert not turn.take(rival)
    session.commit()
    assert turn.take(rival)

    session.abort()
    assert points(workflow) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("is_here", [True, False])
def test_who_is_overtaken_again_and_again_commits_its_new_tasks_at_once(
    workflow: Workflow, other: Workflow, monkeypatch: pytest.MonkeyPatch, is_here: bool
) -> None:
    monkeypatch.setattr(firings, "MOST_BEGINNINGS", 20)
    monkeypatch.setattr(firings, "_MOST_IDS_TAKEN", 3)
    rival = workflow if is_here else other
    seen: list[list[float]] = []
    assert points(other) == [1.0]

    async def body() -> None:
        workflow.vars.note = "first"
        [(run, _)] = workflow.mult.createTask(x=-1.0)
        with entered(None):  # as main does, or another process, while this one waits
            other.mult.base.database.await_news()
            seen.append(points(other))
            rival.mult.createTask(x=float(10 + len(seen)))
        run.note = "made"
        workflow.vars.more = "second"

    anyio.run(in_session, body, "work")

    assert seen[-2:] == [[1.0, 11.0, 12.0], [1.0, 11.0, 12.0, 13.0, -1.0]]
    other.mult.base.database.await_news()
    assert points(other) == [1.0, 11.0, 12.0, 13.0, -1.0, 14.0]
    assert (workflow.vars.note, workflow.vars.more) == ("first", "second")
    assert workflow.mult.base.run(5).note == "made"


def test_who_goes_on_from_a_commit_sees_what_it_began_from_and_no_news(
    workflow: Workflow, other: Workflow
) -> None:
    session = Session()
    with entered(session):
        workflow.mult.createTask(x=2.0)
        with entered(None):
            other.mult.createTask(x=8.0)
            other.mult.createTask(x=9.0)
        workflow.mult.base.database.await_news()
        session.seal()

        assert points(workflow) == [1.0, 2.0]
    session.abort()
