"""Waiting for what another process does, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK_S = 0.02


def wait_until(
    condition: Callable[[], object], what: str = "the condition", deadline_s: float = 30.0
) -> None:
    """Wait until a condition is true; AssertionError after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s:g} s"
        time.sleep(_LOOK_S)
