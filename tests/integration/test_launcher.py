"""The launcher over a real server: runs become processes, and what becomes of them is told."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import AlreadyRunning, StudyNotFound
from motoko.host import host_name
from motoko.launch import cleaning as launch_cleaning
from motoko.launch import desk, executor, launcher, starter
from motoko.launch.cleaning import cleaning
from motoko.launch.failure import MemoryKills
from motoko.launch.record import Record
from motoko.launch.work import Done, Work
from motoko.model import states
from motoko.store.audit import problems
from motoko.store.feed import Change
from motoko.store.tables import Tables
from motoko.study import files
from tests.support.launch_session import (
    ONCE,
    YAML,
    Launching,
    attempts,
    create,
    is_process_there,
    launching,
    make_gate,
    new_study,
    open_gate,
    row,
    wait_for,
    wait_for_attempts,
    wait_for_file,
    wait_for_state,
    watched_withdrawals,
)
from tests.support.studies import open_study, served, write_study
from tests.support.waiting import wait_until


def test_a_created_run_is_executed_and_recorded(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "echo out; echo err >&2; pwd; echo $#\n") as study:
        with launching(study):
            create(study)
            wait_for_attempts(study, 1)

        run, run_dir = row(study), study.run_dir(1)
        assert run["state"] == "FINISHED"
        assert run["has_finished"] == 1
        assert run["attempt"] == 1
        assert run["create_time"] < run["start_time"] < run["end_time"]
        assert (run_dir / "r.o1").read_text() == f"out\n{run_dir}\n0\n"
        assert (run_dir / "r.e1").read_text() == "err\n"
        assert (run_dir / "FINISHED").exists() and not (run_dir / "FAILED").exists()
        (attempt,) = attempts(study)
        assert attempt["exit_code"] == 0
        assert attempt["host"] == os.uname().nodename
        assert attempt["start_time"] == run["start_time"]
        assert "class" not in attempt and "stderr" not in attempt


def test_a_failed_run_keeps_class_code_and_last_lines(tmp_path: Path) -> None:
    script = "for i in {1..30}; do echo line $i >&2; done; exit 3\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert "has_finished" not in row(study)
        assert attempt["class"] == "application"
        assert attempt["exit_code"] == 3
        assert attempt["cause"] == "exit code 3"
        assert attempt["stderr"].splitlines() == [f"line {i}" for i in range(11, 31)]
        assert (study.run_dir(1) / "FAILED").exists()


def test_a_killed_script_is_failed_with_the_signal(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "kill -KILL $$\n", ONCE) as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "infrastructure"
        assert attempt["signal"] == "SIGKILL"
        left = json.loads((study.run_dir(1) / ".motoko-outcome-1").read_text())
        assert left["exit"] == -signal.SIGKILL


def test_many_runs_are_each_executed_once(tmp_path: Path) -> None:
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            ids = create(study, 60)
            wait_for_state(study, "FINISHED", *ids)

        ran = (tmp_path / "ran").read_text().split()
        assert sorted(map(int, ran)) == ids
        with study.database.read() as tables:
            assert problems(tables) == []


def test_runs_execute_side_by_side_up_to_the_limit(tmp_path: Path) -> None:
    # Each of the two opens a pipe that only the other one opens too.
    script = f"""
if mkdir {tmp_path}/first 2>/dev/null; then echo a > {tmp_path}/meet
else read -r _ < {tmp_path}/meet; fi
"""
    os.mkfifo(tmp_path / "meet")
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=2):
        create(study, 2)
        wait_for_state(study, "FINISHED", 1, 2)


ALONE = "mkdir {0}/busy || exit 1; read -t 0.05 _ < <(sleep 1); rmdir {0}/busy\n"


def test_no_more_runs_than_the_limit_execute_at_once(tmp_path: Path) -> None:
    script = ALONE.format(tmp_path)
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=1):
        create(study, 4)
        wait_for_state(study, "FINISHED", 1, 2, 3, 4)


def test_the_limit_of_a_study_holds_within_that_of_the_launcher(tmp_path: Path) -> None:
    script, yaml = ALONE.format(tmp_path), YAML + "max_concurrent: 1\n"
    with new_study(tmp_path / "s", script, yaml) as study, launching(study, max_concurrent=4):
        create(study, 4)
        wait_for_state(study, "FINISHED", 1, 2, 3, 4)


@pytest.mark.parametrize("nproc", [3, 50])
def test_each_run_takes_its_cores(
    tmp_path: Path, nproc: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "available_cores", lambda: 4)
    script = ALONE.format(tmp_path)
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=None):
        create(study, 3, nproc=nproc)
        wait_for_state(study, "FINISHED", 1, 2, 3)


def test_studies_take_turns(tmp_path: Path) -> None:
    script = f"echo $MOTOKO_STUDY >> {tmp_path}/ran\n"
    few_yaml = YAML.replace("study: s", "study: few")
    with (
        new_study(tmp_path / "s", script) as many,
        new_study(tmp_path / "few", script, few_yaml) as few,
    ):
        create(many, 30)
        create(few, 2)
        with launching(many, few, max_concurrent=1):
            wait_for_state(few, "FINISHED", 1, 2)
            wait_for_state(many, "FINISHED", *range(1, 31))

    ran = (tmp_path / "ran").read_text().split()
    assert len(ran) == 32
    assert [place for place, study in enumerate(ran) if study == "few"][-1] < 15


def test_runs_made_while_a_commit_goes_on_are_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = desk.Desk._write
    made: list[int] = []

    with new_study(tmp_path / "s", "true\n") as study:

        def writing(self: desk.Desk, work: Work) -> Done:
            done = write(self, work)
            if work.n_claims and not made:
                made.extend(create(study))
                # Whatever the server says of it comes before this commit is over.
                change = Change(is_everything=True)
                teller = threading.Thread(target=self.study.database.feed.tell, args=(change,))
                teller.start()
                teller.join()
            return done

        monkeypatch.setattr(desk.Desk, "_write", writing)
        with launching(study):
            wait_for(study, lambda: made and row(study, made[0])["state"] == "FINISHED")


BIG = "config_files: [big]\n"


class SlowCopies:
    """Copies of large files wait for a word."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self.busy: set[Path] = set()
        self._place = files.place
        monkeypatch.setattr(files, "place", self._placing)

    def _placing(self, store: files.FileStore, entry: dict[str, Any], run_dir: Path) -> None:
        assert store.directory not in self.busy
        self.busy.add(store.directory)
        self.has_begun.set()
        assert self.may_go_on.wait(8)
        self._place(store, entry, run_dir)
        self.busy.remove(store.directory)


def test_the_launcher_works_while_large_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = SlowCopies(monkeypatch)
    script = f"cmp big {tmp_path}/s/big && echo $MOTOKO_RUN_ID >> {tmp_path}/ran\n"
    with (
        new_study(tmp_path / "s", script, YAML + BIG) as big,
        new_study(tmp_path / "few", "true\n", YAML.replace("study: s", "study: few")) as few,
    ):
        (big.directory / "big").write_bytes(os.urandom(200_000))
        with launching(big, few, max_concurrent=1):
            create(big, 3)
            assert copies.has_begun.wait(8)
            create(few)
            wait_for_state(few, "FINISHED")
            copies.may_go_on.set()
            wait_for_state(big, "FINISHED", 1, 2, 3)

    assert (tmp_path / "ran").read_text().split() == ["1", "2", "3"]


def test_of_each_study_one_run_at_a_time_gets_its_large_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = SlowCopies(monkeypatch)
    yaml = YAML + BIG
    with (
        new_study(tmp_path / "s", "true\n", yaml) as one,
        new_study(tmp_path / "t", "true\n", yaml.replace("study: s", "study: t")) as other,
    ):
        for study in (one, other):
            (study.directory / "big").write_bytes(os.urandom(200_000))
            create(study, 3)
        with launching(one, other, max_concurrent=2):
            wait_until(lambda: len(copies.busy) == 2)
            copies.may_go_on.set()
            for study in (one, other):
                wait_for_state(study, "FINISHED", 1, 2, 3)


def test_a_run_that_is_cancelled_while_its_files_are_copied_never_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = SlowCopies(monkeypatch)
    is_withdrawn = watched_withdrawals(monkeypatch)
    script = f"echo $MOTOKO_RUN_ID.$MOTOKO_ATTEMPT >> {tmp_path}/ran\n"
    with new_study(tmp_path / "s", script, YAML + BIG) as study:
        (study.directory / "big").write_bytes(os.urandom(200_000))
        with launching(study, max_concurrent=1):
            create(study, 2)
            assert copies.has_begun.wait(8)
            study.update_run(1, {"state": "CANCELLED"})
            assert is_withdrawn.wait(8)
            study.update_run(1, {"state": "CREATED"})
            copies.may_go_on.set()
            wait_for_state(study, "FINISHED", 1, 2)

    assert sorted((tmp_path / "ran").read_text().split()) == ["1.2", "2.1"]


def test_a_run_directory_that_was_made_by_half_is_made_anew(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", f"cmp big {tmp_path}/s/big\n", YAML + BIG) as study:
        content = os.urandom(200_000)
        (study.directory / "big").write_bytes(content)
        create(study)
        claimed = {"state": "SUBMITTED", "attempt": 1, "nonce": "abc"}
        study.database.write(lambda tables: tables.update_run(1, claimed))
        study.run_dir(1).mkdir(parents=True)
        (study.run_dir(1) / "big").write_bytes(content[:1000])
        with launching(study):
            wait_for_state(study, "FINISHED")

        assert not (study.run_dir(1) / "attempt-0").exists()


def test_nothing_is_committed_while_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = desk.Desk._write
    commits: list[Work] = []

    def writing(self: desk.Desk, work: Work) -> Done:
        commits.append(work)
        return write(self, work)

    monkeypatch.setattr(desk.Desk, "_write", writing)
    script = "read -t 0.4 _ < <(sleep 1); true\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")

    assert len(commits) < 12


def test_a_record_that_cannot_be_stored_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Record.apply

    def failing(self: Record, tables: Tables) -> None:
        if self.run_id == 2:
            raise TypeError("cannot be stored")
        apply(self, tables)

    monkeypatch.setattr(Record, "apply", failing)
    with new_study(tmp_path / "s", "true\n") as study, launching(study):
        create(study, 5)
        wait_for_state(study, "FINISHED", 1, 3, 4, 5)


def test_a_database_that_was_never_made_ends_the_launcher(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path / "s"))
    with served(study):
        launcher = Launching(study)
        launcher.join()

    assert isinstance(launcher.error, StudyNotFound)


def test_a_run_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child\nwait\n"
    with new_study(tmp_path / "s", script, YAML + "walltime: 0.3\n") as study:
        with launching(study):
            create(study)
            (attempt,) = wait_for_attempts(study, 1)
        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "walltime"
        assert attempt["cause"] == "it took longer than its walltime of 0.3 s"
        assert not is_process_there(int((tmp_path / "child").read_text()))


def test_what_ignores_the_end_of_its_walltime_is_killed(tmp_path: Path) -> None:
    script = f"trap '' TERM\necho $$ > {tmp_path}/pid\nmkfifo p; read -r _ <> p\n"
    with new_study(tmp_path / "s", script) as study, launching(study, grace_s=0.2):
        create(study, walltime=0.2)
        (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "walltime"
        assert attempt["signal"] == "SIGKILL"


@pytest.mark.parametrize("state", ["CANCELLED", "DIVERGED", "FINISHED", "FAILED"])
def test_a_run_that_is_given_up_is_ended_and_stays_as_it_was_set(
    tmp_path: Path, state: str
) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 60; echo never > {tmp_path}/late\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_file(tmp_path / "pid")
        study.update_run(1, {"state": state})
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == state
        assert attempt["state"] == "CANCELLED"
        assert attempt["cause"] == f"the run was set to {state}"
        assert not is_process_there(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("state", ["CANCELLED", "SKIPPED"])
def test_a_waiting_run_that_is_given_up_never_starts_and_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    is_withdrawn = watched_withdrawals(monkeypatch)
    monkeypatch.setattr(executor, "_AHEAD_S", 60.0)
    gate = make_gate(tmp_path)
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran; read _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=1):
        create(study, 2)
        wait_for_file(tmp_path / "ran")
        wait_for_state(study, "SUBMITTED", 2)
        study.update_run(2, {"state": state})
        assert is_withdrawn.wait(8)
        open_gate(gate)
        wait_for_state(study, "FINISHED", 1)
        study.create_tasks({"x": 7.0}, None, run_name="r", event_name="main")
        open_gate(gate)
        wait_for_state(study, "FINISHED", 3)

        assert (tmp_path / "ran").read_text().split() == ["1", "3"]
        assert row(study, 2)["state"] == state
        assert not states.is_open(row(study, 2))
        assert attempts(study, 2)[0]["cause"] == f"the run was set to {state}"


def test_a_run_reset_while_it_executes_ends_before_it_begins_again(tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/pids; [ $MOTOKO_ATTEMPT = 2 ] || sleep 60\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_file(tmp_path / "pids")
        study.update_run(1, {"state": "CREATED"})
        first, second = wait_for_attempts(study, 2)

        assert row(study)["state"] == "FINISHED"
        assert row(study)["attempt"] == 2
        assert first["cause"] == "the run was set to CREATED"
        assert first["end_time"] <= second["start_time"]
        assert len((tmp_path / "pids").read_text().split()) == 2


def test_what_an_earlier_attempt_left_is_set_aside(tmp_path: Path) -> None:
    script = """
echo attempt $MOTOKO_ATTEMPT; echo changed >> doIt.py; mkdir -p deep; touch deep/$MOTOKO_ATTEMPT
printf 'step[int],q[float]\\n1,%s.5\\n' $MOTOKO_ATTEMPT > q.csv
[ $MOTOKO_ATTEMPT = 2 ]
"""
    with new_study(tmp_path / "s", script) as study:
        (study.directory / "doIt.py").write_text("original\n")
        with launching(study):
            create(study)
            wait_for_state(study, "FAILED")
            study.update_run(1, {"state": "CREATED"})
            wait_for_state(study, "FINISHED")

        run_dir = study.run_dir(1)
        aside = run_dir / "attempt-1"
        assert (aside / "r.o1").read_text() == "attempt 1\n"
        assert (run_dir / "r.o1").read_text() == "attempt 2\n"
        assert (aside / "FAILED").exists() and not (run_dir / "FAILED").exists()
        assert json.loads((aside / ".motoko-run.json").read_text())["attempt"] == 1
        assert (aside / "deep" / "1").exists() and not (run_dir / "deep" / "1").exists()
        assert (run_dir / "doIt.py").read_text() == "original\nchanged\n"
        assert not (aside / "doIt.py").exists() and not (aside / "launch.sh").exists()
        assert [a["state"] for a in attempts(study)] == ["FAILED", "FINISHED"]
        with study.database.read() as tables:
            assert tables.quantities(1) == {"q": (1, 2.5)}


def test_an_attempt_begins_without_the_values_of_the_one_before(tmp_path: Path) -> None:
    script = """
[ $MOTOKO_ATTEMPT = 2 ] && exit
printf 'step[int],q[float]\\n4,1.5\\n' > q.csv; exit 1
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_state(study, "FAILED")
        assert row(study)["last_step"] == 4
        study.update_run(1, {"state": "CREATED"})
        wait_for_state(study, "FINISHED")

        assert "last_step" not in row(study)
        with study.database.read() as tables:
            assert tables.quantities(1) == {}


def test_no_run_begins_in_a_directory_that_is_being_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(starter, "PAUSE_S", 0.02)
    with new_study(tmp_path / "s", "true\n") as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")
        with cleaning(study):
            study.update_run(1, {"state": "CREATED"})
            wait_until(lambda: "its study is being cleaned" in caplog.text)
            study.run_dir(1).rename(tmp_path / "moved")
        wait_for_state(study, "FINISHED")

        assert row(study)["attempt"] == 2
        assert not (study.run_dir(1) / "attempt-1").exists()


def test_who_moves_run_directories_is_named_to_a_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_cleaning, "_PATIENCE_S", 0.0)
    with (
        new_study(tmp_path / "s", "true\n") as study,
        cleaning(study),
        pytest.raises(AlreadyRunning) as caught,
        cleaning(study),
    ):
        pass

    assert f"(process {os.getpid()} on {host_name()}, since " in str(caught.value)
    assert "study 's'" in str(caught.value)


def test_a_run_killed_for_want_of_memory_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryKills, "has_new", lambda _: True)
    with new_study(tmp_path / "s", "bash -c 'kill -KILL $$'\n") as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "out of memory"


def test_a_directory_that_nobody_knows_is_set_aside(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "cat old 2>/dev/null\n") as study:
        run_dir = study.run_dir(1)
        run_dir.mkdir(parents=True)
        for name in ("old", ".motoko-token-1", "launch.sh"):
            (run_dir / name).write_text("old\n")
        with launching(study):
            create(study)
            wait_for_attempts(study, 1)

        assert (run_dir / "r.o1").read_text() == ""
        assert (run_dir / "attempt-0" / "old").read_text() == "old\n"


def test_nothing_that_another_run_has_left_is_carried_over_or_removed(tmp_path: Path) -> None:
    script = "cat w-1 old 2>/dev/null\necho $MOTOKO_ATTEMPT > own\nexit 3\n"
    yaml = YAML + "carry_over: [w-*]\nretry: {application: 1}\n"
    with new_study(tmp_path / "s", script, yaml) as study:
        run_dir = study.run_dir(1)
        for i, directory in enumerate(("attempt-0", "attempt-1", ".")):
            (run_dir / directory).mkdir(parents=True, exist_ok=True)
            for name in (".motoko-run.json", "own", "w-1"):
                (run_dir / directory / name).write_text(f"{i} of another\n")
        with launching(study):
            create(study)
            wait_for_state(study, "FAILED")

        assert (run_dir / "r.o1").read_text() == ""
        assert (run_dir / "attempt-1" / "own").read_text() == "1\n"
        assert not (run_dir / "attempt-1" / "w-1").exists()
        for i, directory in enumerate(("attempt-0", "attempt-1", ".")):
            for name in ("own", "w-1"):
                kept = run_dir / "attempt-0" / directory / name
                assert kept.read_text() == f"{i} of another\n"


def test_what_the_system_refuses_for_now_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(starter, "PAUSE_S", 0.02)
    refusals = [28, 11, 24]
    spawn = os.posix_spawn

    def refusing(*given: object, **options: object) -> int:
        if refusals:
            number = refusals.pop()
            raise OSError(number, os.strerror(number))
        return spawn(*given, **options)  # type: ignore[arg-type]

    with new_study(tmp_path / "s", "true\n") as study:
        monkeypatch.setattr(os, "posix_spawn", refusing)
        with launching(study):
            create(study, 3)
            wait_for_state(study, "FINISHED", 1, 2, 3)

        assert refusals == []
        assert all(len(attempts(study, run_id)) == 1 for run_id in (1, 2, 3))
        assert "No space left on device; trying again" in caplog.text
        assert "over: cannot start runs in " in caplog.text


def test_what_the_system_refuses_for_good_fails_the_run(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        study.runs_dir.write_text("in the way")
        with launching(study):
            create(study)
            (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "submission"
        assert "Not a directory" in attempt["cause"]


def test_a_store_that_lost_its_files_fails_the_run(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        create(study)
        for file in study.files.directory.iterdir():
            file.unlink()
        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "submission"
        assert "are lost" in attempt["cause"]
