"""Sessions that read what others write at the same moment: one of them goes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from motoko.errors import SessionConflict
from motoko.store import unit
from motoko.store.feed import FeedingStorage
from motoko.store.guard import Guard
from motoko.store.session import Session, entered
from motoko.store.share import Share
from motoko.workflow import Workflow
from tests.support.workflows import served_workflow

N_ROUNDS = 20


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


@pytest.fixture
def other(workflow: Workflow) -> Iterator[Workflow]:
    """The same workflow, as another process has it."""
    found = Workflow(str(workflow.directory))
    found.run_name = "test"
    yield found
    found.close()


def in_session(work: Callable[[], None], gate: threading.Barrier) -> None:
    """Do the work in a session, all at once the first time, and anew after a conflict."""
    is_first = True
    while True:
        session = Session()
        try:
            with entered(session):
                work()
                if is_first:
                    gate.wait(30)
                is_first = False
                session.commit()
            return
        except SessionConflict:
            continue
        finally:
            session.abort()


def at_once(asked: Workflow, *works: Callable[[], None]) -> None:
    """Do each work in a session and thread of its own; then all is known to ``asked``."""
    gate = threading.Barrier(len(works))
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(in_session, work, gate) for work in works]:
            done.result(60)
    for database in asked.databases:
        database.await_news()


def test_two_that_read_both_runs_do_not_both_turn_off_their_own(
    workflow: Workflow, other: Workflow
) -> None:
    workflow.mult.createTask(x=[1.0, 2.0])
    runs = [workflow.mult.base.run(i) for i in (1, 2)]

    def turn_off(seen_by: Workflow, mine: int) -> Callable[[], None]:
        def work() -> None:
            if all(seen_by.mult.base.run(i).note == "on" for i in (1, 2)):
                seen_by.mult.base.run(mine).note = "off"

        return work

    for run in runs:
        run.state = "FINISHED"
    for _ in range(N_ROUNDS):
        for run in runs:
            run.note = "on"
        at_once(workflow, turn_off(workflow, 1), turn_off(other, 2))
        assert sorted(run.note for run in runs) == ["off", "on"]


def test_what_is_read_in_one_study_and_written_in_another_is_as_if_one_went_first(
    workflow: Workflow, other: Workflow
) -> None:
    workflow.mult.createTask(x=1.0)
    workflow.norm.createTask(x=1.0)
    runs = [workflow.mult.base.run(1), workflow.norm.base.run(1)]

    def take_over(seen_by: Workflow, read: str, written: str) -> Callable[[], None]:
        def work() -> None:
            note = seen_by.task_managers[read].base.run(1).note
            seen_by.task_managers[written].base.run(1).note = note

        return work

    for run in runs:
        run.state = "FINISHED"
    for _ in range(N_ROUNDS):
        runs[0].note, runs[1].note = "left", "right"
        at_once(workflow, take_over(workflow, "mult", "norm"), take_over(other, "norm", "mult"))
        assert runs[0].note == runs[1].note


@pytest.mark.slow
def test_a_variable_that_is_only_read_counts_too(workflow: Workflow, other: Workflow) -> None:
    workflow.mult.createTask(x=1.0)
    run = workflow.mult.base.run(1)
    run.state = "FINISHED"

    def by_variable() -> None:
        workflow.mult.base.run(1).note = f"limit {workflow.vars.limit}"

    def by_note() -> None:
        other.vars.limit = 1 if other.mult.base.run(1).note == "none" else 2

    for _ in range(N_ROUNDS):
        run.note, workflow.vars.limit = "none", 0
        at_once(workflow, by_variable, by_note)
        assert (run.note, workflow.vars.limit) in (("limit 0", 2), ("limit 1", 1))


READS: dict[str, Callable[[Workflow], object]] = {
    "a run of the study that is changed": lambda w: w.mult.base.run(2).note,
    "a run of another study": lambda w: w.norm.base.run(1).note,
    "a variable": lambda w: w.vars.note,
}
CHANGES: list[Callable[[Workflow], None]] = [
    lambda w: setattr(w.mult.base.run(2), "note", "changed"),
    lambda w: setattr(w.norm.base.run(1), "note", "changed"),
    lambda w: setattr(w.vars, "note", "changed"),
]


@pytest.fixture
def finished(workflow: Workflow) -> Workflow:
    """With two runs of one study, one of another, and a variable, which all have a note."""
    workflow.mult.createTask(x=[1.0, 2.0])
    workflow.norm.createTask(x=1.0)
    workflow.vars.note = "known"
    runs = workflow.mult.base
    for run in (runs.run(1), runs.run(2), workflow.norm.base.run(1)):
        run.note, run.state = "known", "FINISHED"
    return workflow


def before_the_guard(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> None:
    """Call this between a session's last look at the news and its commit, one time."""

    def guarding(shares: list[Share]) -> Guard:
        monkeypatch.setattr(unit, "Guard", Guard)
        with entered(None):
            call()
        return Guard(shares)

    monkeypatch.setattr(unit, "Guard", guarding)


@pytest.mark.parametrize("is_own_process", [False, True])
@pytest.mark.parametrize(
    ("read", "change"), list(zip(READS.values(), CHANGES, strict=True)), ids=list(READS)
)
def test_what_was_read_and_is_changed_just_before_the_commit_is_a_conflict(
    finished: Workflow,
    other: Workflow,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Workflow], object],
    change: Callable[[Workflow], None],
    is_own_process: bool,
) -> None:
    session = Session()
    with entered(session):
        finished.mult.base.run(1).note = f"because of {read(finished)}"

    before_the_guard(monkeypatch, lambda: change(finished if is_own_process else other))
    with pytest.raises(SessionConflict):
        session.commit()

    session.abort()
    assert finished.mult.base.run(1).note == "known"


def test_what_another_session_of_the_process_has_just_committed_is_a_conflict(
    finished: Workflow,
) -> None:
    first, second = Session(), Session()
    for session, mine, read in ((first, 1, 2), (second, 2, 1)):
        with entered(session):
            if finished.mult.base.run(read).note == "known":
                finished.mult.base.run(mine).note = "changed"
    told: list[SessionConflict] = []

    def overlap() -> None:
        with pytest.raises(SessionConflict) as caught:
            second.commit()
        told.append(caught.value)

    first.after_commit(overlap)
    first.commit()

    assert len(told) == 1
    assert [finished.mult.base.run(i).note for i in (1, 2)] == ["changed", "known"]


def test_what_is_changed_while_a_commit_is_repeated_is_a_conflict(
    finished: Workflow, other: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session()
    with entered(session):
        finished.mult.base.run(1).note = f"because of {finished.mult.base.run(2).note}"
    renew = Share.renew

    def late(self: Share, *arguments: int) -> None:
        if self.database is finished.mult.base.database:
            monkeypatch.undo()
            with entered(None):
                other.mult.base.run(2).note = "changed"
            self.database.await_news()
        renew(self, *arguments)

    monkeypatch.setattr(Share, "renew", late)
    with entered(None):
        other.mult.base.run(1).norm = 1.0  # the same row, of which the session uses the note
    with pytest.raises(SessionConflict):
        session.commit()

    session.abort()
    assert finished.mult.base.run(1).note == "known"


def test_nobody_commits_to_what_was_read_between_the_guard_and_the_end(
    finished: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session()
    with entered(session):
        finished.mult.base.run(1).note = f"because of {finished.norm.base.run(1).note}"
    begun: list[FeedingStorage] = []
    at_vote: list[FeedingStorage] = []
    begin, vote = FeedingStorage.tpc_begin, Guard.tpc_vote

    def recorded(self: FeedingStorage, *arguments: object, **options: object) -> None:
        begin(self, *arguments, **options)
        begun.append(self)

    def looking(self: Guard, transaction: object) -> None:
        at_vote.extend(begun)
        vote(self, transaction)

    monkeypatch.setattr(FeedingStorage, "tpc_begin", recorded)
    monkeypatch.setattr(Guard, "tpc_vote", looking)
    session.commit()

    assert finished.norm.base.database._db.storage in at_vote
