"""What is not there for a while is waited for: servers, and room for open files."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.errors import ActionFailed, DatabaseUnavailable
from motoko.host import in_words
from motoko.store import patience
from motoko.store.tables import Tables
from motoko.study.files import FileStore
from motoko.workflow import Workflow, firings
from motoko.workflow.history import History
from motoko.workflow.rule import Rule
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult") as found:
        yield found


LOOKS = [(Tables, "select"), (Rule, "triggers"), (History, "_fired_runs")]


@pytest.fixture
def gone(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """The server goes away twice while that is looked at, once something is put in here."""
    owner, name = request.param
    real = getattr(owner, name)
    met: list[str] = []

    def failing(*arguments: Any) -> Any:
        if met and len(met) < 3:
            met.append(name)
            raise DatabaseUnavailable("of mult", "the server does not answer")
        return real(*arguments)

    monkeypatch.setattr(owner, name, failing)
    yield met
    assert len(met) == 3


@pytest.mark.parametrize("gone", LOOKS, indirect=True)
def test_conditions_are_evaluated_by_hand_when_the_database_is_back(
    workflow: Workflow, gone: list[str]
) -> None:
    seen: list[Any] = []
    workflow.mult.createTask(x=1.0)
    workflow.add_action("act", "mult", "x > 0", f=lambda runs: seen.extend(runs), once=True)
    gone.append("from here on")

    anyio.run(workflow.check_events)

    assert len(seen) == 1


@pytest.mark.parametrize("gone", LOOKS[:2], indirect=True)
def test_error_handlers_are_called_when_the_database_is_back(
    workflow: Workflow, gone: list[str]
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler("x > 0", lambda runs: seen.extend(runs))
        gone.append("from here on")
        raise ValueError("no")

    seen: list[Any] = []
    workflow.mult.createTask(x=1.0)

    with pytest.raises(ActionFailed, match="ValueError: no"):
        run(workflow, main, outcome=None)

    assert len(seen) == 1


@pytest.mark.parametrize("is_grouped", [False, True])
def test_an_action_that_can_open_no_more_files_is_begun_again(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, is_grouped: bool
) -> None:
    monkeypatch.setattr(firings, "_NO_ROOM_PAUSE_S", 0.0)
    n_calls = 0

    async def act(workflow: Workflow, **params: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        workflow.mult.createTask(x=float(n_calls))
        if n_calls < 3:
            lack = OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/a/file")
            raise ExceptionGroup("of tasks", [lack]) if is_grouped else lack
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("act", event=lambda: True, f=act)

    assert run(workflow, main, outcome=None) == 0
    assert n_calls == 3
    assert workflow.mult.base.counts() == {"CREATED": 1}


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_single_call_that_can_open_no_more_files_waits_for_them(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, caplog: Any, is_cancelled: bool
) -> None:
    monkeypatch.setattr(patience, "PAUSE_S", 0.0)
    make = FileStore.keep
    n_calls = 0

    def keep(self: FileStore, file: Path) -> dict[str, Any]:
        nonlocal n_calls
        n_calls += 1
        if n_calls < 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(file))
        return make(self, file)

    async def main(workflow: Workflow, **params: Any) -> None:
        if is_cancelled:
            workflow.mult.base.database.hurry()
        workflow.mult.createTask(x=1.0)
        workflow.finished = True

    monkeypatch.setattr(FileStore, "keep", keep)
    if is_cancelled:
        with pytest.raises(asyncio.CancelledError):
            anyio.run(main, workflow)
        return

    assert run(workflow, main, outcome=None) == 0
    assert workflow.mult.base.counts() == {"CREATED": 1}
    assert "waiting for room: Too many open files" in caplog.text
    assert "`prlimit --pid" in caplog.text


def test_room_is_not_waited_for_any_longer_than_a_database_is(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSE_S", 0.0)
    n_calls = 0

    def call() -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls < 1000:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE), "/a/file")

    with patience.patience(0.0), pytest.raises(OSError, match="Too many open files"):
        patience.patiently(workflow.vars.db, call)


def test_a_session_that_can_open_no_more_files_does_not_wait_for_them(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the turn of its writers, and its action is begun again."""
    monkeypatch.setattr(patience, "PAUSE_S", 0.0)
    n_calls = 0

    def keep(self: FileStore, file: Path) -> dict[str, Any]:
        nonlocal n_calls
        n_calls += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(file))

    monkeypatch.setattr(FileStore, "keep", keep)

    with (
        patience.patience(0.5),
        pytest.raises(OSError, match="Too many open files"),
        workflow.session(),
    ):
        workflow.mult.createTask(x=1.0)

    assert n_calls == 1


def test_a_limit_that_was_reached_is_named_with_what_raises_it() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    words = in_words(OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/a/file"))

    assert f"no more than {limit} open" in words
    assert f"`prlimit --pid {os.getpid()} --nofile=" in words
    assert in_words(OSError(errno.ENOSPC, "no space")) == "no space"


@pytest.mark.slow
def test_file_that_vanishes_while_it_is_read_is_a_database_without_a_server(
    tmp_path: Path,
) -> None:
    with served_workflow(tmp_path, "mult") as made:
        made.mult.createTask(x=1.0)
    reader = Workflow(str(tmp_path))
    reader.run_name = "test"
    assert len(reader.mult.select()) == 1

    reader.mult.base.database_file.unlink()
    with patience.patience(0.0), pytest.raises(DatabaseUnavailable) as caught:
        reader.mult.select()
    reader.close()

    assert "no server" in str(caught.value)
    assert "Errno" not in str(caught.value)
