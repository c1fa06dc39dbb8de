"""Whose turn it is to create tasks in a study, among the sessions of one process.

Ids of runs are given at the creation and count without gaps, so two sessions that create in
one study at the same time cannot both keep theirs. Those that can begin again take turns
instead; between processes the conflict at the commit decides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Turn:
    """Held by one holder at a time, from its first creation to its commit. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: object | None = None
        self._waiting: list[Callable[[], None]] = []

    def take(self, holder: object) -> bool:
        """Take the turn; False when somebody else has it."""
        with self._lock:
            if self._holder is None:
                self._holder = holder
            return self._holder is holder

    def leave(self, holder: object) -> None:
        """Give the turn back, if this is who has it, and tell those that wait."""
        with self._lock:
            if self._holder is not holder:
                return
            self._holder = None
            waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def when_free(self, call: Callable[[], None]) -> None:
        """Call this once, in any thread, when nobody has the turn; at once if nobody does."""
        with self._lock:
            if self._holder is not None:
                self._waiting.append(call)
                return
        call()
