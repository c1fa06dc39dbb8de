"""Attempts that wait because processes which are not their run's are in its directory.

A database that was put back, or made anew, may have another run under the id of one that still
executes. Nothing is begun, moved or ended there before that is over; other runs go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from motoko.job import holders
from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.launch.executing import held_attempts
from motoko.launch.trouble import Troubles
from motoko.phrases import listed

#: How often it is looked whether they are gone.
_LOOK_S = 1.0


def strange_attempts(attempt: Attempt, held: dict[int, str]) -> list[int]:
    """Those of the attempts that execute in its directory, by number with their nonces, that
    are no earlier ones of its run."""
    return [
        number
        for number, nonce in held.items()
        if number >= attempt.number or nonce not in attempt.earlier
    ]


class Aside:
    """Such attempts of all studies."""

    def __init__(self, troubles: Troubles, resume: Callable[[], object]) -> None:
        """``resume`` is called once some are among those that wait for a slot again."""
        self._troubles = troubles
        self._resume = resume
        self._desks: dict[Attempt, Desk] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def add(self, desk: Desk, attempt: Attempt, numbers: list[int]) -> None:
        """Take an attempt from those that wait for a slot until these have ended."""
        if self._is_closed or attempt not in desk.waiting:
            return
        desk.waiting.remove(attempt)
        self._desks[attempt] = desk
        self._troubles.met(_what(attempt), _why(attempt.run_dir, numbers))
        self._look_soon()

    def put_back(self, attempt: Attempt) -> None:
        """Let an attempt, if it is here, be among those that wait for a slot."""
        desk = self._desks.pop(attempt, None)
        if desk is not None:
            self._troubles.over(_what(attempt))
            desk.waiting.appendleft(attempt)

    def close(self) -> None:
        """Look no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _look_soon(self) -> None:
        if self._timer is None and self._desks and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        for attempt in list(self._desks):
            with suppress(OSError):  # it cannot be told now
                if not strange_attempts(attempt, held_attempts(attempt.run_dir)):
                    self.put_back(attempt)
        self._look_soon()
        self._resume()


def _why(run_dir: str, numbers: list[int]) -> str:
    pids: set[int] = set()
    with suppress(OSError):  # they cannot be named now
        pids.update(pid for number in numbers for pid in holders.find_holders(run_dir, number))
    which = f" ({listed(map(str, sorted(pids)))})" if pids else ""
    return (
        f"processes{which} of an attempt that the database does not know are still there in"
        f" {run_dir}; it begins when they have ended"
    )


def _what(attempt: Attempt) -> str:
    return f"cannot start run {attempt.title}"
