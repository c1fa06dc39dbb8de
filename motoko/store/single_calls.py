"""Calls outside any session: each is one by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from motoko.crashpoints import reached
from motoko.errors import DatabaseUnavailable, SessionConflict
from motoko.store.database import Database, V, Write
from motoko.store.ledger import Ledger
from motoko.store.looking import Looking
from motoko.store.operations import Operation
from motoko.store.patience import patiently
from motoko.store.session import Session
from motoko.store.snapshot import Snapshot
from motoko.store.tables import Tables

R = TypeVar("R")


class _Seen(NamedTuple):
    """A snapshot, the version of the feed that it is as new as, and what it shows."""

    snapshot: Snapshot[Any]
    version: int
    view: Any


class _Here(threading.local):
    """What the calling thread sees, by database."""

    def __init__(self) -> None:
        self.seen: dict[int, _Seen] = {}


class SingleCalls(Session):
    """Each operation is a session of its own; reading sees what is newest, in any thread.

    Whether a commit whose answer was lost took place is found out, as sessions do.

    A database that is away is waited for, in the calling thread, for at most PATIENCE_S, or
    what `patience` says. `Database.hurry` ends that: the task that waits is cancelled.
    """

    def __init__(self) -> None:
        super().__init__()
        #: By thread and database, since a snapshot's connection bears one thread at a time.
        self._snapshots: dict[tuple[threading.Thread, int], _Seen] = {}
        #: Those of the calling thread, by database, to be found without any lock.
        self._here = _Here()

    def view(self, database: Database[V]) -> V:
        seen = self._here.seen.get(id(database))
        if seen is None or seen.version != database.feed.version or not database.is_connected:
            seen = self._here.seen[id(database)] = self._newest(database)
        return cast("V", seen.view)

    def _newest(self, database: Database[Any]) -> _Seen:
        database.be_readable()
        with self._lock:
            version = database.feed.version
            key = threading.current_thread(), id(database)
            seen = self._snapshots.get(key)
            if seen is None:
                self._close_those_of_ended_threads()
        if seen is None or seen.version != version:
            snapshot = seen.snapshot if seen is not None else Snapshot(database)
            renewed = patiently(database, partial(_renewed, database, snapshot))
            seen = _Seen(snapshot, version, renewed)
            with self._lock:
                self._snapshots[key] = seen
        return seen

    def read(self, database: Database[V], question: Callable[[V], R]) -> R:
        try:
            return self._ask(database, question)
        except DatabaseUnavailable:
            pass
        except SessionConflict:
            self._here.seen.pop(id(database), None)
            with self._lock:
                seen = self._snapshots.pop((threading.current_thread(), id(database)), None)
            if seen is not None:
                seen.snapshot.close()
        return cast("R", patiently(database, partial(self._ask, database, question)))

    def _ask(self, database: Database[V], question: Callable[[V], R]) -> R:
        with Looking(database):
            return question(self.view(database))

    def run(self, database: Database[Tables], run_id: int, name: str) -> Mapping[str, Any]:
        try:
            with Looking(database):
                return self.view(database).run(run_id)
        except (DatabaseUnavailable, SessionConflict):
            return self.read(database, lambda tables: tables.run(run_id))

    def _close_those_of_ended_threads(self) -> None:
        for key in [key for key in self._snapshots if not key[0].is_alive()]:
            self._snapshots.pop(key).snapshot.close()

    def observe(self, database: Database[Tables], run_id: int, name: str) -> None:
        """Nothing rests on what is read: the next call is another session."""

    def observe_variable(self, database: Database[Ledger], name: str) -> None:
        """Nothing rests on what is read: the next call is another session."""

    def do(self, database: Database[Any], operation: Operation) -> Any:
        result = patiently(database, Write(database, operation.apply))
        reached("call.done")
        return result

    def after_commit(self, call: Callable[[], None]) -> None:
        call()

    def commit(self, *, is_last: bool = False) -> None:
        """Nothing to do: each call is committed when it returns."""

    def abort(self) -> None:
        """Nothing to do: each call is committed when it returns."""

    def close(self) -> None:
        """Let go of the snapshots."""
        with self._lock:
            self._here = _Here()
            for seen in self._snapshots.values():
                seen.snapshot.close()
            self._snapshots.clear()


def _renewed(database: Database[V], snapshot: Snapshot[V]) -> V:
    """What is newest, of the file if the server has gone meanwhile."""
    database.be_readable()
    return snapshot.renew()
