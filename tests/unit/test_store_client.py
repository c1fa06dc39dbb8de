"""How long the answer to a commit is waited for, and what comes of one that is too late."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ZEO.Exceptions import ClientDisconnected, ServerException

from motoko.store import client
from motoko.store.address import socket_address
from motoko.store.client import BoundedClient, GivenUp
from motoko.store.database import Database
from motoko.store.tables import Tables


class Asked:
    """A client whose server does as it is told; nothing is connected."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self.is_silent = True
        self.updates: Iterator[Any] = iter(())
        self.client = object.__new__(BoundedClient)
        self.client._commit_s = client._COMMIT_S
        self.client.n_bytes = 0
        self.client.io_call = self._ask
        self.client.client = SimpleNamespace(tpc_finish_co=self._finish)

    def _finish(self, tid: Any, updates: Iterator[Any], f: Any) -> str:
        self.updates = updates
        return "the answer"

    def _ask(self, question: Any, at_most_s: float) -> Any:
        self.waits_s.append(at_most_s)
        if self.is_silent:
            raise GivenUp("the server does not answer")
        return question

    def finish(self) -> Any:
        """Finish a transaction with two updates."""
        return self.client.tpc_finish("id", ["one", "two"], None)


def test_each_commit_that_was_given_up_doubles_the_wait_up_to_a_limit() -> None:
    asked = Asked()
    for _ in range(8):
        with pytest.raises(GivenUp):
            asked.finish()
    asked.is_silent = False
    asked.finish()
    asked.finish()

    assert asked.waits_s == [10, 20, 40, 80, 160, 320, 600, 600, 600, 10]


def test_a_large_commit_may_take_the_longer_the_larger_it_is() -> None:
    asked = Asked()
    asked.client.n_bytes = 300 << 20
    with pytest.raises(GivenUp):
        asked.finish()

    assert asked.waits_s == [310]


def test_an_answer_that_comes_after_all_is_not_taken_for_known() -> None:
    asked = Asked()
    with pytest.raises(GivenUp):
        asked.finish()

    with pytest.raises(ClientDisconnected):
        list(asked.updates)


def test_an_answer_in_time_tells_what_was_updated() -> None:
    asked = Asked()
    asked.is_silent = False

    assert asked.finish() == "the answer"
    assert list(asked.updates) == ["one", "two"]


def test_a_server_without_a_free_descriptor_is_waited_for_and_says_so(tmp_path: Path) -> None:
    database: Database[Tables] = Database(socket_address(tmp_path), Tables, "mult")
    told = (errno.EMFILE, "Too many open files")

    error = database.translated().of(ServerException("builtins.OSError", told))

    assert error is not None and error.transient
    assert "its server can open no more files for now" in str(error)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EROFS])
def test_a_disk_that_refuses_for_a_while_is_waited_for_and_no_damage(
    tmp_path: Path, number: int
) -> None:
    database: Database[Tables] = Database(socket_address(tmp_path), Tables, "mult")

    error = database.translated().of(ServerException("builtins.OSError", (number, "refused")))
    wrong = database.translated().of(ServerException("builtins.KeyError", (number,)))

    assert error is not None and error.transient
    assert "damaged" not in str(error) and "refused" in str(error)
    assert wrong is not None and "damaged" in str(wrong)


def test_a_call_that_a_signal_cuts_off_before_it_began_is_not_left_unawaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def question() -> None:
        """Nobody runs it."""

    def cut_off(question: Any, loop: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "run_coroutine_threadsafe", cut_off)
    found = object.__new__(BoundedClient)
    found.loop = None
    asked = question()

    with pytest.raises(KeyboardInterrupt):
        found._ask(asked)

    assert inspect.getcoroutinestate(asked) == inspect.CORO_CLOSED
