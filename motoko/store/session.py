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
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import transaction
from ZODB.POSException import ConflictError

from motoko.crashpoints import reached
from motoko.errors import (
    ConflictsExhausted,
    DatabaseUnavailable,
    SessionConflict,
    TasksRenumbered,
)
from motoko.store.database import MOST_ATTEMPTS, Database, V, back_off, undo
from motoko.store.decision import Decision, Part, complete
from motoko.store.firing import Effects, Firing
from motoko.store.guard import Guard
from motoko.store.ledger import Ledger
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

log = logging.getLogger(__name__)

R = TypeVar("R")


_current: ContextVar[Session | None] = ContextVar("motoko_session", default=None)


class TurnTaken(SessionConflict):
    """Another session of this process creates tasks in the study; begin again after it."""

    def __init__(self, database: Database[Any]) -> None:
        super().__init__(f"the numbering of {database.where}")
        self.turn = database.turn


class Session:
    """Reads and changes databases; nothing is seen by others before `commit`.

    Safe to use from the tasks of one loop and from the thread that commits it.
    """

    def __init__(self, *, takes_turns: bool = False, firing: Firing | None = None) -> None:
        """With ``takes_turns``, `do` raises TurnTaken rather than to create tasks in a study
        where another such session does; whoever owns the work begins it again later. Each
        commit keeps the record of the ``firing`` up to date."""
        self._lock = threading.RLock()
        self._firing = firing
        self._takes_turns = takes_turns
        self._refused: TurnTaken | None = None
        self._turns: set[Turn] = set()
        # Those that it got in line for, and no new task was made yet: they outlast a commit, or
        # sessions that commit before they create would give them to each other for ever.
        self._unused: set[Turn] = set()
        self._mark = ""
        self._manager: Any = None
        self._shares: dict[int, Share] = {}
        self._must_repeat = False
        self._is_in_doubt = False
        self._effects = Effects()
        #: Part of the commit that tells whether it took place, when its answer is lost.
        self._decider: Share | None = None
        #: A study where others came first with what this session was to make.
        self._renumbered: str | None = None
        self._after_commit: list[Callable[[], None]] = []
        #: Whether any commit of this session changed a database.
        self.has_changed = False

    @property
    def is_in_doubt(self) -> bool:
        """Whether a commit was tried of which nobody knows yet if it took place."""
        return self._is_in_doubt

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to commit."""
        return any(share.done for share in self._shares.values())

    def view(self, database: Database[V]) -> V:
        """What the session sees of a database, its own changes included."""
        with self._lock:
            view: V = self._share(database).view
            return view

    def read(self, database: Database[V], question: Callable[[V], R]) -> R:
        """Ask what the session sees of a database.

        SessionConflict when its snapshot is so old that a pack has dropped what it shows.
        """
        with database.translated():
            try:
                return question(self.view(database))
            except ConflictError as error:
                raise _too_old(database) from error

    def observe(self, database: Database[Tables], run_id: int, name: str) -> None:
        """Say that what follows rests on this entry of this run."""
        with self._lock:
            self._share(database).observe(run_id, name)

    def observe_variable(self, database: Database[Ledger], name: str) -> None:
        """Say that what follows rests on this variable."""
        with self._lock:
            self._share(database).observe_variable(name)

    def do(self, database: Database[Any], operation: Operation) -> Any:
        """Apply an operation; what it gives."""
        with self._lock:
            share = self._share(database)
            is_creation = isinstance(operation, CreateTasks)
            if is_creation and self._takes_turns:
                if not database.turn.take(self):
                    self._refused = TurnTaken(database)
                    raise self._refused
                self._turns.add(database.turn)
            if isinstance(operation, UpdateRun):
                for name in operation.changes:
                    share.observe(operation.run_id, name)
            elif isinstance(operation, SetVariable | RemoveVariable):
                share.observe_variable(operation.name)
            with database.translated():
                try:
                    result = operation.apply(share.view)
                except ConflictError as error:
                    raise _too_old(database) from error
            if is_creation and share.view.created:
                self._unused.discard(database.turn)
            share.done.append((operation, result))
            return result

    def wait_for(self, turn: Turn, given: Callable[[], None]) -> None:
        """Get in line for a turn, before any work; ``given`` is called when it has come."""
        self._turns.add(turn)
        self._unused.add(turn)
        turn.wait(self, given)

    def stop_taking_turns(self) -> None:
        """Let the commit decide between this session and others that create tasks."""
        self._takes_turns = False

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the session is committed; never, if it is aborted."""
        self._after_commit.append(call)

    def commit(self, *, is_last: bool = False) -> None:
        """Make everything visible to everybody, at once, and let go of the snapshots.

        With ``is_last`` the firing has come to its end. Raises SessionConflict when the work
        must be done anew, and DatabaseUnavailable when a server is away; after that `commit`
        may be called again and loses nothing. TasksRenumbered says that all of it is committed,
        and what the session was told of its tasks is not so any more; nobody is left to be
        misled by that at the end of a firing.
        """
        with self._lock:
            if self._refused is not None:
                raise self._refused
            if not self.is_changed and not self._has_record_to_keep(is_last):
                self._release()
                self._call_after()
                return
            for attempt in range(MOST_ATTEMPTS):
                try:
                    self._try_commit(is_last)
                except ConflictError:
                    self._must_repeat = True
                    back_off(attempt)
                    continue
                except DatabaseUnavailable:
                    self._must_repeat = self._is_in_doubt = True
                    raise
                except SessionConflict:
                    self._release()
                    raise
                if self._firing is not None:
                    reached("firing.ended" if is_last else "firing.kept")
                shares, renumbered = list(self._shares.values()), self._renumbered
                self._release()
                self._call_after()
                for share in shares:
                    share.database.tell(share.view)
                if renumbered is not None and not (is_last and self._firing is not None):
                    raise TasksRenumbered(renumbered)
                return
            self._release()
            raise ConflictsExhausted("a session", MOST_ATTEMPTS)

    def commit_patiently(self) -> None:
        """Like `commit`, but a database that is away is waited for as outside any session."""
        with self._lock:
            share = next(iter(self._shares.values()), None)
        if share is not None:
            patiently(share.database, self.commit)
        else:
            self.commit()

    def _try_commit(self, is_last: bool) -> None:
        ledger = self._ledger()
        somewhere = ledger or next(s.database for s in self._shares.values() if s.done)
        for share in self._shares.values():
            share.database.connect()
        with somewhere.translated():
            if self._is_in_doubt and self._has_happened():
                return
            if self._must_repeat:
                self._repeat()
            else:
                for share in self._shares.values():
                    share.check_news()
            changed = [share for share in self._shares.values() if share.is_changed]
            self.has_changed = self.has_changed or bool(changed)
            if ledger is not None and self._must_be_decided(changed, is_last):
                self._decide(ledger, is_last)
            elif changed:
                self._decider = changed[0]
                self._manager.get().note(self._mark)
                self._guard()
                self._manager.commit()

    def _decide(self, ledger: Database[Ledger], is_last: bool) -> None:
        """Commit what the workflow's database decides."""
        self._decider = decider = self._share(ledger)
        with ledger.deciding:
            shares = [s for s in self._shares.values() if s.is_changed and s is not decider]
            parts = [share.part() for share in shares]
            self._keep_record(decider, parts, is_last)
            decision = Decision(ledger, decider.view, self._mark, parts)
            decision.write_down()
            decision.mark_applied()
            self._manager.get().note(self._mark)
            self._guard()
            reached("commit.begun")
            self._manager.commit()
            reached("commit.through")
            decision.settle()
        self._adopt_effects()

    def _guard(self) -> None:
        """Let nothing that mattered change between the last look at it and the commit."""
        guarded = [share for share in self._shares.values() if share.rests_on_something]
        for share in guarded:
            share.connection._register()  # takes part: its storage is locked meanwhile
        if guarded:
            self._manager.get().join(Guard(guarded))

    def _has_happened(self) -> bool:
        """Find out whether a commit whose answer was lost took place, and complete it then."""
        decider = self._decider
        if decider is None or not decider.database.has_committed(self._mark, decider.since):
            return False
        ledger = self._ledger()
        if ledger is decider.database:
            self._adopt_effects()
            studies = {s.database.where: s.database for s in self._shares.values()}
            complete(ledger, studies, self._mark)
            for share in self._shares.values():
                if share.is_renumbered():
                    self._renumbered = share.database.where
        return True

    def _repeat(self) -> None:
        """Look at what is newest and apply the operations to that."""
        undo(self._manager)
        self._manager.begin()
        for share in self._shares.values():
            share.renew()
        for share in self._shares.values():
            share.repeat()
        self._must_repeat = self._is_in_doubt = False

    def _ledger(self) -> Database[Ledger] | None:
        """The workflow's database, if this session is one of a workflow."""
        if self._firing is not None:
            return self._firing.ledger
        ledgers = (share.database.ledger for share in self._shares.values())
        return next((ledger for ledger in ledgers if ledger is not None), None)

    def _must_be_decided(self, changed: list[Share], is_last: bool) -> bool:
        has_record = self._firing is not None and bool(changed)
        return has_record or len(changed) > 1 or self._has_record_to_keep(is_last)

    def _has_record_to_keep(self, is_last: bool) -> bool:
        firing = self._firing
        if not is_last or firing is None:
            return False
        return firing.is_kept or (firing.is_once and not firing.is_void)

    def _keep_record(self, decider: Share, parts: list[Part], is_last: bool) -> None:
        if self._firing is None:
            return
        of_variables = SetVariable | RemoveVariable
        names = {op.name for op, _ in decider.done if isinstance(op, of_variables)}
        created = {part.study: set(part.view.created) for part in parts}
        changed = {part.study: set(part.view.changed) for part in parts}
        self._effects = Effects(created, changed, names)
        ended = time.time() if is_last else None
        decider.view.set_firing(self._firing.key, self._firing.record(ended, self._effects))

    def _adopt_effects(self) -> None:
        if self._firing is not None:
            self._firing.add(self._effects)

    def abort(self) -> None:
        """Forget everything since the last commit."""
        with self._lock:
            self._after_commit.clear()
            self._unused.clear()
            self._release()

    def _call_after(self) -> None:
        calls, self._after_commit = self._after_commit, []
        for call in calls:
            call()

    def _share(self, database: Database[Any]) -> Share:
        share = self._shares.get(id(database))
        if share is None:
            if self._manager is None:
                self._mark = secrets.token_hex(8)
                self._manager = transaction.TransactionManager(explicit=True)
                self._manager.begin()
            share = self._shares[id(database)] = Share(database, self._manager)
        return share

    def _release(self) -> None:
        if self._manager is not None:
            undo(self._manager)
        for share in self._shares.values():
            share.connection.close()
        self._shares.clear()
        for turn in self._turns - self._unused:
            turn.leave(self)
        self._turns &= self._unused
        self._manager = self._decider = self._renumbered = None
        self._must_repeat = self._is_in_doubt = False


def _too_old(database: Database[Any]) -> SessionConflict:
    return SessionConflict(f"the age of the snapshot of {database.where}")


def current_session() -> Session | None:
    """The session that the calling task runs in, None outside of any."""
    return _current.get()


@contextmanager
def entered(session: Session | None) -> Iterator[Session | None]:
    """Make a session (or none) the current one of everything called inside."""
    token = _current.set(session)
    try:
        yield session
    finally:
        _current.reset(token)
