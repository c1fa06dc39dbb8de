"""The store over a real server: rows, indexes, sessions, feed."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import transaction
from ZEO.Exceptions import ClientDisconnected

from motoko.config import read_study
from motoko.errors import (
    DatabaseFailed,
    DatabaseUnavailable,
    InvalidTransition,
    NoSpaceLeft,
    RunNotFound,
    SchemaChanged,
    SchemaError,
    SessionConflict,
)
from motoko.store import rows, server, tables
from motoko.store.audit import problems
from motoko.store.database import Write
from motoko.store.feed import Change, FeedingStorage
from motoko.store.migration import Instructions, migrate
from motoko.store.session import Session, entered
from motoko.store.snapshot import Snapshot
from motoko.store.tables import Tables
from motoko.study.study import Study
from tests.support.studies import open_study, running_study, served, server_process, write_study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with running_study(tmp_path / "mult") as found:
        yield found


def create(study: Study, **given: object) -> list[int]:
    return study.create_tasks(given, None, run_name="a", event_name="main")


def test_equal_points_are_one_task(study: Study) -> None:
    first = create(study, x=[1.0, 2.0], s="a")
    again = create(study, x=[2.0, 3.0, 3.0], s="a")

    assert first == [1, 2]
    assert again == [2, 3, 3]
    assert problems(study.tables) == []


def test_another_run_name_is_another_task_on_the_same_job(study: Study) -> None:
    create(study, x=1.0)
    ids = study.create_tasks({"x": 1.0}, None, run_name="b", event_name="main")

    assert ids == [2]
    assert study.run(2).job == study.run(1).job
    assert study.tables.runs_of(1) == [1, 2]


def test_declared_run_entries_and_nproc_make_another_task(study: Study) -> None:
    create(study, x=1.0)
    other = study.create_tasks({"x": 1.0}, {"method": "cg"}, run_name="a", event_name="m")
    wide = study.create_tasks({"x": 1.0}, {"nproc": 2}, run_name="a", event_name="m")
    undeclared = study.create_tasks({"x": 1.0}, {"walltime": 60}, run_name="a", event_name="m")

    assert [other, wide, undeclared] == [[2], [3], [1]]


def test_what_is_written_is_read_back(study: Study) -> None:
    create(study, x=0.1, s="ü \n\0", flag=True)
    run = study.run(1)

    run.norm = 2
    run.notes = ["a", {"b": (1, 2)}]

    assert (run.norm, run.notes) == (2.0, ["a", {"b": (1, 2)}])
    assert (run.job.x, run.job.s, run.job.flag, run.job.n) == (0.1, "ü \n\0", True, 1)
    assert run.method is None
    with pytest.raises(AttributeError, match="did you mean 'norm'"):
        _ = run.nrm


def test_changing_a_returned_list_does_not_change_the_run(study: Study) -> None:
    create(study, x=0.1)
    run = study.run(1)
    run.notes = [1]

    run.notes.append(2)

    assert run.notes == [1]


def test_a_state_must_be_allowed_to_follow(study: Study) -> None:
    create(study, x=0.1)
    run = study.run(1)
    run.state = "FINISHED"

    with pytest.raises(InvalidTransition) as caught:
        run.state = "RUNNING"

    assert (caught.value.before, caught.value.after) == ("FINISHED", "RUNNING")
    assert run.state == "FINISHED"
    run.state = "SENT AWAY"
    assert study.counts() == {"SENT AWAY": 1}


def test_default_of_a_run_entry_holds_unless_something_else_is_said(tmp_path: Path) -> None:
    run = "{method: {type: str, default: cg}, order: {type: int, default: 1}, y: float}"
    yaml = f"study: s\njob: {{x: float}}\nrun: {run}\nrun_params: {{order: 2}}\n"
    study = open_study(write_study(tmp_path / "s", yaml))
    with served(study):
        study.initialise()
        for params in ({}, {"method": "lu"}, {}):
            study.create_tasks({"x": 1.0}, params, run_name="a", event_name="")
        rows = [study.run_row(run_id) for run_id in (1, 2)]
        n_runs = study.tables.n_runs
        study.close()

    assert [(row["method"], row["order"]) for row in rows] == [("cg", 2), ("lu", 2)]
    assert n_runs == 2
    assert "y" not in rows[0]


def test_a_list_in_run_space_gives_a_run_for_each_value(tmp_path: Path) -> None:
    yaml = "study: s\njob: {x: float}\nrun: {method: str}\nrun_space: {method: [cg, lu]}\n"
    with running_study(tmp_path / "s", yaml) as study:
        assert create(study, x=[1.0, 2.0]) == [1, 2, 3, 4]
        assert [study.run(i).method for i in (1, 2, 3, 4)] == ["cg", "cg", "lu", "lu"]
        only = study.create_tasks({"x": 1.0}, {"method": "lu"}, run_name="a", event_name="m")
        assert only == [3]


def test_a_replica_is_another_run_on_the_same_job(study: Study) -> None:
    create(study, x=1.0)

    again = study.create_tasks({"x": 1.0}, {"replica": 2}, run_name="a", event_name="m")

    assert again == [2]
    assert study.run(2).job == study.run(1).job


def test_entries_that_motoko_keeps_are_not_for_users(study: Study) -> None:
    with pytest.raises(SchemaError, match="'state': is kept by Motoko itself"):
        study.create_tasks({"x": 1.0}, {"state": "FINISHED"}, run_name="a", event_name="m")
    create(study, x=1.0)
    with pytest.raises(SchemaError, match="'run_name'"):
        study.run(1).run_name = "b"


def test_another_content_of_the_scripts_is_reported_and_not_recomputed(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    create(study, x=1.0)
    (study.directory / "launch.sh").write_text("false\n")

    again = create(study, x=1.0)
    create(study, x=1.0)

    assert again == [1]
    assert caplog.text.count("mult.1 was made with another content of launch.sh") == 1


def test_a_task_that_is_found_with_another_undeclared_entry_is_reported_once(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    for tol in (0.1, 0.1, 0.2, 0.3):
        given = {"tol": tol, "note": ["a"], "walltime": f"{10 * tol:.0f}:00"}
        study.create_tasks({"x": 1.0}, given, run_name="a", event_name=f"event {tol}")

    assert [record.getMessage() for record in caplog.records] == [
        "mult.1 is taken as it is: it has tol 0.1, where 0.2 is asked for; declare tol under"
        " `run:` in bd.yaml if it tells tasks apart"
    ]
    assert study.run(1)["tol"] == 0.1


def test_a_missing_run_is_named(study: Study) -> None:
    with pytest.raises(RunNotFound, match="study 'mult' has no run 7"):
        study.run(7)


def test_a_session_sees_what_it_did_and_nobody_else_does(study: Study) -> None:
    session = Session()
    with entered(session):
        ids = create(study, x=1.0)
        study.run(1).norm = 4.0
        assert study.select(study.parse("norm > 3")) == [1]
    assert study.counts() == {}

    session.commit()

    assert ids == [1]
    assert study.run(1).norm == 4.0


def test_very_many_new_runs_wait_for_their_commit_in_a_file(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_MANY", 2)
    put_by = []
    save = transaction.Transaction.savepoint

    def saving(self: transaction.Transaction, optimistic: bool = False) -> object:
        put_by.append(self)
        return save(self, optimistic)

    monkeypatch.setattr(transaction.Transaction, "savepoint", saving)

    session = Session()
    with entered(session):
        ids = create(study, x=[1.0, 2.0, 3.0, 4.0, 5.0])
        seen = [study.run(i).job.x for i in ids]
    with study.database.read() as others:
        n_others = others.n_runs
    create(study, x=[5.0])  # the session's commit meets a conflict
    with pytest.raises(SessionConflict):
        session.commit()
    create(study, x=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    assert len(put_by) > 2
    assert (seen, n_others) == ([1.0, 2.0, 3.0, 4.0, 5.0], 0)
    assert study.counts() == {"CREATED": 6}
    assert problems(study.tables) == []


def test_who_looks_at_very_many_runs_keeps_few_of_them(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_MOST_KEPT", 3)
    ids = create(study, x=[float(i) for i in range(10)])

    with study.database.read() as view:
        found = [view.job(view.run(i)["job_id"])["x"] for i in ids]

        assert found == [float(i) for i in range(10)]
        assert len(view._run_rows) <= 3
        assert len(view._job_rows) <= 3


def test_an_aborted_session_leaves_nothing(study: Study) -> None:
    session = Session()
    with entered(session):
        create(study, x=1.0)
    session.abort()

    assert study.counts() == {}
    assert create(study, x=2.0) == [1]


def test_two_sessions_that_change_different_entries_both_count(study: Study) -> None:
    create(study, x=1.0)
    one, two = Session(), Session()
    with entered(one):
        study.run(1).norm = 1.0
    with entered(two):
        study.run(1).method = "cg"

    one.commit()
    two.commit()

    assert (study.run(1).norm, study.run(1).method) == (1.0, "cg")


def test_a_session_that_read_what_another_changed_must_begin_again(study: Study) -> None:
    create(study, x=1.0)
    study.run(1).norm = 1.0
    session = Session()
    with entered(session):
        study.run(1).norm = study.run(1).norm + 1
    study.run(1).norm = 10.0

    with pytest.raises(SessionConflict, match=r"norm of mult\.1"):
        session.commit()

    assert study.run(1).norm == 10.0


def test_what_was_read_counts_however_far_from_what_is_written(study: Study) -> None:
    create(study, x=[float(i) for i in range(500)])
    study.run(1).state = "FINISHED"
    for read in (
        lambda: study.run(1).state,
        lambda: study.run(1).get("state"),
        lambda: "norm" in study.run(1),
        lambda: study.run(1).entries,
    ):
        session = Session()
        with entered(session):
            read()
            study.run(500).norm = 1.0
        study.run(1).norm = 2.0
        study.run(1).state = "SEEN" if study.run(1).state == "FINISHED" else "FINISHED"

        with pytest.raises(SessionConflict, match=r"of mult\.1"):
            session.commit()
        study.run(1).norm = None

    assert study.run(500).norm is None


def test_looking_at_a_run_that_executes_does_not_make_a_session_begin_again(
    study: Study,
) -> None:
    create(study, x=[1.0, 2.0])
    session = Session()
    with entered(session):
        study.run(2).norm = float(study.run(1).state == "FINISHED")
    study.run(1).state = "RUNNING"

    session.commit()

    assert study.run(2).norm == 0.0


def test_a_session_that_changes_a_run_rests_on_what_it_saw_of_it(study: Study) -> None:
    create(study, x=1.0)
    session = Session()
    with entered(session):
        if study.run(1).state == "CREATED":
            study.run(1).norm = 1.0
    study.run(1).state = "RUNNING"

    with pytest.raises(SessionConflict):
        session.commit()


def test_what_a_launcher_keeps_up_to_date_disturbs_nobody(study: Study) -> None:
    create(study, x=1.0)
    session = Session()
    with entered(session):
        study.run(1).norm = float(len(study.run(1).entries))
    study.database.write(lambda tables: tables.update_run(1, {"last_step": 7}))

    session.commit()

    assert study.run(1).last_step == 7


def test_a_state_is_text_that_is_not_empty(study: Study) -> None:
    create(study, x=1.0)
    for state in (None, "", 3):
        with pytest.raises(SchemaError, match="a state is text"):
            study.run(1).state = state
        with pytest.raises(SchemaError, match="a state is text"):
            study.database.write(lambda t, s=state: t.update_run(1, {"state": s}))
    assert study.run(1).state == "CREATED"


def test_the_order_of_declared_entries_is_no_part_of_a_task(tmp_path: Path) -> None:
    yaml = "study: s\njob: {x: float}\nrun: {a: int, b: int}\n"
    with running_study(tmp_path / "s", yaml) as study:
        params = {"a": 1, "b": 2}
        assert study.create_tasks({"x": 1.0}, params, run_name="r", event_name="m") == [1]
        (study.directory / "bd.yaml").write_text(
            yaml.replace("a: int, b: int", "b: int, a: int")
        )
        newer = open_study(study.directory)
        newer.initialise()
        assert newer.create_tasks({"x": 1.0}, params, run_name="r", event_name="m") == [1]
        newer.close()


def test_a_pack_drops_old_revisions_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PACK_FROM_BYTES", 1)
    monkeypatch.setattr(server, "_PACK_FACTOR", 0)
    monkeypatch.setattr(server, "_PACK_KEEP_S", -1.0)
    study = open_study(write_study(tmp_path / "s"))
    with served(study) as process:
        study.initialise()
        create(study, x=[float(i) for i in range(50)])
        for i in range(60):
            study.run(1).norm = float(i)
        before = study.database_file.stat().st_size
        (storage,) = process._open
        storage.pack_when_due()
        assert storage._packing is not None
        storage._packing.join()

        assert study.database_file.stat().st_size < before
        assert not storage.is_removed
        study.run(2).norm = 2.0
        assert study.run(1).norm == 59.0
        assert problems(study.tables) == []
        study.database_file.unlink()
        assert storage.is_removed
        study.close()


def test_values_that_no_run_can_have_are_refused(study: Study) -> None:
    for params, message in (
        ({"nproc": 0}, "'nproc': found 0; expected a whole number, 1 at least"),
        ({"walltime": "soon"}, "'walltime': found text 'soon'; expected a duration"),
        ({"mem": "much"}, "'mem': found text 'much'; expected an amount of memory"),
        ({"a b": 1}, "'a b': found the name 'a b'; expected letters, digits and _"),
        ({"tol": 1, "Tol": 2}, "'tol': given twice, as 'tol' and as 'Tol'"),
        (5, "expected a mapping"),
    ):
        with pytest.raises(SchemaError, match=message):
            study.create_tasks({"x": 1.0}, params, run_name="a", event_name="m")  # type: ignore[arg-type]
    assert study.counts() == {}


def test_nothing_given_for_cores_and_machine_is_what_the_study_says(study: Study) -> None:
    params = {"nproc": None, "machine_name": None}

    assert study.create_tasks({"x": 1.0}, params, run_name="a", event_name="m") == [1]
    assert create(study, x=1.0) == [1]


def test_a_parameter_in_two_spellings_is_refused(study: Study) -> None:
    with pytest.raises(SchemaError, match="'n': given twice, as 'n' and as 'N'"):
        create(study, x=1.0, n=7, N=8)


def test_values_that_no_launcher_could_act_on_are_refused_later_too(study: Study) -> None:
    create(study, x=1.0)
    run = study.run(1)

    for changes in ({"nproc": 0}, {"walltime": "soon"}, {"a b": 1}, {"Tol": 1, "tol": 2}):
        with pytest.raises(SchemaError):
            run.update_entries(changes)
    run.update_entries({"nproc": 2, "walltime": "10m", "mem": 812.5})
    assert (run.nproc, run.walltime, run.mem) == (2, "10m", 812.5)


def test_ids_that_were_handed_out_are_kept_or_the_session_begins_again(study: Study) -> None:
    session = Session()
    with entered(session):
        assert create(study, x=1.0) == [1]
    assert create(study, x=2.0) == [1]

    with pytest.raises(SessionConflict, match="numbering"):
        session.commit()

    assert study.counts() == {"CREATED": 1}


def test_structural_conflicts_are_settled_silently(study: Study) -> None:
    create(study, x=[float(i) for i in range(200)])
    one, two = Session(), Session()
    with entered(one):
        for i in range(1, 101):
            study.run(i).state = "FINISHED"
    with entered(two):
        for i in range(101, 201):
            study.run(i).state = "FAILED"

    one.commit()
    two.commit()

    assert study.counts() == {"FINISHED": 100, "FAILED": 100}
    assert problems(study.tables) == []


def test_a_commit_over_two_studies_is_one(tmp_path: Path) -> None:
    with running_study(tmp_path / "one") as one, running_study(tmp_path / "two") as two:
        create(one, x=1.0)
        session = Session()
        with entered(session):
            one.run(1).state = "SENT"
            create(two, x=one.run(1).job.x)
        assert two.counts() == {}

        session.commit()

        assert (one.counts(), two.counts()) == ({"SENT": 1}, {"CREATED": 1})


def test_the_feed_names_the_runs_that_another_client_changed(study: Study) -> None:
    create(study, x=[float(i) for i in range(300)])
    other = open_study(study.directory)
    other.database.connect()
    snapshot = Snapshot(other.database)
    snapshot.renew()
    heard = Change()
    news = threading.Event()

    def hear(change: Change) -> None:
        heard.add(change)
        news.set()

    other.database.feed.listen(hear)
    news.clear()
    heard.is_everything = False
    study.run(250).norm = 1.0
    assert news.wait(10)
    snapshot.renew()
    changed = snapshot.changed_runs(heard)

    assert changed is not None
    assert 250 in changed
    assert len(changed) < 120
    snapshot.close()
    other.close()


def test_who_is_told_of_a_change_sees_it_also_in_a_view_that_is_new(study: Study) -> None:
    create(study, x=1.0)
    other = open_study(study.directory)
    other.database.connect()
    known: list[bytes] = []
    news = threading.Event()

    def hear(change: Change) -> None:
        known.append(other.database.last_transaction())
        news.set()

    before = other.database.last_transaction()
    other.database.feed.listen(hear)
    study.run(1).norm = 1.0
    assert news.wait(10)

    assert known[0] > before
    other.close()


def test_a_parameter_with_a_default_can_be_added_later(study: Study) -> None:
    create(study, x=[1.0, 2.0])
    yaml = (study.directory / "bd.yaml").read_text()
    (study.directory / "bd.yaml").write_text(
        yaml.replace("flag: bool", "flag: bool, y: {type: float, default: 1.0}")
    )
    newer = open_study(study.directory)
    newer.initialise()

    assert newer.run(2).job.y == 1.0
    assert create(newer, x=2.0, y=1.0) == [2]
    assert create(newer, x=2.0) == [2]
    assert create(newer, x=2.0, y=5.0) == [3]
    assert newer.select(newer.parse("y = 1")) == [1, 2]
    assert problems(newer.tables) == []
    newer.close()


def test_a_removed_parameter_is_refused_and_nothing_is_lost(study: Study) -> None:
    create(study, x=1.0)
    yaml = (study.directory / "bd.yaml").read_text()
    (study.directory / "bd.yaml").write_text(yaml.replace(", flag: bool", ""))
    newer = open_study(study.directory)

    with pytest.raises(SchemaChanged, match="motoko study migrate"):
        newer.initialise()

    assert study.run(1).job.x == 1.0
    newer.close()


def test_a_migration_renames_removes_and_retypes(study: Study) -> None:
    study.create_tasks(
        {"x": [1.0, 2.0], "s": "7"}, {"method": "cg"}, run_name="a", event_name="m"
    )
    (study.directory / "bd.yaml").write_text(
        "study: mult\njob: {y: int, s: int, extra: str, n: int}\nrun: {solver: str}\n"
        "job_space: {n: 1}\n"
    )
    newer = open_study(study.directory)
    wanted = Instructions(
        {"x": "y", "method": "solver"}, frozenset({"flag", "norm"}), {"extra": "e"}
    )

    done = newer.database.write(lambda tables: migrate(tables, newer.schema, wanted))

    assert (done.n_jobs, done.n_runs, done.without_identity) == (2, 2, ())
    assert newer.run(2).job.entries == {"id": 2, "y": 2, "s": 7, "extra": "e", "n": 1}
    assert newer.run(2).solver == "cg"
    again = newer.create_tasks(
        {"y": 2, "s": 7, "extra": "e"}, {"solver": "cg"}, run_name="a", event_name="m"
    )
    assert again == [2]
    assert problems(newer.tables) == []
    newer.close()


def test_a_migration_that_would_merge_jobs_changes_nothing(study: Study) -> None:
    create(study, x=[1.0, 2.0])
    (study.directory / "bd.yaml").write_text("study: mult\njob: {n: int}\n")
    newer = open_study(study.directory)
    wanted = Instructions(removed=frozenset({"x", "s", "flag", "norm", "method"}))

    with pytest.raises(SchemaChanged, match="jobs 1 and 2 would become the same point"):
        newer.database.write(lambda tables: migrate(tables, newer.schema, wanted))

    assert study.run(2).job.x == 2.0
    assert problems(study.tables) == []
    newer.close()


@pytest.mark.slow
def test_a_server_that_is_away_is_said_and_comes_back(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path / "mult"))
    with server_process(study):
        study.initialise()
        create(study, x=1.0)
        new_ids(study, 20)
    with pytest.raises(DatabaseUnavailable, match="mult"):
        study.database.write(lambda tables: tables.update_run(1, {"norm": 1.0}))

    with server_process(study):
        study.database.connect(10)
        assert study.run(1).job.x == 1.0
        other = open_study(study.directory)
        other.database.connect(10)
        assert not new_ids(study, 20) & new_ids(other, 60)
        other.close()
    study.close()


def new_ids(study: Study, n: int) -> set[bytes]:
    """Ids for objects, of which a server gives a hundred at once: in all, fewer than those."""
    return {study.database._db.storage.new_oid() for _ in range(n)}


def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(study, x=1.0)
    session = Session()
    with entered(session):
        study.run(1).norm = (study.run(1).norm or 0) + 1
    finish = FeedingStorage.tpc_finish

    def lost(storage: object, *args: object) -> None:
        finish(storage, *args)
        monkeypatch.setattr(FeedingStorage, "tpc_finish", finish)
        raise ClientDisconnected

    monkeypatch.setattr(FeedingStorage, "tpc_finish", lost)
    with pytest.raises(DatabaseUnavailable):
        session.commit()
    other = Session()
    with entered(other):
        study.run(1).norm = study.run(1).norm + 10
    other.commit()

    session.commit()

    study.close()
    assert study.run(1).norm == 11.0


def test_a_call_outside_sessions_whose_answer_was_lost_is_not_made_twice(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = create(study, x=1.0)[0]
    finish_it(study, run_id)
    other = open_study(study.directory)
    finish = FeedingStorage.tpc_finish

    def lost(storage: object, *args: object) -> None:
        finish(storage, *args)
        monkeypatch.setattr(FeedingStorage, "tpc_finish", finish)
        finish_it(other, run_id)
        raise ClientDisconnected

    monkeypatch.setattr(FeedingStorage, "tpc_finish", lost)
    study.run(run_id)["state"] = "CREATED"

    other.close()
    assert study.run(run_id).state == "FINISHED"
    assert study.run(run_id).attempt == 2


def test_a_write_whose_answer_was_lost_may_be_repeated(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(tables: Tables) -> int:
        tables.set_fact("count", (tables.fact("count") or 0) + 1)
        return int(tables.fact("count"))

    write = Write(study.database, count)
    finish = FeedingStorage.tpc_finish

    def lost(storage: object, *args: object) -> None:
        finish(storage, *args)
        raise ClientDisconnected

    def never_asked(storage: object, *args: object) -> None:
        raise ClientDisconnected

    with monkeypatch.context() as patch, pytest.raises(DatabaseUnavailable):
        patch.setattr(FeedingStorage, "tpc_finish", never_asked)
        write()
    with monkeypatch.context() as patch, pytest.raises(DatabaseUnavailable):
        patch.setattr(FeedingStorage, "tpc_finish", lost)
        write()

    assert write() == 1

    study.close()
    assert study.tables.fact("count") == 1


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (RuntimeError("the file is damaged"), False),
        (OSError(errno.EBADF, "Bad file descriptor"), False),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (ClientDisconnected("taken over"), True),
    ],
)
def test_a_server_that_cannot_is_told_from_one_that_is_away(
    study: Study, monkeypatch: pytest.MonkeyPatch, error: Exception, is_transient: bool
) -> None:
    def failing(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(server._File, "tpc_vote", failing)

    with pytest.raises(DatabaseUnavailable) as caught:
        study.database.write(lambda tables: tables.set_fact("some", "fact"))

    assert isinstance(caught.value, DatabaseFailed) is not is_transient
    assert caught.value.transient is is_transient


def test_a_commit_that_finds_no_space_at_its_very_end_can_be_made_again(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    change = Write(study.database, lambda tables: tables.set_fact("some", "fact"))
    with monkeypatch.context() as patch:
        patch.setattr(server.file_storage, "fsync", full)
        for _ in range(2):
            with pytest.raises(NoSpaceLeft):
                change()
    assert study.tables.fact("some") is None

    change()

    study.close()
    assert study.tables.fact("some") == "fact"


def finish_it(study: Study, run_id: int) -> None:
    """Execute a CREATED run, as a launcher would."""

    def execute(tables: Tables) -> None:
        number = tables.run(run_id).get("attempt", 0) + 1
        tables.update_run(run_id, {"state": "SUBMITTED", "attempt": number})
        tables.update_run(run_id, {"state": "FINISHED"})

    study.database.write(execute)


def test_who_asks_for_a_lost_commit_leaves_no_file_open_at_the_server(study: Study) -> None:
    def files_open_at_the_server() -> list[str]:
        found = [fd.resolve().name for fd in Path("/proc/self/fd").iterdir()]
        return sorted(name for name in found if name.endswith(".db"))

    since = study.database.last_transaction()
    note_it(study, "sought")
    create(study, x=1.0)
    before = files_open_at_the_server()

    assert study.database.has_committed("sought", since)

    assert files_open_at_the_server() == before


def note_it(study: Study, note: str) -> None:
    """Commit something with a note."""
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connection = study.database.open(manager)
    study.database.view(connection).set_fact("some", "fact")
    manager.get().note(note)
    manager.commit()
    connection.close()


def test_a_moved_study_keeps_its_runs(tmp_path: Path) -> None:
    with running_study(tmp_path / "mult") as study:
        create(study, x=1.0)
    moved = tmp_path / "elsewhere" / "mult"
    moved.parent.mkdir()
    (tmp_path / "mult").rename(moved)

    again = open_study(moved)
    with served(again):
        assert again.run(1).run_path == str(moved / "BD-mult-runs" / "run-1")
        assert read_study(moved).study == again.tables.study
        again.close()
