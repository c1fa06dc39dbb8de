"""Runs of one study that wait for their next attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from motoko.host import boot_clock

#: Between what is over by now and the look at it.
_LEAST_S = 0.05


class Pauses:
    """Which of them are known, and when to look at the first of them again.

    How long a run waits is its own affair: its policy may stand above that of the study.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        # Until when, on the clock of this boot.
        self._until: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def present(self) -> frozenset[int]:
        """The runs that wait now."""
        now = boot_clock()
        self._until = {run_id: at for run_id, at in self._until.items() if now < at}
        return frozenset(self._until)

    def add(self, until: Mapping[int, float]) -> None:
        """Runs have been found to wait; it is looked at them in time."""
        self._until.update(until)
        self.stop()
        if self._until:
            left_s = min(self._until.values()) - boot_clock()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(_LEAST_S, left_s), self._look)

    def stop(self) -> None:
        """Do not look at them by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
