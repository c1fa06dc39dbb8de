"""SIGINT, SIGTERM and SIGHUP as requests to end in good order."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from motoko.cli.failures import Stopped

#: Signals that come within this time are one request.
_ONE_REQUEST_S = 1.0


def _signals() -> tuple[signal.Signals, ...]:
    """Those to be heard; under ``nohup`` the end of the terminal is none of them."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _note(number: int, frame: FrameType | None) -> None:
    """Neither end anything nor, as without a handler, the process."""


def be_deaf() -> None:
    """Hear no signal any more until the end of the block of `raising`: the words that are due
    are said, and every wait on the way there has an end."""
    for number in _signals():
        signal.signal(number, _note)


@contextmanager
def raising() -> Iterator[None]:
    """Inside the block a signal raises `Stopped`, wherever the main thread is.

    One request may come as several signals: `timeout` sends its own to the process and to its
    group, and so does a terminal that is closed. Only one that comes later raises again, for
    those who cannot wait.
    """
    heard: float | None = None

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        now = time.monotonic()
        if heard is None or now - heard > _ONE_REQUEST_S:
            heard = now
            raise Stopped(number)

    before = {number: signal.signal(number, hear) for number in _signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def put_off() -> Iterator[list[int]]:
    """Inside the block signals are only noted, by their numbers, for who looks afterwards:
    modules that are being imported are not left half imported."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = {number: signal.signal(number, note) for number in _signals()}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupts:
    """Inside the block the first signal calls ``hurry`` at once, and ``end`` in the loop.

    The second one interrupts whatever is being done, for those who cannot wait. The handlers
    run in the main thread between any two steps of whatever it does: ``hurry`` may only leave
    a mark, for those who wait in this thread and keep the loop from running. Once one came,
    none is heard any more after the block.
    """

    def __init__(self, end: Callable[[], object], hurry: Callable[[], object]) -> None:
        self._end = end
        self._hurry = hurry
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Any] = {}
        #: The signal that came, if one did.
        self.number: int | None = None
        #: Whether a second one came: what was being done then has ended anyhow.
        self.is_forced = False

    def __enter__(self) -> Self:
        for number in _signals():
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            if self.number is None:
                signal.signal(number, handler)
        if self.number is not None:
            be_deaf()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            self.is_forced = True
            be_deaf()
            raise KeyboardInterrupt
        self.number = number
        self._hurry()
        self._loop.call_soon_threadsafe(self._end)
