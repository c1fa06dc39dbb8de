"""What the launcher has to record survives a commit that fails, and strangers' words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from motoko.errors import AlreadyRunning, DatabaseUnavailable
from motoko.launch import desk
from motoko.launch.bash import Bash
from motoko.launch.desk import Desk
from motoko.launch.generator import LocalProcess, Start
from motoko.launch.record import Record
from motoko.launch.trouble import Troubles
from motoko.launch.work import Done, Work
from motoko.store.tables import Tables
from tests.support.launch_session import (
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for_attempts,
    wait_for_state,
)
from tests.support.studies import open_study
from tests.support.waiting import wait_until

FailOnce = Callable[[Callable[[Work], bool]], list[Work]]
SAY = """
n=$(sed 's/.*"nonce": "\\([^"]*\\)".*/\\1/' .motoko-run.json)
journal=.motoko-journal-1-h-1-a
say() { echo "- {\\"n\\":\\"$1\\",\\"t\\":1,\\"op\\":\\"set\\",$2}" >> $journal; }
"""


@pytest.fixture
def fail_once(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[Work], bool]], list[Work]]:
    """Lets the first commit fail that a question is true of; nothing of it is written."""

    def start(is_it: Callable[[Work], bool]) -> list[Work]:
        failed: list[Work] = []
        write = Desk._write

        def writing(desk: Desk, work: Work) -> Done:
            if not failed and is_it(work):
                failed.append(work)
                raise DatabaseUnavailable("of s", "the connection to the server is lost")
            return write(desk, work)

        monkeypatch.setattr(Desk, "_write", writing)
        return failed

    return start


class AllAtOnce:
    """Executes all attempts of a study at once; each ends when it is told to."""

    is_busy = True

    def n_wanted(self, desk: Desk) -> int:
        return 0 if desk.held else 20

    def schedule(self) -> None:
        """Nothing starts but what the test starts."""

    def walltime_s(self, desk: Desk, row: Mapping[str, Any]) -> float | None:
        """Nothing stands above the walltime of a run."""
        return None

    adopt = withdraw = end_left = schedule


@pytest.mark.parametrize("is_busy", [True, False])
def test_what_there_is_to_say_of_many_runs_is_said_in_few_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_busy: bool
) -> None:
    commits: list[int] = []
    write = Desk._write

    def writing(desk: Desk, work: Work) -> Done:
        commits.append(len(work.records))
        return write(desk, work)

    monkeypatch.setattr(Desk, "_write", writing)
    executing = AllAtOnce()

    async def execute(desk: Desk) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(desk.run)
            while len(desk.waiting) < 20:
                desk.claim()
                await anyio.lowlevel.checkpoint()
            executing.is_busy = is_busy
            while desk.waiting:
                attempt = desk.waiting.popleft()
                attempt.begin(1, 1.0)
                attempt.end(0, 2.0)
                desk.n_running = len(desk.waiting)
                desk.note(attempt)
                for _ in range(3):  # the desk could begin a commit now
                    await anyio.lowlevel.checkpoint()
                while attempt.has_news and not is_busy:
                    await anyio.lowlevel.checkpoint()
            while desk.held:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    with new_study(tmp_path / "s", "true\n") as study:
        create(study, 20)
        anyio.run(execute, Desk(study, "epoch", executing, Troubles(lambda _: None)))
        assert study.counts() == {"FINISHED": 20}
    assert ([n for n in commits if n] == [20]) is is_busy


def test_who_has_claimed_all_runs_does_not_ask_for_more_at_each_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    write = Desk._write

    def writing(desk: Desk, work: Work) -> Done:
        asked.append(work.n_claims)
        return write(desk, work)

    monkeypatch.setattr(Desk, "_write", writing)
    executing = AllAtOnce()
    monkeypatch.setattr(executing, "n_wanted", lambda desk: 20)
    executing.is_busy = False

    async def execute(desk: Desk) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(desk.run)
            while len(desk.waiting) < 5:
                desk.claim()
                await anyio.lowlevel.checkpoint()
            while desk.waiting:
                attempt = desk.waiting.popleft()
                attempt.begin(1, 1.0)
                attempt.end(0, 2.0)
                desk.note(attempt)
                while attempt.run_id in desk.held:
                    desk.claim()
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    with new_study(tmp_path / "s", "true\n") as study:
        create(study, 5)
        anyio.run(execute, Desk(study, "epoch", executing, Troubles(lambda _: None)))
        assert study.counts() == {"FINISHED": 5}
    assert [n for n in asked if n] == [20]


def test_a_launcher_that_is_replaced_while_it_claims_claims_nothing(tmp_path: Path) -> None:
    def work(epoch: str, n_claims: int = 0, *, is_first: bool = False) -> Work:
        return Work(
            epoch=epoch,
            records=[],
            held={},
            n_claims=n_claims,
            known_manifests=(),
            is_first=is_first,
        )

    claimed: list[int] = []

    def claim(tables: Tables) -> None:
        done = work("office:1-a", 5).apply(tables)
        if not claimed:
            claimed.extend(claim.row["id"] for claim in done.claimed)
            work("office:2-b", is_first=True).commit(other.database)

    with new_study(tmp_path / "s", "true\n") as study:
        create(study, 2)
        other = open_study(study.directory)
        work("office:1-a", is_first=True).commit(study.database)
        with pytest.raises(AlreadyRunning, match="office:2-b"):
            study.database.write(claim)
        other.close()

        assert claimed == [1, 2]
        assert study.counts() == {"CREATED": 2}


def test_runs_that_could_not_be_claimed_are_claimed_later(
    tmp_path: Path, fail_once: FailOnce
) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        create(study, 3)
        failed = fail_once(lambda work: work.n_claims > 0)
        with launching(study):
            wait_for_state(study, "FINISHED", 1, 2, 3)

    assert len(failed) == 1


def test_what_a_script_has_set_is_recorded_after_a_commit_that_failed(
    tmp_path: Path, fail_once: FailOnce
) -> None:
    script = f"""{SAY}
say $n '"name":"norm","value":1.5'
"""
    with new_study(tmp_path / "s", script) as study:
        failed = fail_once(lambda work: any("norm" in r.entries for r in work.records))
        with launching(study):
            create(study)
            wait_for_attempts(study, 1)

        assert row(study)["norm"] == 1.5
        assert row(study)["state"] == "FINISHED"
    assert len(failed) == 1


def test_what_was_recorded_without_an_answer_is_not_recorded_over_what_came_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""{SAY}
say $n '"name":"norm","value":1.5'
"""
    lost: list[Work] = []
    write = Desk._write
    with new_study(tmp_path / "s", script) as study:

        def writing(desk: Desk, work: Work) -> Done:
            done = write(desk, work)
            if not lost and any("norm" in r.entries for r in work.records):
                lost.append(work)
                study.update_run(1, {"norm": 2.0})  # as an action does that was told of it
                raise DatabaseUnavailable("of s", "the connection to the server is lost")
            return done

        monkeypatch.setattr(Desk, "_write", writing)
        with launching(study):
            create(study)
            wait_for_attempts(study, 1)
            study.create_tasks({"x": 7.0}, None, run_name="q", event_name="main")
            wait_for_state(study, "FINISHED", 1, 2)

        assert lost
        assert row(study)["norm"] == 2.0


def test_who_is_told_to_end_while_it_is_to_be_found_out_finds_it_out_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[Work] = []
    write = Desk._write
    with new_study(tmp_path / "s", "true\n") as study:

        def writing(desk: Desk, work: Work) -> Done:
            done = write(desk, work)
            if work.records and not lost:
                study.update_run(1, {"start_time": 5.0})
                lost.append(work)
                raise DatabaseUnavailable("of s", "the connection to the server is lost")
            return done

        async def execute(desk: Desk) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(desk.run)
                while not desk.waiting:
                    desk.claim()
                    await anyio.lowlevel.checkpoint()
                attempt = desk.waiting.popleft()
                attempt.begin(1, 1.0)
                desk.note(attempt)
                while not lost:
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            with anyio.CancelScope() as over:
                over.cancel()
                await desk.run()
            await desk.close()

        monkeypatch.setattr(Desk, "_write", writing)
        create(study)
        anyio.run(execute, Desk(study, "epoch", AllAtOnce(), Troubles(lambda _: None)))

        assert (row(study)["state"], row(study)["start_time"]) == ("RUNNING", 5.0)


def test_a_launcher_that_ends_records_what_may_not_be_and_claims_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_once: FailOnce
) -> None:
    def is_end(work: Work) -> bool:
        work.n_claims = 4  # there is room for all
        return any(record.is_over for record in work.records)

    monkeypatch.setattr(desk, "_FIRST_PAUSE_S", 3600.0)
    failed = fail_once(is_end)
    with new_study(tmp_path / "s", "true\n") as study:
        create(study)
        with launching(study):
            wait_until(lambda: bool(failed))
            create(study, 4)

        assert study.counts() == {"FINISHED": 1, "CREATED": 3}


def test_what_is_said_for_another_attempt_is_not_recorded(tmp_path: Path) -> None:
    script = f"""{SAY}
say stranger '"name":"norm","value":1.5'; say $n '"name":"other","value":2'
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_attempts(study, 1)

        assert row(study)["other"] == 2
        assert "norm" not in row(study)


def record(nonce: str, number: int = 1, state: str = "FINISHED") -> Record:
    """What one attempt of run 1 has to say at its end."""
    return Record(
        run_id=1,
        number=number,
        nonce=nonce,
        state=state,
        put_states=frozenset({"RUNNING"}),
        entries={"norm": 1.5},
        changes={"norm": 1.5, "end_time": 7.0},
        facts={"nonce": nonce, "state": state, "end_time": 7.0},
        quantities={"q": (1, 2.0)},
        is_over=True,
    )


@pytest.mark.parametrize(
    ("present", "is_kept"),
    [
        ({"state": "RUNNING", "attempt": 1, "nonce": "another"}, False),
        ({"state": "SUBMITTED", "attempt": 2, "nonce": "another"}, True),
        ({"state": "RUNNING", "attempt": 2, "nonce": "another"}, True),
        ({"state": "CREATED", "attempt": 1}, True),
        ({"state": "CREATED", "attempt": None}, False),
    ],
)
def test_a_run_that_is_not_the_attempts_any_more_stays_as_it_is(
    tmp_path: Path, present: Mapping[str, Any], is_kept: bool
) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        create(study)
        study.database.write(lambda tables: tables.update_run(1, present))
        before = row(study)
        study.database.write(record("own").apply)

        assert row(study) == before
        with study.database.read() as tables:
            assert tables.quantities(1) == {}
            assert [a["nonce"] for a in tables.attempts(1)] == ["own"] * is_kept


@pytest.mark.parametrize("state", ["FINISHED", None])
@pytest.mark.parametrize("set_by_hand", ["CANCELLED", "FAILED", "DIVERGED"])
def test_a_success_counts_only_where_the_state_is_the_attempts_own(
    tmp_path: Path, state: str | None, set_by_hand: str
) -> None:
    said = record("own")
    said = said._replace(state=state, changes={**said.changes, "has_finished": 1})
    with new_study(tmp_path / "s", "true\n") as study:
        create(study)
        for present in ("RUNNING", set_by_hand):
            own = {"state": present, "attempt": 1, "nonce": "own"}
            study.database.write(lambda tables, own=own: tables.update_run(1, own))
        study.database.write(said.apply)

        assert row(study)["state"] == set_by_hand
        assert "has_finished" not in row(study)
        assert attempts(study)[0]["state"] == "FINISHED"
        kept = said._replace(put_states=said.put_states | {set_by_hand}, state=None)
        study.database.write(kept.apply)
        assert row(study)["has_finished"] == 1


@pytest.mark.parametrize("state", ["FINISHED", "FAILED"])
def test_a_record_that_is_written_twice_is_written_once(tmp_path: Path, state: str) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        create(study)
        own = {"state": "SUBMITTED", "attempt": 1, "nonce": "own"}
        study.database.write(lambda tables: tables.update_run(1, own))
        said = record("own", state=state)
        said = said._replace(facts={**said.facts, "class": "infrastructure"})
        study.database.write(said.apply)
        before, history = row(study), attempts(study)
        study.database.write(said.apply)

        assert (row(study), attempts(study)) == (before, history)
        assert before["state"] == {"FINISHED": "FINISHED", "FAILED": "CREATED"}[state]


def test_a_run_has_begun_before_its_script_says_that_it_has_finished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start = Bash.start

    def start_slowly(self: Bash, what: Start) -> LocalProcess:
        process = start(self, what)
        wait_until(Path(what.run_dir, ".motoko-outcome-1").exists)
        return process

    monkeypatch.setattr(Bash, "start", start_slowly)
    script = f"""{SAY}
echo "- {{\\"n\\":\\"$n\\",\\"t\\":$EPOCHREALTIME,\\"op\\":\\"finish\\"}}" >> $journal
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")
        found = row(study)

    assert found["start_time"] <= found["end_time"]
