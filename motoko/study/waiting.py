"""Waiting for runs: until they are over, or until a question about a study becomes true."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from motoko.errors import DatabaseUnavailable, FailedRun
from motoko.model import states
from motoko.store.database import Database
from motoko.store.patience import PAUSE_S, Absence, patience, patience_s
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


async def _begin_to_wait(studies: Iterable[Study]) -> None:
    await commit_current()
    databases = [study.database for study in studies]
    # One that was connected comes back by itself, in its time; others nobody would connect.
    await until_connected(database for database in databases if not database.is_away)


class _Runs:
    """Runs of one study that are awaited, and what has become of them."""

    def __init__(self, study: Study, run_ids: Iterable[int], told: Callable[[], None]) -> None:
        """``told`` is called whenever all of these are over."""
        self.study = study
        self.open_ids = set(run_ids)
        self.failed: dict[int, FailedRun] = {}
        self._awaited = frozenset(self.open_ids)
        self._told = told
        #: By run that has failed: its attempt, and how often it was seen to be put back.
        self._tries: dict[int, tuple[Any, int]] = {}
        self._n_put_back = 0

    def look(self, tables: Tables, changed: set[int] | None) -> None:
        """See what has become of them."""
        for run_id in self._awaited if changed is None else self._awaited & changed:
            if not tables.has_run(run_id):
                self.open_ids.discard(run_id)
                lost = FailedRun(self.study.name, run_id, DELETED, "it was deleted")
                self.failed[run_id] = lost
                continue
            row = tables.run(run_id)
            self.failed.pop(run_id, None)
            if states.has_ended(row):
                self.open_ids.discard(run_id)
                if states.has_failed(row):
                    self.failed[run_id] = failed_run(self.study, tables, run_id)
                    self._tries[run_id] = row.get("attempt"), self._n_put_back
            else:
                self._n_put_back += run_id not in self.open_ids
                self.open_ids.add(run_id)
        if not self.open_ids:
            self._told()

    def ends(self) -> dict[int, Any]:
        """Those that have failed, each with what tells this end of it from others."""
        return {run_id: self._tries.get(run_id) for run_id in self.failed}


async def until_over(runs: Mapping[Study, Sequence[int]]) -> list[FailedRun]:
    """Wait until none of the runs can be expected to change by itself any more.

    A run that has ever finished is over, whatever became of it since, as is one of which
    nothing executes in a state of the user's own. Returns those that ended badly,
    once the actions that are called for them have left them so.
    """
    await _begin_to_wait(runs)
    all_over = anyio.Event()

    def look() -> None:
        if not any(one.open_ids for one in awaited):
            all_over.set()

    awaited = [_Runs(study, run_ids, look) for study, run_ids in runs.items() if run_ids]
    if not awaited:
        return []
    with _awaited([(one.study, one.look) for one in awaited]) as called:
        while True:
            await all_over.wait()
            before = [one.ends() for one in awaited]
            for one, ends in zip(awaited, before, strict=True):
                if ends and called.decided is not None:
                    await called.decided(one.study.name, ends)
            if any(one.open_ids for one in awaited):
                all_over = anyio.Event()
            elif all(
                ends.items() >= one.ends().items()
                for one, ends in zip(awaited, before, strict=True)
            ):
                break
    return [one.failed[run_id] for one in awaited for run_id in sorted(one.failed)]


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
    studies = tuple(studies)
    await _begin_to_wait(studies)
    wait_s = min(wait_s, *(study.wait_s for study in studies), math.inf)
    has_news, away = anyio.Event(), _Away()

    def look(tables: Tables, changed: set[int] | None) -> None:
        has_news.set()

    with _awaited((study, look) for study in studies):
        while True:
            has_news = anyio.Event()
            # Another task of the session may have begun to read before the news: that snapshot
            # is given back first. What comes from here on sets the new event.
            await commit_current()
            if current_session() is None:
                answer = away.answer(question, studies)
            else:
                answer = question()
            if answer:
                return
            await commit_current()  # nothing is kept open meanwhile
            with anyio.move_on_after(wait_s if answer is not None else PAUSE_S):
                await has_news.wait()


class _Away:
    """Databases that may be away when a question is asked outside any session, in the loop."""

    def __init__(self) -> None:
        self._absence = Absence("waiting")

    def answer(self, question: Callable[[], bool], studies: Iterable[Study]) -> bool | None:
        """None while a database is away that it needs: nobody waits for that here."""
        if any(study.database.is_away for study in studies):
            return None
        try:
            with patience(0):
                found = question()
        except DatabaseUnavailable as error:
            self._absence.met(error)
            return None
        self._absence = Absence("waiting")
        return found
