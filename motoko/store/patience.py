"""Waiting for a database that is away: what is waited for, how long, and what is said of it."""

from __future__ import annotations

import logging
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from motoko.errors import DatabaseUnavailable
from motoko.host import NO_ROOM, in_words
from motoko.store.database import Database

log = logging.getLogger(__name__)

#: Pause between two tries to reach a database that is away.
PAUSE_S = 0.2
#: How long a call outside any session blocks while a database is away.
PATIENCE_S = 120.0
_LACK = "waiting for room: %s"
_patience: ContextVar[float] = ContextVar("motoko_patience", default=PATIENCE_S)


#: How long a server may say that it cannot, as one does that is just ending, before it is
#: believed.
FAILING_S = 5.0


class Absence:
    """A database that is away, as a piece of work meets it; it may be met again and again."""

    def __init__(self, what: str) -> None:
        """``what`` becomes of the work, in words."""
        self._what = what
        self._is_told = False
        self._fails_since: float | None = None

    def goes_by(self, error: DatabaseUnavailable) -> bool:
        """Whether the database is worth waiting for."""
        if error.transient:
            self._fails_since = None
            return True
        now = time.monotonic()
        if self._fails_since is None:
            self._fails_since = now
        return now - self._fails_since < FAILING_S

    def met(self, error: DatabaseUnavailable) -> None:
        """Say that it is waited for, the first time; raises what does not go by."""
        if not self.goes_by(error):
            raise error
        log.log(
            logging.DEBUG if self._is_told else logging.WARNING, "%s: %s", self._what, error
        )
        self._is_told = True


def patiently(database: Database[Any], call: Callable[[], Any]) -> Any:
    """Make a call again until the database that it needs is there, and room for its files, as
    long as that may take.

    It blocks the calling thread; what may not awaits `until_answered`.
    What it raises then is passed on. `Database.hurry` ends it: the waiting task is cancelled.
    """
    deadline = time.monotonic() + _patience.get()
    absence, is_told = Absence("waiting"), False
    while True:
        try:
            return call()
        except DatabaseUnavailable as error:
            if time.monotonic() > deadline:
                raise
            if database.is_hurried:
                raise CancelledError("the process ends") from None
            absence.met(error)
        except OSError as error:
            if error.errno not in NO_ROOM or time.monotonic() > deadline:
                raise
            if database.is_hurried:
                raise CancelledError("the process ends") from None
            log.log(logging.DEBUG if is_told else logging.WARNING, _LACK, in_words(error))
            is_told = True
        time.sleep(PAUSE_S)


def patience_s() -> float:
    """How long calls outside any session wait here for a database that is away."""
    return _patience.get()


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let calls inside, outside any session, wait this long for a database that is away."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)
