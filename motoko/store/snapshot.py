"""A view of a database that stays open and moves on to the newest state when asked."""

from __future__ import annotations

from typing import Any, Generic

import transaction

from motoko.store.codec import decode
from motoko.store.database import Database, V, undo
from motoko.store.feed import Change
from motoko.store.layout import DELETED_RUNS
from motoko.store.ranges import numbers


class Snapshot(Generic[V]):
    """One connection for reading, to be used by one thread at a time."""

    def __init__(self, database: Database[V]) -> None:
        """Opens the connection at the first `renew`."""
        self._database = database
        self._manager: Any = None
        self._connection: Any = None
        #: When the database was opened that the connection belongs to.
        self._n_openings = 0
        self._view: Any = None
        #: Which runs were deleted, as it was stored at the last look at changes.
        self._deleted: bytes | None = None

    def renew(self) -> V:
        """What the database holds now; stays as it is until the next call."""
        if self._n_openings != self._database.n_openings:
            self._connection = None
        if self._connection is None:
            self._manager = transaction.TransactionManager(explicit=True)
            self._manager.begin()
            self._connection = self._database.open(self._manager, is_for_reading=True)
            self._n_openings = self._database.n_openings
        else:
            with self._database.translated():
                undo(self._manager)
                self._manager.begin()
        self._view = view = self._database.view(self._connection)
        return view

    def changed_runs(self, change: Change) -> set[int] | None:
        """The runs that a change speaks of, and those that were deleted since this was asked
        last, which are in no leaf any more; None for all."""
        with self._database.newest():
            changed = change.changed_runs(self._connection)
            before, self._deleted = self._deleted, self._view.trees["meta"].get(DELETED_RUNS)
        if changed is None or self._deleted == before:
            return changed
        return changed | (_ids(self._deleted) - _ids(before))

    def close(self) -> None:
        """Give the connection back; `renew` opens another."""
        if self._connection is not None:
            undo(self._manager)
            self._connection.close()
            self._connection = self._view = None


def _ids(raw: bytes | None) -> set[int]:
    return set() if raw is None else set(numbers(decode(raw)))
