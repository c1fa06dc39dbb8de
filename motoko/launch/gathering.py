"""When a desk commits next: news of many runs gather, a single one is told at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: How long the word that a run has begun waits for company; most no-op runs end before.
_LAZY_S = 0.02
#: How long all other words do while runs begin one after the other: what a commit costs, and
#: what it writes, is much the same for ten runs and for a hundred.
_MANY_S = 0.25


class Gathering:
    """The wait for the next commit of one study."""

    def __init__(self, are_many: Callable[[], bool]) -> None:
        """``are_many`` tells whether there is more to come soon."""
        self._are_many = are_many
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_due(self) -> bool:
        """Whether there will be a commit."""
        return self._wake.is_set() or self._timer is not None

    def commit(self) -> None:
        """Commit at once."""
        self._wake.set()

    def commit_soon(self) -> None:
        """Commit at once, or with what else there will be while many runs begin and end."""
        if not self._are_many():
            self._wake.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_MANY_S, self._wake.set)

    def commit_later(self, is_unsaid: Callable[[], bool]) -> None:
        """Commit after a moment what is unsaid then."""

        def commit() -> None:
            if is_unsaid():
                self._wake.set()

        asyncio.get_running_loop().call_later(_LAZY_S, commit)

    async def wait(self) -> None:
        """Wait until a commit is due; what comes from then on belongs to the next one."""
        await self._wake.wait()
        self._wake.clear()
        self.stop()

    def stop(self) -> None:
        """Let what has gathered wait for somebody to say `commit`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
