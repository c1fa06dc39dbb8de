"""Looking at a snapshot: what its errors mean to whoever knows nothing of ZODB."""

from __future__ import annotations

from typing import Any

from ZODB.POSException import ConflictError, POSKeyError

from motoko.errors import SessionConflict
from motoko.store.database import Database


class Looking:
    """While entered, a database that is away is DatabaseUnavailable, and a snapshot of which a
    pack has dropped what it shows is SessionConflict. What the newest one lacks is damage."""

    __slots__ = ("_database",)

    def __init__(self, database: Database[Any]) -> None:
        self._database = database

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        is_missing = isinstance(error, POSKeyError)
        if isinstance(error, ConflictError) or (is_missing and not self._is_newest()):
            raise SessionConflict(
                f"the age of the snapshot of {self._database.where}"
            ) from error
        self._database.newest().__exit__(kind, error, trace)

    def _is_newest(self) -> bool:
        """Whether the snapshot is as new as all that was committed until now."""
        return True
