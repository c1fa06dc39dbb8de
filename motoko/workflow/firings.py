"""Firings: an action's call inside a session, begun again when others got in its way."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from motoko.errors import (
    ConflictsExhausted,
    DatabaseUnavailable,
    SessionConflict,
    TasksRenumbered,
)
from motoko.host import NO_ROOM, in_words
from motoko.store.firing import Firing
from motoko.store.patience import PAUSE_S, Absence, patience_s
from motoko.store.session import Session, TurnTaken, current_session, entered
from motoko.store.share import IdsTaken
from motoko.store.turn import Turn
from motoko.study.waiting import abort, commit, settle
from motoko.workflow.actions import accepted
from motoko.workflow.threads import does_at_once, in_thread

log = logging.getLogger(__name__)

#: How often a piece of work is begun again after conflicts.
MOST_BEGINNINGS = 100
#: How often others may be given the ids of its new tasks before it commits those at once.
_MOST_IDS_TAKEN = 5
#: An action that waits for something else while it has created tasks holds others up so long.
_LONGEST_TURN_S = 120.0
#: Pause before an action is begun again that could open no more files.
_NO_ROOM_PAUSE_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of work in a session."""

    value: Any
    #: Whether it changed any database, at its end or at one of its waits.
    has_changed: bool
    #: The code, or the text, that it gave to ``sys.exit``, if it did.
    exit_code: int | str | None = None

    def result(self) -> Any:
        """The value; SystemExit if it gave a code."""
        if self.exit_code is not None:
            raise SystemExit(self.exit_code)
        return self.value


async def in_session(
    body: Callable[[], Awaitable[Any]], what: str, firing: Firing | None = None
) -> Outcome:
    """Run ``body`` in a session of its own and commit it, with the record of the firing.

    It is run again from its start after a conflict, when a database comes back that was away,
    when files can be opened again, and when tasks got other ids after a commit at one of its
    waits. When others create tasks in a study more often than it comes to its end, it commits
    its own as soon as they are made, and what it did before with them. ``sys.exit(n)`` in it
    commits too. Any other exception undoes what was not committed and is passed on, and so is
    TasksRenumbered at the end. All this is the same in a task group of the body.
    """
    n_conflicts = n_taken = 0
    lacks_room_since: float | None = None
    absence = Absence(f"{what} begins again when the database is back")
    turn: Turn | None = None
    while True:
        commits_tasks = n_taken >= _MOST_IDS_TAKEN
        session = Session(takes_turns=True, commits_tasks=commits_tasks, firing=firing)
        has_ended = False
        try:
            if turn is not None:
                await _until_given(session, turn)
            turn = None
            with entered(session):
                value, exit_code = await _until_exit(body)
                has_ended = True
                await commit(session, what, is_last=True)
            return Outcome(value, session.has_changed, exit_code)
        except TurnTaken as taken:
            turn = taken.turn
        except (SessionConflict, TasksRenumbered) as conflict:
            if has_ended and isinstance(conflict, TasksRenumbered):
                raise
            n_conflicts += 1
            n_taken += isinstance(conflict, IdsTaken)
            log.debug("%s begins again: %s", what, conflict)
            if n_conflicts == MOST_BEGINNINGS:
                raise ConflictsExhausted(what, n_conflicts) from conflict
            await anyio.sleep(random.uniform(0, 0.001 * 2 ** min(n_conflicts, 8)))
        except DatabaseUnavailable as error:
            absence.met(error)
            with suppress(SessionConflict, TasksRenumbered):  # it begins again anyway
                await settle(session, what)
            await anyio.sleep(PAUSE_S)
        except OSError as error:
            now = time.monotonic()
            if lacks_room_since is None:
                lacks_room_since = now
            if error.errno not in NO_ROOM or now - lacks_room_since > patience_s():
                raise
            log.warning("%s begins again when there is room: %s", what, in_words(error))
            await anyio.sleep(_NO_ROOM_PAUSE_S)
        finally:
            await abort(session)


async def _until_given(session: Session, turn: Turn) -> None:
    """Wait for a turn; when that takes too long the conflict may as well decide."""
    is_given = anyio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(is_given.set)

    session.wait_for(turn, tell)
    with anyio.move_on_after(_LONGEST_TURN_S) as scope:
        await is_given.wait()
    if scope.cancelled_caught:
        log.warning("an action has held others up for %g s", _LONGEST_TURN_S)
        session.abort()
        session.stop_taking_turns()


async def _until_exit(body: Callable[[], Awaitable[Any]]) -> tuple[Any, int | str | None]:
    try:
        return await body(), None
    except SystemExit as stop:
        return None, exit_code(stop)
    except ExceptionGroup as group:
        # What else went wrong beside a conflict may rest on what others have changed.
        found = list(_leaves(group))
        for kind in (TurnTaken, SessionConflict, TasksRenumbered, DatabaseUnavailable):
            for error in found:
                if isinstance(error, kind):
                    raise error from group
        if len(found) == 1:
            raise found[0] from group
        raise


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def exit_code(stop: SystemExit) -> int | str:
    """What was given to ``sys.exit``: a code, or a text, which stands for code 1."""
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    return str(stop.code)


async def call(f: Callable[..., Any], **offered: Any) -> Any:
    """Call a function, coroutine function or generator with what it takes of the offered."""
    return await _through(f(**accepted(f, offered)))


async def call_beside(
    f: Callable[..., Any], limiter: anyio.CapacityLimiter, **offered: Any
) -> Any:
    """As `call`, but a plain function is called in a thread, as many at once as the limiter
    allows. A task that is cancelled leaves it there, and nothing that it does then is kept."""
    if not does_at_once(f):
        return await call(f, **offered)
    session = current_session()
    assert session is not None
    work = functools.partial(f, **accepted(f, offered))
    async with limiter:
        result = await in_thread(work, on_leave=session.leave)
    return await _through(result)


async def _through(result: Any) -> Any:
    """What comes of what was called, when it is through."""
    if inspect.isawaitable(result):
        return await result
    if inspect.isasyncgen(result):
        return [item async for item in result]
    if inspect.isgenerator(result):
        items = []
        for item in result:
            items.append(await item if inspect.isawaitable(item) else item)
            await anyio.lowlevel.checkpoint()
        return items
    return result


def event(func: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Make an action out of a coroutine function, also when it is called directly.

    Its work is one session: committed when it returns, begun again from its start when others
    changed what it had read. The workflow does so for all actions that it fires; a direct
    call inside of one is part of that one.
    """
    name = getattr(func, "__qualname__", repr(func))

    @functools.wraps(func)
    async def action(*args: Any, **kwargs: Any) -> Any:
        log.info("action %s", name)

        async def body() -> Any:
            return await call(functools.partial(func, *args), **kwargs)

        if current_session() is not None:
            return await body()
        return (await in_session(body, name)).result()

    return action
