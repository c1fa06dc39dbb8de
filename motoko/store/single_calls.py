"""Calls outside any session: each is one by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from motoko.crashpoints import reached
from motoko.errors import DatabaseUnavailable, SessionConflict
from motoko.store.database import Database, V, Write
from motoko.store.ledger import Ledger
from motoko.store.operations import Operation
from motoko.store.patience import patiently
from motoko.store.session import Session
from motoko.store.snapshot import Snapshot
from motoko.store.tables import Tables

R = TypeVar("R")


class SingleCalls(Session):
    """Each operation is a session of its own; reading sees what is newest, in any thread.

    Whether a commit whose answer was lost took place is found out, as sessions do.

    A database that is away is waited for, in the calling thread, for at most PATIENCE_S, or
    what `patience` says. `Database.hurry` ends that: the task that waits is cancelled.
    """

    def __init__(self) -> None:
        super().__init__()
        #: By thread and database, since a snapshot's connection bears one thread at a time.
        self._snapshots: dict[tuple[int, int], tuple[Snapshot[Any], int, Any]] = {}

    def view(self, database: Database[V]) -> V:
        with self._lock:
            version = database.feed.version
            key = threading.get_ident(), id(database)
            snapshot, known, view = self._snapshots.get(key, (None, -1, None))
        if snapshot is None or known != version:
            snapshot = snapshot or Snapshot(database)
            view = patiently(database, snapshot.renew)
            with self._lock:
                self._snapshots[key] = snapshot, version, view
        return cast("V", view)

    def read(self, database: Database[V], question: Callable[[V], R]) -> R:
        try:
            return super().read(database, question)
        except DatabaseUnavailable:
            pass
        except SessionConflict:
            with self._lock:
                del self._snapshots[threading.get_ident(), id(database)]
        return cast("R", patiently(database, partial(super().read, database, question)))

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
            for snapshot, _, _ in self._snapshots.values():
                snapshot.close()
            self._snapshots.clear()
