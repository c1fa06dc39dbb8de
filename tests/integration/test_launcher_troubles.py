"""What keeps runs from starting: told while it lasts, and a matter of its own study alone."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.errors import ConflictsExhausted, DatabaseUnavailable, NoSpaceLeft
from motoko.launch import desk, executor, starter
from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.launch.record import Record
from motoko.launch.rundir import Kit, RunDirs
from motoko.launch.trouble import Trouble
from motoko.launch.watch import Watch
from motoko.launch.work import Done, Work
from motoko.store.tables import Tables
from motoko.study.waiting import until_over
from tests.support.launch_session import (
    ONCE,
    YAML,
    attempts,
    create,
    launching,
    make_gate,
    new_study,
    open_gate,
    reap,
    row,
    wait_for_attempts,
    wait_for_file,
    wait_for_state,
)
from tests.support.waiting import wait_until

Fail = Callable[[str, Exception | None], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Lets the making of run directories fail, in the study of this name."""
    make = RunDirs.make
    errors: dict[str, Exception | None] = {}

    def making(self: RunDirs, attempt: Attempt, generation: str, kit: Kit) -> None:
        error = errors.get(self._study.name)
        if error is not None:
            raise error
        make(self, attempt, generation, kit)

    monkeypatch.setattr(RunDirs, "make", making)
    return errors.__setitem__


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_stops_one_study_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Fail
) -> None:
    monkeypatch.setattr(starter, "PAUSE_S", 3600.0)
    told: list[list[str]] = []
    with (
        new_study(tmp_path / "full", "true\n", YAML.replace("study: s", "study: full")) as one,
        new_study(tmp_path / "good", "true\n", YAML.replace("study: s", "study: good")) as good,
    ):
        fail("full", full())
        create(one, 2)
        with launching(one, good, tell=lambda now: told.append([t.what for t in now])):
            wait_until(lambda: bool(told))
            create(good, 5)
            wait_for_state(good, "FINISHED", 1, 2, 3, 4, 5)

        assert told == [[f"cannot start runs in {one.runs_dir}"]]


def test_a_trouble_with_starting_is_over_when_nothing_waits_any_more(
    tmp_path: Path, fail: Fail
) -> None:
    told: list[list[Trouble]] = []
    with (
        new_study(tmp_path / "s", "true\n") as study,
        launching(study, tell=lambda now: told.append(list(now))),
    ):
        fail("s", full())
        create(study)
        wait_until(lambda: bool(told))
        study.update_run(1, {"state": "CANCELLED"})
        wait_until(lambda: told[-1] == [])

    assert [len(now) for now in told] == [1, 0]


def test_a_trouble_with_reading_is_over_when_its_run_is_looked_after_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[Trouble]] = []
    is_broken = [True]
    fold = Attempt.fold

    def folding(self: Attempt, journal: str | None = None) -> bool:
        if is_broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return fold(self, journal)

    monkeypatch.setattr(Attempt, "fold", folding)
    yaml = YAML + "completion: explicit\n"
    with (
        new_study(tmp_path / "s", "true\n", yaml) as study,
        launching(study, poll_s=0.05, tell=lambda now: told.append(list(now))),
    ):
        create(study)
        wait_until(lambda: bool(told) and bool(told[-1]))
        study.update_run(1, {"state": "CANCELLED"})
        wait_until(lambda: told[-1] == [])

    assert told[-2][0].what == f"cannot read in {study.run_dir(1)}"


def test_a_run_that_cannot_be_started_at_all_says_why(tmp_path: Path) -> None:
    yaml = YAML.replace("run: {", "run: {omp_num_threads: str, ")
    with new_study(tmp_path / "s", "true\n", yaml) as study, launching(study):
        create(study, omp_num_threads="a\0b")
        create(study, omp_num_threads="2")
        (attempt,) = wait_for_attempts(study, 1)
        wait_for_state(study, "FINISHED", 2)

        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "submission"
        why = "omp_num_threads is 'a\\x00b', which no environment variable can be"
        assert attempt["cause"] == f"run s.1: {why}"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_directory_that_has_become_read_only_fails_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Fail, number: int
) -> None:
    monkeypatch.setattr(starter, "PAUSE_S", 0.01)
    told: list[list[str]] = []
    may_write = os.access
    with new_study(tmp_path / "s", "true\n") as study:
        study.runs_dir.mkdir()
        with monkeypatch.context() as patched:
            patched.setattr(os, "access", lambda at, how: at != study.runs_dir)
            fail("s", OSError(number, os.strerror(number), str(study.run_dir(1))))
            create(study)
            with launching(study, tell=lambda now: told.append([t.why for t in now])):
                wait_until(lambda: bool(told))
                fail("s", None)  # first: nothing may fail where all may be written
                patched.setattr(os, "access", may_write)
                wait_for_state(study, "FINISHED")

    assert told[0] == [os.strerror(number)]
    assert told[-1] == []


def test_a_run_without_a_place_names_the_key_that_puts_it_there(tmp_path: Path) -> None:
    yaml = f"{YAML}outpath: /proc/nix\n"
    with new_study(tmp_path / "s", "true\n", yaml) as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        why = f"outpath of {study.directory}/bd.yaml puts run directories there"
        assert attempt["cause"].endswith(f" (/proc/nix); {why}")


@pytest.mark.parametrize("where", ["directory", "process"])
def test_what_nobody_has_thought_of_fails_the_run_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Fail, where: str
) -> None:
    spawn = os.posix_spawn
    bugs = [ValueError("embedded null byte")]

    def refusing(*given: Any, **options: Any) -> int:
        if bugs:
            raise bugs.pop()
        return spawn(*given, **options)

    with new_study(tmp_path / "s", "true\n", ONCE) as study:
        if where == "process":
            monkeypatch.setattr(os, "posix_spawn", refusing)
        else:
            make = RunDirs.make

            def making(self: RunDirs, *given: Any) -> None:
                if bugs:
                    raise bugs.pop()
                make(self, *given)

            monkeypatch.setattr(RunDirs, "make", making)
        create(study, 3)
        with launching(study, max_concurrent=1):
            (attempt,) = wait_for_attempts(study, 1)
            wait_for_state(study, "FINISHED", 2, 3)

        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "submission"
        assert attempt["cause"] == "ValueError: embedded null byte"


def test_a_commit_that_nobody_thought_could_fail_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    write = Desk._write
    bugs = [ValueError("no such number")]

    def writing(self: Desk, work: Work) -> Done:
        if bugs and work.n_claims:
            raise bugs[0]
        return write(self, work)

    monkeypatch.setattr(Desk, "_write", writing)
    with (
        new_study(tmp_path / "s", "true\n") as study,
        launching(study, tell=lambda now: told.append([str(t) for t in now])),
    ):
        create(study, 3)
        wait_until(lambda: bool(told))
        bugs.clear()
        wait_for_state(study, "FINISHED", 1, 2, 3)
        wait_until(lambda: told[-1] == [])

        assert all(len(attempts(study, run_id)) == 1 for run_id in (1, 2, 3))
    assert told[0][0].startswith("cannot write in the database of s since ")
    assert told[0][0].endswith(": ValueError: no such number; see the launcher's log")


def test_a_connection_that_is_lost_on_a_full_disk_is_a_matter_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    write = Desk._write
    full = NoSpaceLeft("there")
    lost = DatabaseUnavailable("there", "the connection to the server is lost")
    errors = [full, lost, full, lost]  # the last one first

    def writing(self: Desk, work: Work) -> Done:
        if errors and work.n_claims:
            raise errors.pop()
        return write(self, work)  # of nothing, before the last

    monkeypatch.setattr(Desk, "_write", writing)
    monkeypatch.setattr(desk, "is_full", lambda place: bool(errors))
    monkeypatch.setattr(desk, "_FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(desk, "_LONGEST_PAUSE_S", 0.02)
    with (
        new_study(tmp_path / "s", "true\n") as study,
        launching(study, tell=lambda now: told.append([t.why for t in now])),
    ):
        create(study, 1)
        wait_for_state(study, "FINISHED", 1)
        wait_until(lambda: bool(told) and told[-1] == [])

    assert [one for one in told if one] == [[full.why]]


def test_runs_that_execute_are_recorded_while_none_can_be_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    write = Desk._write
    bugs: list[Exception] = []

    def writing(self: Desk, work: Work) -> Done:
        if bugs and work.n_claims:
            raise bugs[0]
        return write(self, work)

    monkeypatch.setattr(Desk, "_write", writing)
    gate = make_gate(tmp_path)
    with (
        new_study(tmp_path / "s", f"read _ < {gate}\n") as study,
        launching(study, tell=lambda now: told.append([t.what for t in now])),
    ):
        create(study)
        wait_for_state(study, "RUNNING")
        bugs.append(ValueError("no such number"))
        study.create_tasks({"x": 7.0}, None, run_name="r", event_name="main")
        wait_until(lambda: bool(told))
        open_gate(gate)
        wait_for_state(study, "FINISHED", 1)

        assert row(study, 2)["state"] == "CREATED"


def test_runs_without_a_job_hold_up_no_others_and_are_told(tmp_path: Path) -> None:
    def lose(tables: Tables) -> None:
        for run_id in (1, 2, 3):
            tables.update_run(run_id, {"job_id": 77})
        tables.update_run(1, {"state": "SUBMITTED", "attempt": 1, "nonce": "abc"})
        lost = {"nonce": "abc", "class": "infrastructure", "cause": "gone"}
        tables.set_attempt(2, 1, lost)
        tables.update_run(2, {"state": "FAILED", "attempt": 1, "nonce": "abc", "end_time": 2.0})

    told: list[list[str]] = []
    with new_study(tmp_path / "s", "true\n") as study:
        create(study, 5)
        study.database.write(lose)
        with launching(study, tell=lambda now: told.append([str(t) for t in now])):
            wait_for_state(study, "FINISHED", 4, 5)
            failed = anyio.run(until_over, {study: [3]})

        assert [row(study, run_id)["state"] for run_id in (1, 2)] == ["SUBMITTED", "FAILED"]
        (attempt,) = attempts(study, 3)
    why = "study 's' has no job 77"
    assert (attempt["class"], attempt["cause"]) == ("submission", why)
    assert why in str(failed[0])
    assert [len(now) for now in told] == [1]
    assert told[0][0].startswith("cannot look after run s.1 since ")
    assert told[0][0].endswith(why)


def test_claimed_runs_are_found_again_after_a_start_that_nobody_thought_could_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = executor.Executor.schedule
    bugs = [ValueError("no such number")]

    def scheduling(self: executor.Executor) -> None:
        if bugs and any(desk.waiting for desk in self._desks):
            desk = next(desk for desk in self._desks if desk.waiting)
            attempt = desk.waiting.popleft()
            del desk.held[attempt.run_id]
            raise bugs.pop()
        schedule(self)

    monkeypatch.setattr(executor.Executor, "schedule", scheduling)
    with new_study(tmp_path / "s", "true\n") as study, launching(study):
        create(study, 3)
        wait_for_state(study, "FINISHED", 1, 2, 3)

    assert bugs == []


def test_a_run_that_cannot_be_recorded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    apply = Record.apply

    def failing(self: Record, tables: Tables) -> bool:
        if self.run_id == 2:
            raise TypeError("cannot be stored")
        return apply(self, tables)

    monkeypatch.setattr(Record, "apply", failing)
    with (
        new_study(tmp_path / "s", "true\n") as study,
        launching(study, tell=lambda now: told.append([t.what for t in now])),
    ):
        create(study, 3)
        wait_for_state(study, "FINISHED", 1, 3)
        wait_until(lambda: bool(told) and told[-1] == ["cannot record what becomes of run s.2"])


def test_an_error_that_nobody_waits_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[list[str]] = []
    end = Watch.end

    def ending(self: Watch, desk: Desk, attempt: Attempt, *given: Any) -> None:
        end(self, desk, attempt, *given)
        if attempt.run_id == 1:
            raise ValueError("no such number")

    monkeypatch.setattr(Watch, "end", ending)
    with (
        new_study(tmp_path / "s", "true\n") as study,
        launching(study, tell=lambda now: told.append([str(t) for t in now])),
    ):
        create(study, 2)
        wait_for_state(study, "FINISHED", 1, 2)
        wait_until(lambda: bool(told))

    assert told[-1][0].startswith("the launcher has met an error of its own since ")
    assert "ValueError: no such number" in told[-1][0]
    assert "in ending" in caplog.text


def test_a_run_that_is_only_there_is_not_committed_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_polls = 20
    polls: list[int] = []
    poll = Watch.poll

    def polling(self: Watch, desk: Desk) -> None:
        poll(self, desk)
        polls.append(1)

    monkeypatch.setattr(Watch, "poll", polling)
    gate = make_gate(tmp_path)
    script = f"echo $$ > {tmp_path}/pid; read _ < {gate} & wait\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pid"))
            wait_for_state(study, "RUNNING")
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        commits: list[object] = []
        with launching(study, poll_s=0.02):
            wait_until(lambda: len(polls) > 2)
            stop = study.database.feed.listen(commits.append)
            wait_until(lambda: len(polls) > 2 + n_polls)
            stop()
            open_gate(gate)
            wait_for_attempts(study, 1)

    assert len(commits) < n_polls // 2


def test_a_record_that_meets_conflicts_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Desk._write
    errors: list[Exception] = []

    def writing(self: Desk, work: Work) -> Done:
        if errors and any(record.is_over for record in work.records):
            raise errors.pop()
        return write(self, work)

    monkeypatch.setattr(Desk, "_write", writing)
    with new_study(tmp_path / "s", "true\n") as study, launching(study):
        errors += [ConflictsExhausted("a commit", 7), ValueError("no such number")]
        create(study)
        wait_for_state(study, "FINISHED")

    assert errors == []
