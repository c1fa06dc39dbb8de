"""SIGINT, SIGTERM and SIGHUP as requests to end in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from motoko.cli.failures import Stopped


def _signals() -> tuple[signal.Signals, ...]:
    """Those to be heard; under ``nohup`` the end of the terminal is none of them."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def raising() -> Iterator[None]:
    """Inside the block a signal raises `Stopped`, wherever the main thread is."""

    def hear(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, hear) for number in _signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupts:
    """Inside the block the first signal calls ``hurry`` at once, and ``end`` in the loop.

    The second one interrupts whatever is being done, for those who cannot wait. The handlers
    run in the main thread between any two steps of whatever it does: ``hurry`` may only leave
    a mark, for those who wait in this thread and keep the loop from running.
    """

    def __init__(self, end: Callable[[], object], hurry: Callable[[], object]) -> None:
        self._end = end
        self._hurry = hurry
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Any] = {}
        #: The signal that came, if one did.
        self.number: int | None = None

    def __enter__(self) -> Self:
        for number in _signals():
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        self._hurry()
        self._loop.call_soon_threadsafe(self._end)
