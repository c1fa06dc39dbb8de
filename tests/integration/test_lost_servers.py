"""Servers that go away while a session looks at their databases: whoever looks waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import POSKeyError, ReadConflictError

from motoko.errors import DatabaseFailed, DatabaseUnavailable, SessionConflict
from motoko.store import feed
from motoko.store.ledger import Ledger
from motoko.store.operations import SetVariable, UpdateRun
from motoko.store.session import Session, entered
from motoko.store.tables import Tables
from motoko.workflow import Workflow, control
from motoko.workflow.actions import Action
from motoko.workflow.firings import in_session
from motoko.workflow.triggers import Trigger, monitors, still_there, still_true
from tests.support.studies import open_study, process_serving, server_process, write_study
from tests.support.waiting import wait_until
from tests.support.workflows import served_workflow, write_workflow


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult") as found:
        found.mult.createTask(x=1.0)
        found.vars.note = 1
        yield found


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there is given up at once."""
    monkeypatch.setattr(feed, "CONNECTING_S", 0.1)


def ask_condition(workflow: Workflow, session: Session) -> None:
    """Whether a constraint that has fired still holds."""
    action = Action("look", "mult", "x > 0", lambda: None)
    found = {monitor.task: monitor for monitor in monitors(workflow, action)}
    anyio.run(still_true, workflow, action, Trigger("mult", (1,)), found)


LOOKS: dict[str, tuple[type, str, Callable[[Workflow, Session], object]]] = {
    "observe": (Tables, "raw_run", lambda w, s: s.observe(w.mult.base.database, 1, "norm")),
    "update": (
        Tables,
        "raw_run",
        lambda w, s: s.do(w.mult.base.database, UpdateRun(1, {"norm": 1.0})),
    ),
    "read": (Tables, "has_run", lambda w, s: 1 in w.mult.base.runs),
    "observe a variable": (
        Ledger,
        "raw_variable",
        lambda w, s: s.observe_variable(w.vars.db, "note"),
    ),
    "set a variable": (
        Ledger,
        "raw_variable",
        lambda w, s: s.do(w.vars.db, SetVariable("note", 2)),
    ),
    "view": (Tables, "__init__", lambda w, s: s.view(w.mult.base.database)),
    "a condition's runs": (Tables, "has_run", ask_condition),
    "a condition": (Tables, "matches", ask_condition),
    "runs that are left": (
        Tables,
        "has_run",
        lambda w, s: still_there(w, Trigger("mult", (1,))),
    ),
}


@pytest.mark.parametrize(
    ("error", "told", "then"),
    [
        (ClientDisconnected("lost"), DatabaseUnavailable, ""),
        (POSKeyError(b"12345678"), SessionConflict, "news"),
        (POSKeyError(b"12345678"), DatabaseFailed, ""),
        (POSKeyError(b"12345678"), DatabaseUnavailable, "away"),
        (ReadConflictError("packed"), SessionConflict, ""),
    ],
    ids=["away", "packed", "damaged", "packed or damaged, and away", "packed meanwhile"],
)
def test_whoever_looks_in_a_session_is_told_what_can_be_waited_for(
    workflow: Workflow,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: type[Exception],
    then: str,
) -> None:
    databases = (workflow.mult.base.database, workflow.vars.db)

    def lost(*arguments: object, **named: object) -> None:
        for database in databases:
            if then == "news":  # so the snapshot is not the newest
                database.feed.count()
            elif then == "away":
                monkeypatch.setattr(database._db.storage, "ping", away)
        raise error

    def away() -> None:
        raise ClientDisconnected("lost")

    for title, (kind, method, look) in LOOKS.items():
        if then and title == "view":
            continue  # which is made of what is newest
        session = Session()
        with entered(session), monkeypatch.context() as patched:
            patched.setattr(kind, method, lost)
            try:
                look(workflow, session)
            except Exception as raised:
                assert isinstance(raised, told), (title, raised)
            else:
                pytest.fail(f"{title} has met no error")
        session.abort()


@pytest.mark.slow
def test_an_action_that_reads_a_variable_outlives_a_server_that_is_restarted(
    tmp_path: Path, soon: None
) -> None:
    workflow = Workflow(str(write_workflow(tmp_path, {"mult": None})))
    workflow.run_name = "test"
    other = Workflow(workflow.config_path)
    n_calls = 0

    async def body() -> object:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            server.start()
        return workflow.vars.note

    async def kill_between() -> object:
        await in_session(body, "work")  # what it has read is known from then on
        version = workflow.vars.db.feed.version
        other.vars.note = 2
        wait_until(lambda: workflow.vars.db.feed.version != version, "word of the change")
        server.kill()
        wait_until(lambda: not workflow.vars.db.is_connected, "the loss of the server")
        with anyio.fail_after(20):
            return (await in_session(body, "work")).value

    with process_serving(control.served(workflow)) as server:
        workflow.initialise()
        workflow.vars.note = 1
        try:
            assert anyio.run(kill_between) == 2
        finally:
            other.close()
            workflow.close()
    assert n_calls >= 3


def test_a_database_that_a_session_could_not_look_at_keeps_no_connection(
    tmp_path: Path, soon: None
) -> None:
    study = open_study(write_study(tmp_path / "mult"))
    with server_process(study) as server:
        study.initialise()
        study.close()
        study.database.connect(20)
        server.kill()
        server.wait()
        for _ in range(3):
            session = Session()
            with entered(session), pytest.raises(DatabaseUnavailable):
                study.counts()
            session.abort()

        connections = study.database._db.connectionDebugInfo()
        assert [found for found in connections if found["opened"] is not None] == []
    study.close()


def test_a_database_is_closed_whoever_has_a_connection_still(workflow: Workflow) -> None:
    session = Session()
    database = workflow.mult.base.database
    with entered(session):
        workflow.mult.base.counts()
    session._unit._manager.abort()  # type: ignore[union-attr]
    storage = database._db.storage

    workflow.mult.base.close()

    assert storage._server.thread.is_alive() is False
