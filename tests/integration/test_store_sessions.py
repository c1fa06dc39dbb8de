"""What sessions keep, whatever comes between their work and its commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ZODB.POSException import ConflictError, ReadConflictError

from motoko.errors import DatabaseUnavailable, ForeignDatabase, SessionConflict
from motoko.store import layout
from motoko.store.audit import problems
from motoko.store.feed import FeedingStorage
from motoko.store.session import Session, entered
from motoko.store.tables import Tables
from motoko.study.records import Run
from motoko.study.study import Study
from tests.support.studies import (
    delay_news,
    open_study,
    running_study,
    server_process,
    write_study,
)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with running_study(tmp_path / "mult") as found:
        yield found


def create(study: Study, **given: object) -> list[int]:
    return study.create_tasks(given, None, run_name="a", event_name="main")


def test_a_database_of_a_newer_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(layout, "FORMAT", layout.FORMAT + 1)
        served = running_study(tmp_path / "mult")
        study = served.__enter__()
    try:
        for use in (study.counts, study.initialise, lambda: create(study, x=1.0)):
            with pytest.raises(ForeignDatabase, match="use the newer version"):
                use()
    finally:
        served.__exit__(None, None, None)


def test_what_was_to_follow_the_commit_is_forgotten_with_the_rest(study: Study) -> None:
    calls: list[str] = []
    session = Session()
    with entered(session):
        create(study, x=1.0)
        session.after_commit(lambda: calls.append("aborted"))
    session.abort()

    with entered(session):
        create(study, x=2.0)
        session.after_commit(lambda: calls.append("committed"))
    session.commit()

    assert calls == ["committed"]


def test_what_follows_the_commit_does_so_once_however_often_that_is_tried(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(study, x=1.0)
    begin = FeedingStorage.tpc_begin
    n_tries = 0

    def conflicting(storage: object, *args: object) -> object:
        nonlocal n_tries
        n_tries += 1
        if n_tries < 3:
            raise ConflictError
        return begin(storage, *args)

    calls: list[int] = []
    session = Session()
    with entered(session):
        study.run(1).norm = 1.0
        session.after_commit(lambda: calls.append(n_tries))
    monkeypatch.setattr(FeedingStorage, "tpc_begin", conflicting)
    session.commit()

    assert calls == [3]
    assert study.run(1).norm == 1.0
    session.commit()
    assert calls == [3]


@pytest.mark.slow
def test_a_commit_that_never_reached_the_server_is_made_when_it_is_back(
    tmp_path: Path,
) -> None:
    study = open_study(write_study(tmp_path / "mult"))
    calls: list[str] = []
    session = Session()
    with server_process(study) as server:
        study.initialise()
        create(study, x=1.0)
        with entered(session):
            study.run(1).norm = 1.0
            create(study, x=2.0)
            session.after_commit(lambda: calls.append("committed"))
        server.kill()
        server.wait()
    with pytest.raises(DatabaseUnavailable):
        session.commit()
    assert calls == []

    with server_process(study):
        study.database.connect(20)
        session.commit()

        study.close()
        assert study.run(1).norm == 1.0
        assert study.run(2).job.x == 2.0
        assert calls == ["committed"]
        study.close()


@pytest.mark.parametrize("ending", ["aborted", "failed", "refused"])
def test_a_creation_that_came_to_nothing_leaves_no_gap(study: Study, ending: str) -> None:
    create(study, x=1.0)
    session = Session()
    with entered(session):
        assert create(study, x=[2.0, 3.0, 4.0]) == [2, 3, 4]
        if ending == "refused":
            with pytest.raises(ValueError, match="'x'"):
                create(study, x=[5.0, "none"])
    if ending == "failed":
        study.database.write(lambda tables: tables.update_run(1, {"norm": 2.0}))
    if ending != "refused":
        session.abort()
    else:
        session.commit()

    ids = create(study, x=[6.0, 7.0])

    first = 5 if ending == "refused" else 2
    assert ids == [first, first + 1]
    assert [study.run(i).job.id for i in study.runs] == list(study.runs)
    assert problems(study.tables) == []


def test_what_seems_to_change_nothing_is_decided_on_what_is_newest(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(study, x=1.0)
    other = open_study(study.directory)
    assert other.run(1).state == "CREATED"
    is_late = delay_news(other.database, monkeypatch)
    study.run(1).state = "RUNNING"
    assert is_late.wait(20)

    other.run(1).state = "CREATED"

    study.close()  # a new connection begins with what is newest
    assert study.run(1).state == "CREATED"
    other.close()


def test_a_session_that_seems_to_change_nothing_rests_on_what_is_newest(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(study, x=1.0)
    other = open_study(study.directory)
    session = Session()
    with entered(session):
        other.run(1).state = "CREATED"
    is_late = delay_news(other.database, monkeypatch)
    study.run(1).state = "RUNNING"
    assert is_late.wait(20)

    with pytest.raises(SessionConflict):
        session.commit()
    other.close()


@pytest.mark.slow
def test_calls_outside_sessions_may_come_from_several_threads(study: Study) -> None:
    study.create_tasks(
        {"x": [float(i) for i in range(100)]}, None, run_name="r", event_name="e"
    )
    writer = open_study(study.directory)
    found: list[int] = []

    def read() -> None:
        while not is_over.is_set():
            found.append(sum(study.counts().values()))
            found.append(len(study.select(study.parse(None))))

    is_over = threading.Event()
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for run_id in range(1, 101):
        writer.run(run_id).state = "OTHER"
    is_over.set()
    for thread in threads:
        thread.join()
    writer.close()

    assert set(found) == {100}


def test_a_snapshot_that_a_pack_has_overtaken_begins_the_work_again(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(study, x=1.0)
    session = Session()
    run = Tables.run

    def gone(self: Tables, run_id: int) -> object:
        monkeypatch.undo()
        raise ReadConflictError

    monkeypatch.setattr(Tables, "run", gone)
    with entered(session), pytest.raises(SessionConflict):
        assert study.run(1).state == "CREATED"
    session.abort()
    assert Tables.run is run

    monkeypatch.setattr(Tables, "run", gone)  # outside sessions, another snapshot is taken
    assert study.run(1).state == "CREATED"


@pytest.mark.parametrize("look", [list, len, Run.keys, Run.items])
def test_which_entries_a_run_has_is_what_a_session_rests_on(
    study: Study, look: Callable[[Run], object]
) -> None:
    create(study, x=1.0)
    study.run(1).state = "SEEN"
    session = Session()
    with entered(session):
        look(study.run(1))
        create(study, x=2.0)
    study.run(1).note = "new"

    with pytest.raises(SessionConflict, match=r"mult\.1"):
        session.commit()


def test_a_run_that_a_session_has_made_itself_can_be_changed_whatever_others_do(
    study: Study,
) -> None:
    create(study, x=1.0)
    session = Session()
    with entered(session):
        create(study, x=2.0)
        study.run(2).norm = 2.0
    study.database.write(lambda tables: tables.update_run(1, {"norm": 1.0}))

    session.commit()

    assert [study.run(i).norm for i in study.runs] == [1.0, 2.0]


def test_a_run_that_somebody_else_has_made_meanwhile_is_no_run_of_the_session(
    study: Study,
) -> None:
    session = Session()
    with entered(session):
        create(study, x=1.0)
        study.run(1).norm = 1.0
    create(study, x=1.0)

    with pytest.raises(SessionConflict, match=r"mult\.1"):
        session.commit()


def test_snapshots_of_threads_that_have_ended_are_given_back(study: Study) -> None:
    create(study, x=1.0)

    def read() -> None:
        assert study.run(1).job.x == 1.0

    for _ in range(5):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()

    connections = study.database._db.connectionDebugInfo()
    assert sum(one["opened"] is not None for one in connections) == 2  # this one, the last one
