"""Plain functions, called in threads that nobody waits for once their caller is left."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

import anyio

R = TypeVar("R")


def does_at_once(f: Callable[..., Any]) -> bool:
    """Whether to call it is to have its work done, which is not so of async functions and of
    generators."""
    kinds = (
        inspect.iscoroutinefunction,
        inspect.isasyncgenfunction,
        inspect.isgeneratorfunction,
    )
    method = vars(type(f)).get("__call__")  # of an object that can be called
    return not any(is_of_kind(one) for is_of_kind in kinds for one in (f, method))


async def in_thread(
    f: Callable[[], R], *, on_leave: Callable[[], object], patience_s: float = 0.0
) -> R:
    """Call a function in a thread of its own, and a copy of the context; what comes of it.

    A task that is cancelled calls ``on_leave``, waits ``patience_s`` for the thread, and leaves
    it. That goes on then, for as long as the process does, which does not wait for it either.
    """
    loop = asyncio.get_running_loop()
    is_over = anyio.Event()
    context = copy_context()
    found: list[R] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            found.append(context.run(f))
        except BaseException as error:
            raised.append(error)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(is_over.set)

    threading.Thread(target=work, daemon=True).start()
    try:
        await is_over.wait()
    except asyncio.CancelledError:
        on_leave()
        with anyio.move_on_after(patience_s, shield=True):
            await is_over.wait()
        raise
    if not raised:
        return found[0]
    error = raised.pop()
    if isinstance(error, asyncio.CancelledError):  # nobody has cancelled this task
        raise RuntimeError("something that it waited for was cancelled") from error
    raise error
