"""A view of a database that stays open and moves on to the newest state when asked."""

from __future__ import annotations

from typing import Any, Generic

import transaction

from motoko.store.database import Database, V, undo
from motoko.store.feed import Change


class Snapshot(Generic[V]):
    """One connection for reading, to be used by one thread at a time."""

    def __init__(self, database: Database[V]) -> None:
        """Opens the connection at the first `renew`."""
        self._database = database
        self._manager: Any = None
        self._connection: Any = None

    def renew(self) -> V:
        """What the database holds now; stays as it is until the next call."""
        if self._connection is None:
            self._manager = transaction.TransactionManager(explicit=True)
            self._manager.begin()
            self._connection = self._database.open(self._manager)
        else:
            with self._database.translated():
                undo(self._manager)
                self._manager.begin()
        return self._database.view(self._connection)

    def changed_runs(self, change: Change) -> set[int] | None:
        """The runs that a change speaks of; None for all."""
        with self._database.newest():
            return change.changed_runs(self._connection)

    def close(self) -> None:
        """Give the connection back; `renew` opens another."""
        if self._connection is not None:
            undo(self._manager)
            self._connection.close()
            self._connection = None
