"""Whoever watches a study sees every change, also after a look that failed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from motoko.errors import DatabaseUnavailable
from motoko.store.address import Served
from motoko.store.database import Database
from motoko.store.deletion import delete_runs
from motoko.store.feed import Change
from motoko.store.patience import patience
from motoko.store.session import entered
from motoko.store.snapshot import Snapshot
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.study.waiting import until_over, until_true
from motoko.workflow.firings import in_session
from tests.support.studies import ServerProcess, open_study, running_study, write_study
from tests.support.waiting import wait_until

Seen = list[set[int] | None]
DEADLINE_S = 20


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with running_study(tmp_path / "mult") as found:
        found.create_tasks({"x": [1.0, 2.0]}, None, run_name="a", event_name="main")
        yield found


class Watching:
    """A watcher that keeps what it was told."""

    def __init__(self, study: Study) -> None:
        self.seen: Seen = []
        self._has_looked = anyio.Event()
        self.stop = study.lookout.watch(self._look)

    def _look(self, tables: Tables, changed: set[int] | None) -> None:
        self.seen.append(changed)
        self._has_looked.set()

    async def next(self) -> set[int] | None:
        with anyio.fail_after(DEADLINE_S):
            while not self.seen:
                self._has_looked = anyio.Event()
                await self._has_looked.wait()
        return self.seen.pop(0)


def run(body: Callable[[], Any]) -> None:
    anyio.run(body)


def fail_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next look find the database away."""
    renew = Snapshot.renew

    def failing(snapshot: Snapshot[Any]) -> Any:
        monkeypatch.setattr(Snapshot, "renew", renew)
        raise DatabaseUnavailable("of mult", "the connection to the server is lost")

    monkeypatch.setattr(Snapshot, "renew", failing)


@pytest.fixture
def other(study: Study) -> Iterator[Study]:
    """The same study, as another process has it."""
    found = open_study(study.directory)
    yield found
    found.close()


def test_a_change_is_seen_though_a_task_of_the_same_session_had_read_before_it(
    study: Study, other: Study
) -> None:
    study.wait_s = math.inf
    running = study.parse("state = RUNNING")

    async def body() -> None:
        n_asked = 0
        has_looked_twice = anyio.Event()

        def question() -> bool:
            nonlocal n_asked
            n_asked += 1
            if n_asked == 2:  # the first look of a new watcher is over: only news wakes it now
                has_looked_twice.set()
            return study.count(running) > 0

        async def sibling() -> None:
            await has_looked_twice.wait()
            assert study.run(1).state == "CREATED"
            with entered(None):
                await anyio.to_thread.run_sync(setattr, other.run(1), "state", "RUNNING")

        async with anyio.create_task_group() as group:
            group.start_soon(sibling)
            await until_true([study], question)

    async def main() -> None:
        with anyio.fail_after(DEADLINE_S):
            await in_session(body, "an action")

    run(main)


def delete(study: Study, *run_ids: int) -> None:
    study.database.write(lambda tables: delete_runs(tables, run_ids))


def test_a_run_that_another_process_deletes_is_among_what_changed(
    study: Study, other: Study
) -> None:
    async def main() -> None:
        delete(study, 2)
        watching = Watching(study)
        assert await watching.next() is None
        await anyio.to_thread.run_sync(delete, other, 1)

        assert await watching.next() == {1}
        watching.stop()

    run(main)


def test_a_run_that_another_process_deletes_ends_the_wait_for_it(
    study: Study, other: Study
) -> None:
    async def main() -> None:
        looked = Watching(study)

        async def delete_soon() -> None:
            await looked.next()
            await anyio.to_thread.run_sync(delete, other, 1)

        async with anyio.create_task_group() as group:
            group.start_soon(delete_soon)
            with anyio.fail_after(DEADLINE_S):
                [failed] = await until_over({study: [1]})
        looked.stop()

        assert (failed.run_id, failed.cause) == (1, "it was deleted")

    run(main)


def test_runs_that_do_not_execute_in_a_state_of_ones_own_are_waited_for_no_longer(
    study: Study, other: Study
) -> None:
    def change(run_id: int, **changes: Any) -> None:
        other.database.write(lambda tables: tables.update_run(run_id, changes))

    async def main() -> None:
        looked = Watching(study)

        async def end_soon() -> None:
            await looked.next()
            await anyio.to_thread.run_sync(partial(change, 2, state="SKIPPED"))
            await anyio.to_thread.run_sync(partial(change, 1, end_time=2.0))

        change(1, state="SUBMITTED", nonce="a", attempt=1)
        change(1, state="CONVERGED")
        async with anyio.create_task_group() as group:
            group.start_soon(end_soon)
            with anyio.fail_after(DEADLINE_S):
                assert await until_over({study: [1, 2]}) == []
        looked.stop()

    run(main)


def test_what_no_change_tells_is_asked_again_in_time(study: Study) -> None:
    study.wait_s = 0.001
    answers = iter([False] * 5)

    async def main() -> None:
        with anyio.fail_after(DEADLINE_S):
            await until_true([study], lambda: next(answers, True))

    run(main)

    assert next(answers, None) is None


def test_a_first_look_that_fails_is_made_up_for(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        fail_once(monkeypatch)
        watching = Watching(study)

        assert await watching.next() is None
        watching.stop()

    run(main)


def test_a_look_at_a_change_that_fails_is_made_up_for(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        watching = Watching(study)
        assert await watching.next() is None
        fail_once(monkeypatch)
        study.database.feed.tell(Change(runs={1}))

        assert await watching.next() is None
        watching.stop()

    run(main)


def test_a_change_of_a_database_that_is_away_is_looked_at_when_it_is_back(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        watching = Watching(study)
        assert await watching.next() is None
        is_connected = Database.is_connected
        asked = anyio.Event()

        def away(database: Any) -> bool:
            asked.set()
            return False

        monkeypatch.setattr(Database, "is_connected", property(away))
        study.database.feed.tell(Change(runs={1}))
        await asked.wait()
        assert watching.seen == []
        monkeypatch.setattr(Database, "is_connected", is_connected)

        assert await watching.next() is None
        watching.stop()

    run(main)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{1}, {2}], {1, 2}),
        ([None, {2}], None),
        ([{1}, None], None),
        ([{1}, None, {2}], None),
    ],
)
def test_changes_between_two_looks_are_seen_together(
    study: Study, changes: list[set[int] | None], expected: set[int] | None
) -> None:
    async def main() -> None:
        watching = Watching(study)
        assert await watching.next() is None
        for runs in changes:  # the loop does not turn meanwhile
            change = Change(is_everything=True) if runs is None else Change(runs=runs)
            study.database.feed.tell(change)

        assert await watching.next() == expected
        assert watching.seen == []
        watching.stop()

    run(main)


def test_a_watcher_that_fails_is_shown_everything_later_and_disturbs_nobody(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    seen: Seen = []

    async def main() -> None:
        has_recovered = anyio.Event()

        def failing(tables: Tables, changed: set[int] | None) -> None:
            seen.append(changed)
            if len(seen) == 2:
                raise ValueError("a mistake")
            if len(seen) == 3:
                has_recovered.set()

        stop = study.lookout.watch(failing)
        watching = Watching(study)
        assert await watching.next() is None
        study.database.feed.tell(Change(runs={1}))

        assert await watching.next() == {1}
        with anyio.fail_after(DEADLINE_S):
            await has_recovered.wait()
        stop()
        watching.stop()
        assert watching.seen == []

    run(main)

    assert seen == [None, {1}, None]
    assert caplog.text.count("ValueError: a mistake") == 1


def test_a_look_that_fails_for_another_reason_is_made_up_for_and_told(
    study: Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renew = Snapshot.renew

    def failing(snapshot: Snapshot[Any]) -> Any:
        monkeypatch.setattr(Snapshot, "renew", renew)
        raise KeyError("an object")

    async def main() -> None:
        watching = Watching(study)
        assert await watching.next() is None
        monkeypatch.setattr(Snapshot, "renew", failing)
        study.database.feed.tell(Change(runs={1}))

        assert await watching.next() is None
        watching.stop()

    run(main)

    assert "KeyError: 'an object'" in caplog.text


def test_a_listener_that_fails_keeps_no_news_from_others(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Change] = []

    def failing(change: Change) -> None:
        raise ValueError("a mistake")

    stops = [study.database.feed.listen(failing), study.database.feed.listen(heard.append)]
    study.database.feed.tell(Change(runs={1}))
    for stop in stops:
        stop()

    assert heard == [Change(runs={1})]
    assert "ValueError: a mistake" in caplog.text


def test_news_of_a_database_that_is_away_leads_to_one_look(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        watching = Watching(study)
        await watching.next()
        loop = study.lookout.loop
        timers: list[asyncio.TimerHandle] = []
        call_at = loop.call_at

        def counted(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
            timers.append(call_at(*arguments, **options))
            return timers[-1]

        with monkeypatch.context() as away:
            away.setattr(Database, "is_connected", False)
            away.setattr(loop, "call_at", counted)
            for _ in range(20):
                study.database.feed.tell(Change(is_everything=True))
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()
            assert len(timers) == 1

        assert await watching.next() is None
        watching.stop()

    run(main)


@pytest.mark.slow
def test_the_loop_goes_on_while_a_question_lacks_its_database(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path / "mult"))
    server = ServerProcess([Served(study.database_file, study.address)])
    server.start()
    study.initialise()
    study.create_tasks({"x": 1.0}, None, run_name="a", event_name="main")
    other = open_study(study.directory)
    is_closed = anyio.Event()

    def question() -> bool:
        if not is_closed.is_set():
            other.run(1).state = "RUNNING"
            study.database.await_news()  # what is known of it is too old now
            server.kill()
            wait_until(lambda: study.database.is_away)
            is_closed.set()
        return study.run(1).state == "RUNNING"

    async def main() -> None:
        async def bring_back() -> None:
            await is_closed.wait()
            await anyio.to_thread.run_sync(server.start)

        async with anyio.create_task_group() as group:
            group.start_soon(bring_back)
            with anyio.fail_after(DEADLINE_S):
                await until_true([study], question)

    try:
        with patience(3):  # it would be in vain: the loop has to go on for it
            run(main)
    finally:
        study.close()
        other.close()
        server.kill()
