"""SIGINT and SIGTERM as a request to end in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Inside the block the first signal calls ``end`` in the running loop.

    The second one interrupts whatever is being done, for those who cannot wait. The handlers
    run in the main thread even while it waits for a database.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Any] = {}
        #: The signal that came, if one did.
        self.number: int | None = None

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        self._loop.call_soon_threadsafe(self._end)
