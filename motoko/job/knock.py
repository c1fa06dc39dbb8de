"""A word to the launcher that something was written: a datagram that may be lost.

Knocking never blocks and never fails: whoever does not hear it finds the files a little later.
"""

from __future__ import annotations

import json
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict

LEAST_PAUSE_S = 0.5


class Knocker:
    """Knocks at one socket; nothing comes of a path that is empty, too long or deserted."""

    def __init__(
        self, path: str, facts: Dict[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._facts = facts
        self._clock = clock
        self._last = float("-inf")

    def knock(self, at_once: bool = True, **facts: Any) -> None:
        """Send the facts; unless ``at_once``, only when the last time is half a second ago."""
        if not self._path:
            return
        now = self._clock()
        if not at_once and now - self._last < LEAST_PAUSE_S:
            return
        self._last = now
        import socket

        message = json.dumps({**self._facts, **facts}).encode()

        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
                door.setblocking(False)
                door.sendto(message, self._path)
        except OSError:
            pass
