"""Whose turn it is to create tasks in a study, among the sessions of one process.

Ids of runs are given at the creation and count without gaps, so two sessions that create in
one study at the same time cannot both keep theirs. Those that can begin again take turns
instead; between processes the conflict at the commit decides.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Turn:
    """Held by one holder at a time, then handed to who has waited longest. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: object | None = None
        self._waiting: deque[tuple[object, Callable[[], None]]] = deque()

    def take(self, holder: object) -> bool:
        """Take the turn; False when somebody else has it."""
        with self._lock:
            if self._holder is None:
                self._holder = holder
            return self._holder is holder

    def wait(self, holder: object, given: Callable[[], None]) -> None:
        """Get the turn after those who wait already; ``given`` is called then, in any thread.

        Who has called this must `leave`, whether or not the turn came.
        """
        with self._lock:
            if self._holder is not None:
                self._waiting.append((holder, given))
                return
            self._holder = holder
        given()

    def leave(self, holder: object) -> None:
        """Give the turn, or the place among those that wait, back."""
        with self._lock:
            if self._holder is not holder:
                self._waiting = deque(w for w in self._waiting if w[0] is not holder)
                return
            self._holder, given = self._waiting.popleft() if self._waiting else (None, None)
        if given is not None:
            given()
