"""The network side of a database's client: every wait for the server's answer ends.

ZEO's own client waits without limit for the answer to a call that was sent. Here a wait is
given up after its time, as if the connection was lost; the connection itself stays, so that
what was sent before keeps its place before what is sent later. A server that owes an answer
counts as away until it answers a ping that was sent after the call.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ZEO.asyncio.client import ClientThread
from ZEO.asyncio.futures import run_coroutine_threadsafe
from ZEO.Exceptions import ClientDisconnected

#: How long a call waits for a server that is being connected to.
CONNECTING_S = 2.0
#: How long the answer may take to a question, and to a commit, which the server may have to
#: keep waiting, or to write to a slow disk. The latter is doubled after each commit that was
#: given up, up to the third figure, so that a slow server gets done at last.
_ANSWER_S = 2.5
_COMMIT_S = 10.0
_LONGEST_COMMIT_S = 600.0
#: What a server on a slow disk writes in a second at least: large commits may take longer.
_BYTES_A_SECOND = 1 << 20
#: While the server is silent only what the cache holds is waited for.
_SILENT_S = 0.05
#: How long any call waits in a process that is to end.
_HURRIED_S = 0.5
_STEP_S = 0.1


@dataclass
class Haste:
    """Says that the process is to end, and that its waits do. Set by signal handlers too."""

    is_needed: bool = False


class BoundedClient(ClientThread):  # type: ignore[misc]
    """A ZEO client whose calls raise ClientDisconnected when no answer comes in time."""

    def __init__(self, *arguments: Any, haste: Haste, **options: Any) -> None:
        self._haste = haste
        self._is_silent = False
        self._commit_s = _COMMIT_S
        #: The size of the commit that is under way.
        self.n_bytes = 0
        super().__init__(*arguments, **options)

    def setup_delegation(self, loop: Any) -> None:
        """Called once, in the thread of the network, before the first call."""
        super().setup_delegation(loop)
        self.io_call = self._ask

    def is_connected(self) -> bool:
        """Whether the server answers, as far as is known."""
        return bool(self.client.operational) and not self._is_silent

    def load_before(self, oid: bytes, tid: bytes) -> Any:
        """An object as it was before a transaction."""
        return self.io_call(self.load_before_co(oid, tid, self.timeout))

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the server."""
        if method != "vote":
            return super().call(method, *arguments, **options)
        return self._ask_commit(self.call_sync_co(method, arguments, self.timeout))

    def tpc_finish(self, tid: Any, updates: Iterable[Any], f: Any, **options: Any) -> Any:
        """Finish a transaction; whether it happened is unknown when this is given up."""
        is_given_up = False

        def wanted() -> Iterator[Any]:
            if is_given_up:  # ZEO connects anew then, and asks what it has missed
                raise ClientDisconnected("the answer to a commit came too late")
            yield from updates

        try:
            answer = self._ask_commit(self.client.tpc_finish_co(tid, wanted(), f))
        except BaseException:
            is_given_up = True
            raise
        self._commit_s = _COMMIT_S
        return answer

    def close(self) -> None:
        """End the connection, and the thread."""
        try:
            super().close()
        except (ClientDisconnected, TimeoutError):  # what is still to be sent cannot be
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _ask_commit(self, question: Any) -> Any:
        try:
            at_most_s = self._commit_s + self.n_bytes / _BYTES_A_SECOND
            return self.io_call(question, at_most_s=at_most_s)
        except GivenUp:
            self._commit_s = min(_LONGEST_COMMIT_S, 2 * self._commit_s)
            raise

    def _ask(self, question: Any, wait: bool = True, at_most_s: float = _ANSWER_S) -> Any:
        """Let the thread of the network run a coroutine; what it gives."""
        try:
            return self._answer(question, wait, at_most_s)
        except BaseException:  # of a signal, too
            is_task = inspect.iscoroutine(question)
            if is_task and inspect.getcoroutinestate(question) == inspect.CORO_CREATED:
                question.close()  # or Python complains at the end that nobody ran it
            raise

    def _answer(self, question: Any, wait: bool, at_most_s: float) -> Any:
        future = run_coroutine_threadsafe(question, self.loop)
        if not wait:
            return future
        began = time.monotonic()
        limit_s = _SILENT_S if self._is_silent else at_most_s
        while not future.done() and (rest := began + limit_s - time.monotonic()) > 0:
            with suppress(TimeoutError):
                return future.result(min(rest, _STEP_S))
            if self._haste.is_needed:
                limit_s = min(limit_s, _HURRIED_S)
        if future.done():
            return future.result()
        with suppress(RuntimeError):  # closed meanwhile
            self.loop.call_soon_threadsafe(future.add_done_callback, _take_note)
            if not self._is_silent:
                self._fall_silent()
                run_coroutine_threadsafe(self._ping(), self.loop)
        raise GivenUp("the server does not answer")

    def probe(self) -> None:
        """Find out, without waiting, whether the server answers."""
        if self.is_connected():
            run_coroutine_threadsafe(self._ping(), self.loop)

    async def _ping(self) -> None:
        silence = self.loop.call_later(_ANSWER_S, self._fall_silent)
        with suppress(Exception):  # a lost connection is known without this
            await self.call_sync_co("ping", (), 0)
        silence.cancel()
        self._is_silent = False

    def _fall_silent(self) -> None:
        self._is_silent = True


def _take_note(future: Any) -> None:
    """What came of a call that was given up, for nobody."""
    with suppress(Exception):
        future.result()


class GivenUp(ClientDisconnected):  # type: ignore[misc]
    """The server may be busy, stopped or cut off."""
