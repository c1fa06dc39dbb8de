"""A unit of work over several databases, committed as a whole.

A session reads from snapshots and applies its operations to them at once, so that it sees
what it did; nobody else does before the commit. When the commit meets a conflict, the session
takes new snapshots, checks that nothing it read or wrote was changed, applies its operations
again and commits that. Only if something was changed, or if tasks got other ids than those
handed out, does it give up with SessionConflict, and whoever owns the work starts it again.
What is committed stays so: tasks that get other ids after that are TasksRenumbered.

The current session is one object in a context variable: tasks that are started inside see
the same one, also after it went on to new snapshots. Without a current session each call is a
session of its own.

A commit may take long, when a server is away or slow, and tasks of one session do not wait for
each other's: what they read and write meanwhile is in the next unit, which begins with what is
being committed (see `unit`). Nothing is refused to them, and none of their calls waits for the
commit. When that has come through, the next unit is put on the newest snapshots, where what it
read and did has to be the same still: SessionConflict if it is not, as at a commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from motoko.errors import DatabaseUnavailable, SessionConflict, StudyError, TasksRenumbered
from motoko.store.database import Database, V
from motoko.store.firing import Firing
from motoko.store.ledger import Ledger
from motoko.store.looking import Looking
from motoko.store.operations import (
    CreateTasks,
    Operation,
    RemoveVariable,
    SetVariable,
    UpdateRun,
)
from motoko.store.patience import patiently
from motoko.store.share import Share
from motoko.store.tables import Tables
from motoko.store.turn import Turn
from motoko.store.unit import Unit

R = TypeVar("R")


_current: ContextVar[Session | None] = ContextVar("motoko_session", default=None)


_LEFT = "this call was left when its workflow ended: nothing that it does is kept any more"


class TurnTaken(SessionConflict):
    """Another session of this process creates tasks in the study; begin again after it."""

    def __init__(self, database: Database[Any]) -> None:
        super().__init__(f"the numbering of {database.where}")
        self.turn = database.turn


class Session:
    """Reads and changes databases; nothing is seen by others before `commit`.

    Safe to use from the tasks of one loop, and from threads, of which one commits it.
    """

    def __init__(
        self,
        *,
        takes_turns: bool = False,
        commits_tasks: bool = False,
        firing: Firing | None = None,
    ) -> None:
        """With ``takes_turns``, `do` raises TurnTaken rather than to create tasks in a study
        where another such session does; whoever owns the work begins it again later. With
        ``commits_tasks`` it commits as soon as there are new tasks: nobody else can be given
        their ids while the work goes on. Each commit keeps the record of the ``firing`` up to
        date."""
        #: Held for moments, never while anything is committed.
        self._lock = threading.RLock()
        #: Held by whoever commits.
        self._committing = threading.RLock()
        #: The one whose work this is, if it is that of one.
        self.firing = firing
        self._takes_turns = takes_turns
        self._commits_tasks = commits_tasks
        #: Why nothing of this session is to be committed any more.
        self._refused: SessionConflict | None = None
        # Those that it got in line for, and no new task was made yet: they outlast a commit, or
        # sessions that commit before they create would give them to each other for ever.
        self._unused: set[Turn] = set()
        self._unit: Unit | None = None
        #: What is being committed, or of which nobody knows whether it was.
        self._sealed: Unit | None = None
        self._after_commit: list[Callable[[], None]] = []
        self._is_left = False
        #: Whether any commit of this session changed a database.
        self.has_changed = False

    @property
    def is_in_doubt(self) -> bool:
        """Whether a commit was tried of which nobody knows yet if it took place."""
        return self._sealed is not None

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to commit."""
        return any(u.is_changed for u in (self._unit, self._sealed) if u is not None)

    def view(self, database: Database[V]) -> V:
        """What the session sees of a database, its own changes included.

        Good until the calling task waits for anything. What it raises later is ZODB's: `read`
        translates that.
        """
        with self._reading(database):
            view: V = self._share(database).view
            return view

    def read(self, database: Database[V], question: Callable[[V], R]) -> R:
        """Ask what the session sees of a database.

        SessionConflict when its snapshot is so old that a pack has dropped what it shows.
        """
        with self._reading(database):
            return question(self._share(database).view)

    def run(self, database: Database[Tables], run_id: int, name: str) -> Mapping[str, Any]:
        """The entries of a run, of which what follows rests on this one. Not to be changed."""
        with self._reading(database):
            share = self._share(database)
            share.observe(run_id, name)
            return cast("Tables", share.view).run(run_id)

    def observe(self, database: Database[Tables], run_id: int, name: str) -> None:
        """Say that what follows rests on this entry of this run."""
        with self._reading(database):
            self._share(database).observe(run_id, name)

    def observe_variable(self, database: Database[Ledger], name: str) -> None:
        """Say that what follows rests on this variable."""
        with self._reading(database):
            self._share(database).observe_variable(name)

    def do(self, database: Database[Any], operation: Operation) -> Any:
        """Apply an operation; what it gives."""
        with self._reading(database):
            unit, share = self._present_unit(), self._share(database)
            is_creation = isinstance(operation, CreateTasks)
            if is_creation and self._takes_turns:
                if not database.turn.take(self):
                    self._refused = TurnTaken(database)
                    raise self._refused
                unit.turns.add(database.turn)
            if isinstance(operation, UpdateRun):
                for name in operation.changes:
                    share.observe(operation.run_id, name)
            elif isinstance(operation, SetVariable | RemoveVariable):
                share.observe_variable(operation.name)
            result = operation.apply(share.view)
            has_made = is_creation and bool(share.view.created)
            if has_made:
                self._unused.discard(database.turn)
            share.done.append((operation, result))
        if has_made and self._commits_tasks:
            self.commit()
        return result

    def wait_for(self, turn: Turn, given: Callable[[], None]) -> None:
        """Get in line for a turn, before any work; ``given`` is called when it has come."""
        self._unused.add(turn)
        turn.wait(self, given)

    def stop_taking_turns(self) -> None:
        """Let the commit decide between this session and others that create tasks."""
        self._takes_turns = False

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once what was done until now is committed; never, if it is aborted."""
        with self._lock:
            self._after_commit.append(call)

    def commit(self, *, is_last: bool = False) -> None:
        """Make everything visible to everybody, at once, and let go of the snapshots.

        With ``is_last`` the firing has come to its end. Raises SessionConflict when the work
        must be done anew, and DatabaseUnavailable when a server is away; after that `commit`
        may be called again and loses nothing. TasksRenumbered says that all of it is committed,
        and what the session was told of its tasks is not so any more; nobody is left to be
        misled by that at the end of a firing.
        """
        before = self._sealed
        self.settle()
        if before is not None and not self.is_changed and (before.is_last or not is_last):
            return
        while not self.seal(is_last=is_last):
            self.settle()
        self.settle()

    def seal(self, *, is_last: bool = False) -> bool:
        """Choose all that was done until now for being committed, which `settle` does.

        False, and nothing is chosen, while an earlier choice is not settled. Never waits. To be
        called in the thread in which the session is used, since a view of it may be in use.
        """
        with self._lock:
            if self._sealed is not None:
                return False
            if self._refused is not None:
                raise self._refused
            unit = self._present_unit()
            unit.seal(is_last=is_last)
            unit.calls, self._after_commit = self._after_commit, []
            self._sealed, self._unit = unit, None
            if unit.must_be_kept():
                return True
            self._let_go(unit, is_through=True)
        for call in unit.calls:
            call()
        return True

    def settle(self) -> None:
        """Commit what was chosen for that, if anything is; raises what `commit` does."""
        with self._committing:
            unit = self._sealed
            if unit is None:
                if self._refused is not None:  # who waited here for another's commit is told
                    raise self._refused
                return
            try:
                unit.commit()
            except DatabaseUnavailable:
                raise
            except BaseException:
                self._let_go(unit, is_through=False)
                raise
            finally:
                self.has_changed = self.has_changed or unit.has_changed
            shares = unit.shares
            is_misled = unit.renumbered is not None and not (unit.is_last and self.firing)
            self._let_go(unit, is_through=not is_misled)
            for call in unit.calls:
                call()
            for share in shares:
                share.database.tell(share.view)
            if unit.renumbered is not None and is_misled:
                raise TasksRenumbered(unit.renumbered)

    def commit_patiently(self) -> None:
        """Like `commit`, but a database that is away is waited for as outside any session."""
        units = [unit for unit in (self._sealed, self._unit) if unit is not None]
        database = next((unit.shares[0].database for unit in units if unit.shares), None)
        if database is not None:
            patiently(database, self.commit)
        else:
            self.commit()

    @property
    def is_committing(self) -> bool:
        """Whether another thread commits it now, so that `settle` and `abort` wait for that."""
        is_free = self._committing.acquire(blocking=False)
        if is_free:
            self._committing.release()
        return not is_free

    def abort(self) -> None:
        """Forget everything since the last commit; one that is under way is waited for."""
        with self._committing, self._lock:
            units = [unit for unit in (self._sealed, self._unit) if unit is not None]
            turns = self._unused.union(*(unit.turns for unit in units))
            self._unused = set()
            self._sealed = self._unit = None
            self._after_commit.clear()
            for unit in units:
                unit.release()
            for turn in turns:
                turn.leave(self)

    def leave(self) -> None:
        """Do nothing in it any more: whoever still works with it, in a thread that nobody waits
        for, is refused. It is to be aborted then. Never waits."""
        self._is_left = True

    def _let_go(self, unit: Unit, *, is_through: bool) -> None:
        """It is committed, or never will be: then nothing that goes on from it is either, now
        or later. Who waited for the commit may have been cut off, and not have heard of it."""
        with self._lock:
            self._sealed = None
            if not is_through:
                self._refused = SessionConflict("what a session has gone on from")
            if self._unit is not None and not is_through:
                unit.turns |= self._unit.turns
                self._unit.release()
                self._unit = None
            unit.release()
            kept = self._unused | (self._unit.turns if self._unit is not None else set())
            for turn in unit.turns - kept:
                turn.leave(self)

    def _reading(self, database: Database[Any]) -> _Reading:
        """For all that looks at a database before the commit."""
        return _Reading(self, database)

    def is_newest(self, database: Database[Any]) -> bool:
        """Whether what the session sees of a database is all that was committed until now."""
        with self._lock:
            unit = self._unit
            share = unit.known(database) if unit is not None else None
        if unit is None or share is None:
            return True
        if unit.is_ahead:
            return False
        database.await_news()
        return share.version == database.feed.version

    def _share(self, database: Database[Any]) -> Share:
        return self._present_unit().share(database)

    def _present_unit(self) -> Unit:
        if self._is_left:
            raise StudyError(_LEFT)
        if self._unit is None:
            self._unit = Unit(self.firing) if self._sealed is None else self._sealed.ahead()
        elif self._unit.is_ahead and self._sealed is None:
            self._unit = self._unit.caught_up()
        return self._unit


class _Reading(Looking):
    """A look at a database while nobody else uses the session; no generator, for its speed."""

    __slots__ = ("_lock", "_session")

    def __init__(self, session: Session, database: Database[Any]) -> None:
        super().__init__(database)
        self._session = session
        self._lock = session._lock

    def __enter__(self) -> None:
        self._lock.acquire()

    def _is_newest(self) -> bool:
        return self._session.is_newest(self._database)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._lock.release()
        super().__exit__(kind, error, trace)


def current_session() -> Session | None:
    """The session that the calling task runs in, None outside of any."""
    return _current.get()


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """The current session, or else one of the block alone, committed at its end."""
    outer = current_session()
    if outer is not None:
        yield outer
        return
    session = Session()
    try:
        with entered(session):
            yield session
        session.commit_patiently()
    finally:
        session.abort()


@contextmanager
def entered(session: Session | None) -> Iterator[Session | None]:
    """Make a session (or none) the current one of everything called inside."""
    token = _current.set(session)
    try:
        yield session
    finally:
        _current.reset(token)
