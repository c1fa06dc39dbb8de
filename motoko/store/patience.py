"""How long a call outside any session waits for a database that is away."""

from __future__ import annotations

import logging
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from motoko.errors import DatabaseUnavailable
from motoko.store.database import Database

log = logging.getLogger(__name__)

#: How long a call outside any session blocks while a database is away.
PATIENCE_S = 120.0
_patience: ContextVar[float] = ContextVar("motoko_patience", default=PATIENCE_S)


def patiently(database: Database[Any], call: Callable[[], Any]) -> Any:
    """Make a call again until the database that it needs is there, as long as that may take.

    What it raises then is passed on. `Database.hurry` ends it: the waiting task is cancelled.
    """
    deadline = time.monotonic() + _patience.get()
    is_told = False
    while True:
        try:
            return call()
        except DatabaseUnavailable as error:
            if time.monotonic() > deadline:
                raise
            if database.is_hurried:
                raise CancelledError("the process ends") from None
            if not is_told:
                log.warning("waiting: %s", error)
            is_told = True
            time.sleep(0.1)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let calls inside, outside any session, wait this long for a database that is away."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)
