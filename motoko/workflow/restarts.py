"""Starting again what has died: how often, and how long is waited before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from motoko.daemon import Office
from motoko.errors import DatabaseUnavailable, NoSpaceLeft, NotRunning, StartFailed
from motoko.store.patience import PAUSE_S

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
#: A process that lived this long starts again at once when it dies.
_STEADY_S = 60.0
#: So often what dies while it starts is started again.
_MOST_RESTARTS = 4
#: A server that is there may take so long to answer.
_ANSWERING_S = 30.0
#: A process that ends of itself, with something to say, ends with a greater code.
_TRACEBACK = 1


class Restarts:
    """Those of one process: the first at once, each later one after a longer pause."""

    def __init__(self) -> None:
        self.n = 0
        self._pause_s = 0.0
        self._since = time.monotonic()

    @property
    def wait_s(self) -> float:
        """How long to wait before the next one."""
        return max(0.0, self._since + self._pause_s - time.monotonic())

    def stands(self) -> None:
        """It runs: after a while it may be started at once again."""
        if time.monotonic() - self._since > _STEADY_S:
            self._pause_s = 0.0

    def tried(self) -> None:
        """It was started, or could not be."""
        self.n += 1
        self._since = time.monotonic()
        self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s or _FIRST_PAUSE_S)


def until_it_stands(
    bring_up: Callable[[], T], offices: Sequence[Office], is_hurried: Callable[[], bool]
) -> T:
    """Start processes, of which the first is the database server, and use what they serve;
    again, with pauses, when one of them dies meanwhile that nobody has asked to.

    ``bring_up`` starts what is missing, and may be called any number of times.
    """
    server, *_ = offices
    before = [_epoch(office) for office in offices]
    restarts = Restarts()
    answers_by: float | None = None
    while True:
        try:
            return bring_up()
        except (StartFailed, NotRunning, DatabaseUnavailable) as error:
            was_stopped = any(
                office.was_stopped and _epoch(office) != epoch
                for office, epoch in zip(offices, before, strict=True)
            )
            if is_hurried() or was_stopped or not _goes_by(error):
                raise
            if isinstance(error, DatabaseUnavailable) and not server.has_died:
                if answers_by is None:
                    answers_by = time.monotonic() + _ANSWERING_S
                    log.warning("%s; waiting for %g s", server.halt or error, _ANSWERING_S)
                if time.monotonic() > answers_by:
                    raise
                time.sleep(PAUSE_S)
                continue
            if restarts.n == _MOST_RESTARTS:
                raise
            log.warning("%s; it is started again", error)
        time.sleep(restarts.wait_s)
        restarts.tried()


def _goes_by(error: StartFailed | NotRunning | DatabaseUnavailable) -> bool:
    """Whether it may go well when it is tried again."""
    if isinstance(error, StartFailed):
        return error.exit_code is not None and error.exit_code <= _TRACEBACK
    if isinstance(error, DatabaseUnavailable):
        return error.transient and not isinstance(error, NoSpaceLeft)
    return True


def _epoch(office: Office) -> int:
    last = office.last_owner()
    return last.epoch if last is not None else 0
