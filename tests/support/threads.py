"""Threads that tests leave behind: Python waits for them at its end, as long as they take."""

from __future__ import annotations

import sys
import threading
import time
import traceback

#: How long threads have to end by themselves, all together.
PATIENCE_S = 10.0


def wait_for_end() -> list[str]:
    """What is still there after a moment but this thread: names and stacks."""
    end = time.monotonic() + PATIENCE_S
    left = []
    for thread in threading.enumerate():
        if thread is threading.current_thread() or thread.daemon:
            continue
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            left.append(_described(thread))
    return left


def _described(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    stack = "".join(traceback.format_stack(frame)) if frame else ""
    return f"thread {thread.name}, which is here:\n{stack.rstrip()}"
