"""Commits over several databases: all of it or nothing, whenever the process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from ZEO.ClientStorage import ClientStorage

from motoko.crashpoints import VARIABLE
from motoko.errors import DatabaseUnavailable, SchemaError, TasksRenumbered
from motoko.store import decision, unit
from motoko.store.audit import problems
from motoko.store.database import Database
from motoko.store.decision import Taken, take_over
from motoko.store.feed import FeedingStorage
from motoko.store.firing import Firing
from motoko.store.ledger import Ledger
from motoko.store.session import Session, current_session, entered
from motoko.store.tables import Tables
from motoko.study.waiting import commit_current
from motoko.workflow import Workflow, control
from motoko.workflow.firings import in_session
from tests.support.dying_session import FIRST, do_work, prepared, run_work
from tests.support.studies import ROOT, delay_news
from tests.support.waiting import wait_until
from tests.support.workflows import served_workflow

DONE = {FIRST: [1.0, 2.0], "norm": [3.0], "note": "seen", "count": 1, "n_firings": 1}
NOTHING = {FIRST: [1.0], "norm": [], "note": None, "count": 0, "n_firings": 0}


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, FIRST, "norm") as found:
        found.mult.createTask(x=1.0)
        yield found


def state(workflow: Workflow) -> dict[str, Any]:
    """All that the work changes, as everybody sees it."""
    found: dict[str, Any] = {}
    for name in (FIRST, "norm"):
        with workflow.task_manager(name).base.database.read() as tables:
            assert problems(tables) == []
            rows = [tables.run(run_id) for run_id in tables.run_ids()]
            found[name] = [tables.job(row["job_id"])["x"] for row in rows]
            if name == FIRST:
                found["note"] = rows[0].get("note")
    with workflow.vars.db.read() as ledger:
        found["count"] = ledger.variables().get("count", 0)
        found["n_firings"] = len(ledger.firings())
    return found


def left_over(workflow: Workflow) -> list[Any]:
    """What is kept of commits over several databases."""
    found: list[Any] = []
    for name in (FIRST, "norm"):
        with workflow.task_manager(name).base.database.read() as tables:
            found += tables.marks()
    with workflow.vars.db.read() as ledger:
        return found + list(ledger.commits())


def die_at(workflow: Workflow, point: str) -> None:
    """Have a process do the work and die at this point."""
    environment = {**os.environ, VARIABLE: f"{point}:{workflow.directory / 'crashed'}"}
    command = [sys.executable, "-m", "tests.support.dying_session", str(workflow.directory)]
    done = subprocess.run(command, cwd=ROOT, env=environment)
    assert done.returncode == -signal.SIGKILL
    if point in ("commit.decided", "commit.applied"):
        wait_until(lambda: is_decided(workflow), "word of the decision")


def is_decided(workflow: Workflow) -> bool:
    """Whether this process was told of a commit that does not have all its parts."""
    with workflow.vars.db.read() as ledger:
        return bool(ledger.commits())


@pytest.mark.slow
def test_a_process_that_dies_before_the_decision_has_done_nothing(workflow: Workflow) -> None:
    die_at(workflow, "commit.begun")

    assert state(workflow) == NOTHING
    workflow.recover()
    assert state(workflow) == NOTHING


@pytest.mark.slow
@pytest.mark.parametrize("point", ["commit.decided", "commit.applied"])
def test_what_was_decided_reaches_every_study(workflow: Workflow, point: str) -> None:
    die_at(workflow, point)

    before = state(workflow)
    workflow.recover()

    assert before not in (DONE, NOTHING)
    assert state(workflow) == DONE
    assert left_over(workflow) == []


@pytest.mark.slow
def test_a_process_that_dies_after_the_last_study_has_done_all(workflow: Workflow) -> None:
    die_at(workflow, "commit.through")

    assert state(workflow) == DONE
    workflow.recover()
    assert state(workflow) == DONE
    assert left_over(workflow) == []


@pytest.mark.slow
def test_recovering_again_changes_nothing(workflow: Workflow) -> None:
    die_at(workflow, "commit.applied")
    workflow.recover()
    workflow.mult.base.run(1).note = "changed since"

    workflow.recover()

    assert state(workflow) == {**DONE, "note": "changed since"}


@pytest.mark.slow
def test_marks_that_a_recovery_has_left_are_swept_by_the_next(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_at(workflow, "commit.applied")

    def reached(point: str) -> None:
        if point == "recovery.forgotten":
            raise KeyboardInterrupt

    monkeypatch.setattr(decision, "reached", reached)
    with pytest.raises(KeyboardInterrupt):
        workflow.recover()
    monkeypatch.undo()
    assert len(left_over(workflow)) == 2  # one in each study

    workflow.recover()

    assert left_over(workflow) == []
    assert state(workflow) == DONE


@pytest.mark.slow
def test_a_study_that_has_its_part_is_not_given_it_again(workflow: Workflow) -> None:
    die_at(workflow, "commit.applied")
    workflow.mult.base.update_run(1, {"note": None})  # as it was before the commit

    workflow.recover()

    assert state(workflow) == {**DONE, "note": None}


def test_what_is_through_is_not_applied_by_a_recovery(workflow: Workflow) -> None:
    run_work(workflow)
    workflow.mult.base.run(1).note = "changed since"

    workflow.recover()

    assert state(workflow) == {**DONE, "note": "changed since"}
    assert left_over(workflow) == []


def test_commits_that_are_through_do_not_pile_up(workflow: Workflow) -> None:
    for x in range(5):
        run_work(workflow, float(x))

    assert len(left_over(workflow)) == 3


def test_what_others_have_forgotten_of_commits_is_not_kept_in_mind(
    workflow: Workflow, other: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, "_MOST_SETTLED", 1)
    for x in range(5):
        run_work(workflow, float(x))
        other.recover()
        for database in workflow.databases:
            database.await_news()

    studies = [workflow.mult.base.database, workflow.norm.base.database]
    assert max(len(d.settled) for d in (workflow.vars.db, *studies)) <= 2
    assert left_over(workflow) == []


@contextmanager
def lost_answers(n_before: int) -> Iterator[None]:
    """The answer to one `tpc_finish` gets lost, after so many that were heard."""
    finish = FeedingStorage.tpc_finish
    left = n_before

    def losing(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        found = finish(self, *arguments, **options)
        if left == -1:
            raise OSError("the answer is lost")
        return found

    FeedingStorage.tpc_finish = losing
    try:
        yield
    finally:
        FeedingStorage.tpc_finish = finish


@pytest.mark.parametrize("n_before", [0, 1, 2])
def test_a_commit_whose_answer_is_lost_happens_one_time(
    workflow: Workflow, n_before: int
) -> None:
    session = prepared(workflow)

    with lost_answers(n_before), pytest.raises(DatabaseUnavailable):
        session.commit(is_last=True)
    session.commit(is_last=True)

    assert state(workflow) == DONE


def test_the_workflows_database_finishes_its_part_first(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    finish = FeedingStorage.tpc_finish

    def recorded(self: Any, *arguments: Any, **options: Any) -> Any:
        order.append(self is workflow.vars.db._db.storage)
        return finish(self, *arguments, **options)

    def adverse(self: Any) -> str:
        return "z" if self is workflow.vars.db._db.storage else "a"

    monkeypatch.setattr(FeedingStorage, "tpc_finish", recorded)
    monkeypatch.setattr(ClientStorage, "sortKey", adverse)
    run_work(workflow)

    assert order == [True, False, False]


def note(workflow: Workflow, text: str) -> None:
    """Change a run and a variable in one session."""
    with workflow.session():
        workflow.mult.base.run(1).note = text
        workflow.vars.count = workflow.vars.get("count", 0) + 1


def run_until_decided(workflow: Workflow, line: str) -> None:
    """Have a process run a line and set a variable, and die when that is decided."""
    program = f"""
from motoko.workflow import Workflow, control
workflow = Workflow({str(workflow.directory)!r})
workflow.run_name = "test"
with workflow.session():
    run = workflow.mult.base.run(1)
    {line}
    workflow.vars.count = 1
"""
    environment = {**os.environ, VARIABLE: f"commit.decided:{workflow.directory / 'crashed'}"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: is_decided(workflow), "word of the decision")


@pytest.fixture
def other(workflow: Workflow) -> Iterator[Workflow]:
    """The same workflow, as another process has it."""
    found = Workflow(str(workflow.directory))
    found.run_name = "test"
    yield found
    found.close()


def test_recovering_beside_commits_undoes_none_of_them(
    workflow: Workflow, other: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow.run_name = "test"
    note(workflow, "one")
    commits = Ledger.commits

    def overtaken(self: Ledger) -> Any:
        found = commits(self)
        monkeypatch.undo()
        note(workflow, "two")
        return found

    monkeypatch.setattr(Ledger, "commits", overtaken)
    other.recover()

    assert workflow.mult.base.run(1).note == "two"


@pytest.mark.slow
def test_a_recovery_that_is_overtaken_while_it_applies_begins_again(
    workflow: Workflow, other: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = workflow.mult.base.run(1)
    run.note = "known"
    run.note = None
    # Marks that stay: who empties a leaf conflicts with whoever writes to it.
    workflow.mult.base.database.write(lambda tables: tables.set_applied("elsewhere-1"))
    run_until_decided(workflow, 'run.note = "seen"')
    apply = decision._apply

    def overtaken(tables: Any, mark: str, part: Any) -> bool:
        monkeypatch.undo()
        other.recover()
        other.mult.base.run(1).note = None  # as it was before, so that nothing else conflicts
        return apply(tables, mark, part)

    monkeypatch.setattr(decision, "_apply", overtaken)
    workflow.recover()

    assert workflow.mult.base.run(1).get("note") is None


@pytest.mark.slow
def test_what_was_decided_holds_against_what_others_did_meanwhile(workflow: Workflow) -> None:
    run = workflow.mult.base.run(1)
    run.state = "RUNNING"
    run_until_decided(workflow, 'run.state = "CANCELLED"')
    run.state = "FINISHED"

    workflow.recover()

    assert run.state == "CANCELLED"
    assert left_over(workflow) == []


def test_a_study_may_be_called_as_the_workflows_database_is(tmp_path: Path) -> None:
    with served_workflow(tmp_path, "variables") as workflow:
        study = workflow.task_manager("variables")
        session = Session(firing=Firing(workflow.vars.db, "test", "event", "a", None, ()))
        with entered(session):
            study.createTask(x=1.0)
            workflow.vars.count = 1
        with lost_answers(0), pytest.raises(DatabaseUnavailable):
            session.commit(is_last=True)

        session.commit(is_last=True)

        assert (study.base.counts(), workflow.vars.count) == ({"CREATED": 1}, 1)


def test_a_commit_in_doubt_that_another_process_completes_happens_one_time(
    workflow: Workflow, other: Workflow
) -> None:
    session = prepared(workflow)
    with lost_answers(0), pytest.raises(DatabaseUnavailable):
        session.commit(is_last=True)
    other.recover()
    other.mult.base.run(1).note = "changed since"

    session.commit(is_last=True)

    assert state(workflow) == {**DONE, "note": "changed since"}


@pytest.mark.parametrize("n_before", [0, 1, 2])
def test_an_answer_that_is_lost_at_a_wait_loses_nothing(
    workflow: Workflow, n_before: int
) -> None:
    n_bodies = 0

    async def body() -> None:
        nonlocal n_bodies
        n_bodies += 1
        workflow.mult.base.run(1).note = "seen"
        workflow.mult.createTask(x=2.0)
        workflow.norm.createTask(x=3.0)
        workflow.vars.count = workflow.vars.get("count", 0) + 1
        with lost_answers(n_before):
            await commit_current()
        workflow.mult.base.run(1).note = "after"

    workflow.run_name = "test"
    firing = Firing(workflow.vars.db, "test", "event", "mult", "mult", (1,))
    anyio.run(in_session, body, "work", firing)

    assert n_bodies == 1
    assert state(workflow) == {**DONE, "note": "after"}


def test_an_action_that_fails_while_a_commit_of_it_is_in_doubt_finds_out_about_that(
    workflow: Workflow,
) -> None:
    n_bodies = 0

    async def body() -> None:
        nonlocal n_bodies
        n_bodies += 1
        session = current_session()
        assert session is not None
        if n_bodies == 1:
            do_work(workflow)
            with lost_answers(0):
                session.commit()

    workflow.run_name = "test"
    firing = Firing(workflow.vars.db, "test", "event", "mult", "mult", (1,))
    anyio.run(in_session, body, "work", firing)

    assert (n_bodies, firing.is_kept) == (2, True)
    assert state(workflow) == DONE
    with workflow.vars.db.read() as ledger:
        assert ledger.open_firings("test") == {}


def test_a_session_whose_answer_is_lost_is_committed(workflow: Workflow) -> None:
    workflow.run_name = "test"

    with lost_answers(0):
        note(workflow, "seen")

    assert (workflow.mult.base.run(1).note, workflow.vars.count) == ("seen", 1)


def test_a_firing_that_finds_everything_done_leaves_no_record(workflow: Workflow) -> None:
    run_work(workflow)
    session = Session(firing=Firing(workflow.vars.db, "test", "event", "mult", "mult", (1,)))
    with entered(session):
        workflow.mult.createTask(x=2.0)
    session.commit(is_last=True)

    assert not session.has_changed
    assert state(workflow)["n_firings"] == 1


@pytest.mark.slow
def test_what_was_changed_since_the_decision_stays(workflow: Workflow) -> None:
    run = workflow.mult.base.run(1)
    run_until_decided(workflow, 'run.note, run.other = "seen", "too"')
    run.note = "changed since"

    workflow.recover()

    assert (run.note, run.other) == ("changed since", "too")


def test_the_marks_of_another_workflow_in_a_study_are_left_alone(workflow: Workflow) -> None:
    database = workflow.mult.base.database
    database.write(lambda tables: tables.set_applied("elsewhere-1"))

    workflow.recover()

    assert left_over(workflow) == ["elsewhere-1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        'run.note = "first"; run.note = "second"',
        'run = workflow.mult.createTask(x=2.0)[0][0]; run.note = "first"; run.note = "second"',
    ],
)
def test_the_last_of_several_changes_of_an_entry_counts(workflow: Workflow, line: str) -> None:
    run_until_decided(workflow, line)

    workflow.recover()

    assert workflow.mult.base.run(workflow.mult.base.tables.last_run_id).note == "second"


@pytest.mark.slow
def test_changes_follow_the_task_that_they_were_made_for(workflow: Workflow) -> None:
    run_until_decided(workflow, 'workflow.mult.createTask(x=2.0)[0][0].note = "of x = 2"')
    workflow.mult.createTask(x=9.0)

    workflow.recover()

    found = [(job.x, run.get("note")) for run, job in workflow.mult.select()]
    assert found == [(1.0, None), (9.0, None), (2.0, "of x = 2")]


@pytest.mark.slow
def test_a_run_of_another_job_gets_nothing_that_was_decided_for_its_id(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    run_until_decided(workflow, 'run.note = "of x = 1"')
    job_id = workflow.mult.createTask(x=9.0)[0][1].id
    workflow.mult.base.database.write(lambda tables: tables.update_run(1, {"job_id": job_id}))

    workflow.recover()

    assert workflow.mult.base.run(1).get("note") is None
    assert "left out of a commit" in caplog.text


@pytest.mark.slow
def test_a_run_gets_nothing_that_was_decided_for_a_task_that_cannot_be_made(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_until_decided(workflow, 'workflow.mult.createTask(x=2.0)[0][0].note = "of x = 2"')
    workflow.mult.createTask(x=9.0)

    def refused(*arguments: Any) -> list[int]:
        raise SchemaError("mult", "x", "a number", "it is a text by now")

    monkeypatch.setattr(Tables, "create_tasks", refused)
    workflow.recover()

    assert [(job.x, run.get("note")) for run, job in workflow.mult.select()] == [
        (1.0, None),
        (9.0, None),
    ]
    assert caplog.text.count("left out of a commit") == 2


def taken_over(workflow: Workflow) -> Taken:
    """What a repair of the study does with what was decided for it."""
    with workflow.vars.db.read() as ledger:
        parts = {mark: parts[FIRST] for mark, parts in ledger.commits().items()}
    taken: Taken = workflow.mult.base.database.write(lambda t: take_over(t, parts))
    return taken


@pytest.mark.slow
def test_a_repair_gives_changes_to_the_tasks_that_they_were_made_for(
    workflow: Workflow,
) -> None:
    run_until_decided(workflow, 'workflow.mult.createTask(x=2.0)[0][0].note = "of x = 2"')
    workflow.mult.createTask(x=9.0)

    assert taken_over(workflow) == Taken(n_commits=1)

    found = [(job.x, run.get("note")) for run, job in workflow.mult.select()]
    assert found == [(1.0, None), (9.0, None), (2.0, "of x = 2")]


@pytest.mark.slow
def test_a_repair_gives_nothing_to_a_run_of_another_job(workflow: Workflow) -> None:
    run_until_decided(workflow, 'run.note = "of x = 1"')
    job_id = workflow.mult.createTask(x=9.0)[0][1].id
    workflow.mult.base.database.write(lambda tables: tables.update_run(1, {"job_id": job_id}))

    taken = taken_over(workflow)

    assert workflow.mult.base.run(1).get("note") is None
    assert len(taken.problems) == 1


@pytest.mark.slow
def test_a_repair_leaves_a_run_that_has_begun_since_the_decision(workflow: Workflow) -> None:
    run_until_decided(workflow, 'run.note = "seen"')
    run = workflow.mult.base.run(1)
    started = {"state": "SUBMITTED", "start_time": time.time() + 60}
    workflow.mult.base.database.write(lambda tables: tables.update_run(1, started))

    assert taken_over(workflow).problems == []

    assert run.get("note") is None


def test_those_of_one_process_decide_one_after_the_other(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_held: list[bool] = []

    def reached(point: str) -> None:
        is_held.append(workflow.vars.db.deciding.locked())

    monkeypatch.setattr(unit, "reached", reached)
    run_work(workflow)

    assert is_held == [True, True, False]  # before and after the decision, after all of it


@pytest.mark.slow
def test_a_mark_is_not_forgotten_whose_decision_is_news(
    workflow: Workflow, other: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.recover()
    delayed = delay_news(other.vars.db, monkeypatch)
    die_at(workflow, "commit.applied")
    assert delayed.wait(20)
    before = left_over(workflow)

    for name in (FIRST, "norm"):
        database = other.task_manager(name).base.database
        database.await_news()
        decision._sweep(other.vars.db, database)

    assert left_over(workflow) == before


@contextmanager
def overtaken(other: Workflow) -> Iterator[None]:
    """A commit is cut off when decided, and others create a task before it is completed."""
    finish = FeedingStorage.tpc_finish

    def once(self: Any, *arguments: Any, **options: Any) -> Any:
        finish(self, *arguments, **options)
        FeedingStorage.tpc_finish = finish
        threading.Thread(target=others).start()
        raise OSError("the connection is lost")

    def others() -> None:
        other.mult.createTask(x=9.0)
        has_created.set()

    has_created = threading.Event()
    has_committed = Database.has_committed

    def asked(self: Any, *arguments: Any) -> bool:
        has_created.wait(20)
        return has_committed(self, *arguments)

    FeedingStorage.tpc_finish, Database.has_committed = once, asked
    try:
        yield
    finally:
        FeedingStorage.tpc_finish, Database.has_committed = finish, has_committed


def recorded(workflow: Workflow) -> Any:
    """What the record of the only firing says that it has made."""
    with workflow.vars.db.read() as ledger:
        (record,) = ledger.firings().values()
    return record["created"]


RENUMBERED = {**DONE, FIRST: [1.0, 9.0, 2.0]}


def test_an_action_whose_tasks_get_other_ids_after_the_decision_is_called_one_time(
    workflow: Workflow, other: Workflow
) -> None:
    n_bodies = 0

    async def body() -> None:
        nonlocal n_bodies
        n_bodies += 1
        do_work(workflow)

    workflow.run_name = "test"
    firing = Firing(workflow.vars.db, "test", "event", FIRST, FIRST, (1,))
    with overtaken(other):
        anyio.run(in_session, body, "work", firing)

    assert n_bodies == 1
    assert state(workflow) == RENUMBERED
    assert recorded(workflow) == {FIRST: [[3, 3]], "norm": [[1, 1]]}


def test_an_action_whose_tasks_get_other_ids_at_a_wait_is_called_again(
    workflow: Workflow, other: Workflow
) -> None:
    given: list[int] = []

    async def body() -> None:
        given.append(do_work(workflow))
        await commit_current()

    workflow.run_name = "test"
    firing = Firing(workflow.vars.db, "test", "event", FIRST, FIRST, (1,))
    with overtaken(other):
        anyio.run(in_session, body, "work", firing)

    assert given == [2, 3]
    assert state(workflow) == {**RENUMBERED, "count": 2}  # as an action that is resumed
    assert recorded(workflow) == {FIRST: [[3, 3]], "norm": [[1, 1]]}


@pytest.mark.parametrize("is_action", [False, True])
def test_whoever_goes_on_with_tasks_that_got_other_ids_is_told(
    workflow: Workflow, other: Workflow, is_action: bool
) -> None:
    n_bodies = 0

    async def body() -> None:
        nonlocal n_bodies
        n_bodies += 1
        do_work(workflow)

    workflow.run_name = "test"
    with overtaken(other), pytest.raises(TasksRenumbered, match="'mult' have other ids now"):
        if is_action:
            anyio.run(in_session, body, "work")
        else:
            with workflow.session():
                do_work(workflow)

    assert state(workflow) == {**RENUMBERED, "n_firings": 0}
    assert n_bodies == is_action


@pytest.mark.slow
def test_what_was_decided_of_an_entry_that_was_declared_later_reaches_its_run(
    workflow: Workflow, other: Workflow
) -> None:
    file = workflow.mult.base.config.file
    declared = "run: {z: {type: int, default: 4}, "
    file.write_text(file.read_text().replace("run: {", declared))
    newer = Workflow(str(workflow.directory))
    newer.mult.base.initialise()
    assert newer.mult.base.run(1).z == 4
    run_until_decided(newer, "run.z = 9")

    newer.recover()

    assert newer.mult.base.run(1).z == 9
    newer.close()


@pytest.mark.slow
def test_what_was_decided_is_made_before_anything_is_declared(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_until_decided(workflow, "workflow.mult.createTask(x=2.0)")
    file = workflow.mult.base.config.file
    declared = "run: {z: {type: int, default: 4}, "
    file.write_text(file.read_text().replace("run: {", declared))
    newer = Workflow(str(workflow.directory))
    newer.run_name = "test"
    monkeypatch.setattr(control, "start_server", lambda *_, **__: None)  # it runs here

    control.serve_as_it_is(newer)

    assert [run.id for run, _ in newer.mult.createTask(x=[1.0, 2.0])] == [1, 2]
    assert left_over(newer) == []
    newer.close()
