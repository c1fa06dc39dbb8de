"""Waiting for runs: until they are over, or until a question about a study becomes true."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from motoko.errors import DatabaseUnavailable, FailedRun
from motoko.model import states
from motoko.store.database import Database
from motoko.store.patience import PAUSE_S, Absence, patience_s
from motoko.store.session import Session, current_session
from motoko.store.tables import Tables
from motoko.study.lookout import Watcher
from motoko.study.study import Study

R = TypeVar("R")

#: Said in place of the state of a run that is not there any more.
DELETED = "deleted"


Decide = Callable[[str, Iterable[int]], Awaitable[None]]


class Called:
    """Something that was called, with all tasks that it starts."""

    def __init__(self, decided: Decide | None = None) -> None:
        """``decided`` waits until others have done what they do with runs of a study that have
        failed: they may put them back."""
        #: How many waits for runs or selections are under way in it; they may be several.
        self.n_awaited = 0
        self.decided = decided


_called: ContextVar[Called | None] = ContextVar("called", default=None)


@contextmanager
def calling(decided: Decide | None = None) -> Iterator[Called]:
    """What awaits inside of the block does so on behalf of what it gives."""
    called = Called(decided)
    token = _called.set(called)
    try:
        yield called
    finally:
        _called.reset(token)


@contextmanager
def _awaited(watchers: Iterable[tuple[Study, Watcher]]) -> Iterator[Called]:
    """Inside the block somebody awaits what is shown to these."""
    called = _called.get() or Called()
    stops = [study.lookout.watch(watcher) for study, watcher in watchers]
    called.n_awaited += 1
    try:
        yield called
    finally:
        called.n_awaited -= 1
        for stop in stops:
            stop()


async def until_answered(database: Database[Any], call: Callable[[], R]) -> R:
    """Make a call that needs a database, in a thread, and again until that is there.

    As `patiently` does for whoever may block, and as long; the loop goes on meanwhile.
    """
    deadline = time.monotonic() + patience_s()
    absence = Absence("waiting")
    while True:
        try:
            return await anyio.to_thread.run_sync(call)
        except DatabaseUnavailable as error:
            if database.is_hurried or time.monotonic() > deadline:
                raise
            absence.met(error)
            await anyio.sleep(PAUSE_S)


async def until_connected(databases: Iterable[Database[Any]]) -> None:
    """Wait until servers answer for all; DatabaseUnavailable when one does not in time."""
    for database in databases:
        if not database.is_connected:
            await until_answered(database, database.connect)


async def commit(session: Session, what: str, *, is_last: bool = False) -> None:
    """Commit without blocking the loop, however long a database is away.

    The work is done and stays in memory; whether a commit whose answer was lost took place is
    found out. DatabaseFailed when waiting does not help.
    """
    absence = Absence(f"{what} is committed when the database is back")
    is_sealed = False
    while True:
        try:
            while not is_sealed:
                is_sealed = session.seal(is_last=is_last)
                if not is_sealed:  # another task's wait is being committed
                    await anyio.to_thread.run_sync(session.settle)
            await anyio.to_thread.run_sync(session.settle)
            return
        except DatabaseUnavailable as error:
            absence.met(error)
            await anyio.sleep(PAUSE_S)


async def settle(session: Session, what: str) -> None:
    """Wait, without blocking the loop, until it is known what became of a commit."""
    absence = Absence(f"{what} is committed when the database is back")
    while session.is_in_doubt:
        try:
            await anyio.to_thread.run_sync(session.settle)
        except DatabaseUnavailable as error:
            absence.met(error)
            await anyio.sleep(PAUSE_S)


async def abort(session: Session) -> None:
    """Abort a session, also while another task's wait is being committed in a thread."""
    if session.is_committing:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(session.abort)
    else:
        session.abort()


async def commit_current() -> None:
    """Commit the session of the calling task, if it has one, without blocking the loop."""
    session = current_session()
    if session is not None:
        await commit(session, "what comes before a wait")


async def until_over(study: Study, run_ids: Iterable[int]) -> list[FailedRun]:
    """Wait until none of the runs can be expected to change by itself any more.

    A run that has ever finished is over, whatever became of it since, as is one of which
    nothing executes in a state of the user's own. Returns those that ended badly,
    once the actions that are called for them have left them so.
    """
    await commit_current()
    awaited = frozenset(run_ids)
    open_ids = set(awaited)
    failed: dict[int, FailedRun] = {}
    #: By run that has failed: its attempt, and how often it was seen to be put back.
    tries: dict[int, tuple[Any, int]] = {}
    n_put_back = 0
    all_over = anyio.Event()

    def look(tables: Tables, changed: set[int] | None) -> None:
        nonlocal n_put_back
        for run_id in awaited if changed is None else awaited & changed:
            if not tables.has_run(run_id):
                open_ids.discard(run_id)
                failed[run_id] = FailedRun(study.name, run_id, DELETED, "it was deleted")
                continue
            row = tables.run(run_id)
            failed.pop(run_id, None)
            if states.has_ended(row):
                open_ids.discard(run_id)
                if states.has_failed(row):
                    failed[run_id] = failed_run(study, tables, run_id)
                    tries[run_id] = row.get("attempt"), n_put_back
            else:
                n_put_back += run_id not in open_ids
                open_ids.add(run_id)
        if not open_ids:
            all_over.set()

    if not awaited:
        return []
    with _awaited([(study, look)]) as called:
        while True:
            await all_over.wait()
            before = {run_id: tries.get(run_id) for run_id in failed}
            if before and called.decided is not None:
                await called.decided(study.name, before)
            if open_ids:
                all_over = anyio.Event()
            elif before.items() >= {i: tries.get(i) for i in failed}.items():
                break
    return [failed[run_id] for run_id in sorted(failed)]


def failed_run(study: Study, tables: Tables, run_id: int) -> FailedRun:
    """What is known of why a run failed."""
    row = tables.run(run_id)
    attempts = tables.attempts(run_id)
    # Made CREATED again, and CANCELLED: that has nothing to do with how an attempt ended.
    is_of_attempt = row["state"] != states.CANCELLED or row.get("nonce")
    last = attempts[-1] if attempts and is_of_attempt else None
    cause = "set so" if last is None else str(last.get("cause") or "no cause recorded")
    return FailedRun(study.name, run_id, row["state"], cause, study.policy_of(row).last)


async def until_true(
    studies: Iterable[Study], question: Callable[[], bool], wait_s: float = math.inf
) -> None:
    """Wait until a question is answered with yes.

    It is asked again at every change of the studies, and without one after ``wait_s`` seconds,
    or what each of the studies says of that.
    """
    await commit_current()
    studies = tuple(studies)
    wait_s = min(wait_s, *(study.wait_s for study in studies), math.inf)
    has_news = anyio.Event()

    def look(tables: Tables, changed: set[int] | None) -> None:
        has_news.set()

    with _awaited((study, look) for study in studies):
        while True:
            has_news = anyio.Event()
            # Another task of the session may have begun to read before the news: that snapshot
            # is given back first. What comes from here on sets the new event.
            await commit_current()
            if question():
                return
            await commit_current()  # nothing is kept open meanwhile
            with anyio.move_on_after(wait_s):
                await has_news.wait()
