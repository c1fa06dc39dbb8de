"""Failures that are no fault of the program are tried again; what was lost may come late."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.host import boot_clock, boot_id, host_name
from motoko.job.outcome import Outcome, write_outcome
from motoko.launch import starter
from motoko.launch.desk import Desk
from motoko.launch.reconcile import reconcile
from motoko.launch.work import Done, Work
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.study.waiting import until_over
from tests.support.launch_session import (
    ONCE,
    YAML,
    attempts,
    create,
    launching,
    losing_the_answer,
    make_gate,
    new_study,
    open_gate,
    reap,
    row,
    wait_for,
    wait_for_attempts,
    wait_for_file,
    wait_for_state,
)
from tests.support.studies import open_study, served

DELAYED = YAML + "retry: {delay: 1h}\n"


def killed_until(attempt: int, directory: Path) -> str:
    """A script that is killed in all attempts before this one."""
    return f"""
echo $MOTOKO_ATTEMPT >> {directory}/ran
[ $MOTOKO_ATTEMPT -ge {attempt} ] || kill -9 $$
"""


def retry_now(study: Study) -> None:
    """The delay of the first attempt of run 1 is over."""

    def past(tables: Tables) -> None:
        (first,) = tables.attempts(1)
        first.pop("retry_due")
        tables.set_attempt(1, 1, {**first, "retry_at": 1.0})

    study.database.write(past)


def kill_first_attempt(study: Study, directory: Path) -> None:
    """Have the first attempt of a new run vanish while no launcher looks."""
    with launching(study):
        create(study)
        pid = int(wait_for_file(directory / "pid").split()[0])
        wait_for_state(study, "RUNNING")
    os.kill(pid, signal.SIGKILL)
    reap(pid)


def lose_first_attempt(study: Study, directory: Path) -> dict[str, Any]:
    """What is known of the first attempt of a new run, which vanished; its retry is delayed."""
    kill_first_attempt(study, directory)
    with launching(study):
        (attempt,) = wait_for_attempts(study, 1)
    is_tried_again = bool(study.config.retry.budget("infrastructure"))
    state = "CREATED" if is_tried_again else "FAILED"
    assert (attempt["class"], row(study)["state"]) == ("infrastructure", state)
    return attempt


def leave_late(study: Study, attempt: Mapping[str, Any], exit_code: int) -> None:
    """Write the outcome of an attempt that was given up."""
    begin = attempt["start_time"]
    left = Outcome(exit_code, begin, begin + 5, host_name(), attempt["pid"])
    write_outcome(study.run_dir(1), attempt["number"], attempt["nonce"], left)


def test_a_killed_run_is_tried_again_and_nobody_sees_it_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Tables.update_run
    seen: list[str] = []

    def updating(tables: Tables, run_id: int, changes: Mapping[str, Any]) -> None:
        update(tables, run_id, changes)
        seen.append(tables.run(run_id)["state"])

    monkeypatch.setattr(Tables, "update_run", updating)
    with new_study(tmp_path / "s", killed_until(3, tmp_path)) as study, launching(study):
        ids = create(study)
        failed = anyio.run(until_over, {study: ids})
        history = wait_for_attempts(study, 3)

        assert failed == []
        assert row(study)["state"] == "FINISHED"
        assert (study.run_dir(1) / "FINISHED").exists()
    assert (tmp_path / "ran").read_text().split() == ["1", "2", "3"]
    assert "FAILED" not in seen
    assert [a.get("class") for a in history] == ["infrastructure", "infrastructure", None]
    assert [a.get("cause") for a in history] == ["killed by SIGKILL", "killed by SIGKILL", None]


def test_a_budget_that_is_used_up_fails_the_run_until_somebody_resets_it(
    tmp_path: Path,
) -> None:
    with new_study(tmp_path / "s", killed_until(6, tmp_path)) as study, launching(study):
        create(study)
        wait_for_state(study, "FAILED")
        history = attempts(study)
        study.update_run(1, {"state": "CREATED"})
        wait_for_state(study, "FINISHED")

    assert ["retry_at" in a for a in history] == [True, True, False]
    assert (tmp_path / "ran").read_text().split() == ["1", "2", "3", "4", "5", "6"]


def test_each_class_of_failure_has_a_budget_of_its_own(tmp_path: Path) -> None:
    yaml = YAML + "retry: {infrastructure: 1, application: 1}\n"
    script = f"""
echo $MOTOKO_ATTEMPT >> {tmp_path}/ran
case $MOTOKO_ATTEMPT in 1) exit 3;; 2) kill -9 $$;; *) exit 4;; esac
"""
    with new_study(tmp_path / "s", script, yaml) as study, launching(study):
        create(study)
        wait_for_state(study, "FAILED")
        history = attempts(study)

    assert [a["class"] for a in history] == ["application", "infrastructure", "application"]
    assert history[-1]["cause"] == "exit code 4"


def test_a_failure_of_the_program_is_not_tried_again_by_itself(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "exit 3\n") as study, launching(study):
        create(study)
        wait_for_state(study, "FAILED")

        assert len(attempts(study)) == 1


def test_what_a_script_says_of_its_failure_counts_when_it_has_ended(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"""
[ $MOTOKO_ATTEMPT = 2 ] && exit
n=$(sed 's/.*"nonce": "\\([^"]*\\)".*/\\1/' .motoko-run.json)
echo "- {{\\"n\\":\\"$n\\",\\"t\\":1,\\"op\\":\\"fail\\"}}" >> .motoko-journal-1-h-1-a
read _ < {gate}
"""
    yaml = YAML + "retry: {application: 1}\n"
    with new_study(tmp_path / "s", script, yaml) as study, launching(study, poll_s=0.05):
        create(study)
        wait_for(study, lambda: any("class" in a for a in attempts(study)))

        assert row(study)["state"] == "RUNNING"
        assert "end_time" not in row(study)
        open_gate(gate)
        wait_for_state(study, "FINISHED")

        assert [a.get("class") for a in attempts(study)] == ["application", None]


def test_the_next_attempt_waits_for_its_delay_and_others_do_not(tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/pid; [ -e {tmp_path}/go ] || exec sleep 60\n"
    with new_study(tmp_path / "s", script, DELAYED) as study:
        lose_first_attempt(study, tmp_path)
        (tmp_path / "go").touch()
        with launching(study, max_concurrent=1):
            create(study, 3)
            wait_for_state(study, "FINISHED", 2, 3)

            assert row(study)["state"] == "CREATED"
        retry_now(study)
        with launching(study):
            wait_for_state(study, "FINISHED")

        assert row(study)["attempt"] == 2


def test_the_next_attempt_begins_when_its_delay_is_over(tmp_path: Path) -> None:
    yaml = YAML + "retry: {infrastructure: 1, delay: 0.1}\n"
    with new_study(tmp_path / "s", killed_until(2, tmp_path), yaml) as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")
        first, second = wait_for_attempts(study, 2)

    assert first["retry_at"] == pytest.approx(first["end_time"] + 0.1)
    assert second["start_time"] >= first["retry_at"]


def test_many_runs_that_wait_as_their_own_policy_says_hold_up_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[Work] = []
    write = Desk._write

    def writing(self: Desk, work: Work) -> Done:
        commits.append(work)
        return write(self, work)

    def wait(tables: Tables) -> None:
        due = {"boot": boot_id(), "clock": boot_clock() + 3600.0}
        for run_id in range(1, 41):
            failed = {"state": "FAILED", "class": "application", "retry_due": due}
            tables.set_attempt(run_id, 1, failed)
            tables.update_run(run_id, {"attempt": 1})

    monkeypatch.setattr(Desk, "_write", writing)
    policy = {"retry": {"application": 1, "delay": "1h"}}
    with new_study(tmp_path / "s", "true\n", ONCE) as study:
        create(study, 40, on_failure=policy)
        study.database.write(wait)
        create(study, 41)
        with launching(study):
            wait_for_state(study, "FINISHED", 41)

        assert study.counts() == {"CREATED": 40, "FINISHED": 1}
    assert len(commits) < 20


def test_a_clock_that_was_set_back_before_a_boot_makes_no_delay_longer(tmp_path: Path) -> None:
    def tomorrow(tables: Tables) -> None:
        (first,) = tables.attempts(1)
        first["retry_due"] = {**first["retry_due"], "boot": "0-before"}
        tables.set_attempt(1, 1, {**first, "retry_at": first["retry_at"] + 86400})

    script = f"echo $$ >> {tmp_path}/pid; [ $MOTOKO_ATTEMPT = 2 ] || exec sleep 60\n"
    with new_study(tmp_path / "s", script, DELAYED) as study:
        lose_first_attempt(study, tmp_path)
        study.database.write(tomorrow)
        with launching(study):
            wait_for_state(study, "FINISHED")


def test_a_retry_whose_answer_was_lost_happens_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = losing_the_answer(monkeypatch, lambda done: done.retried)
    with new_study(tmp_path / "s", killed_until(2, tmp_path)) as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")
        history = attempts(study)

    assert lost
    assert (tmp_path / "ran").read_text().split() == ["1", "2"]
    assert [("retry_at" in a, a.get("class")) for a in history] == [
        (True, "infrastructure"),
        (False, None),
    ]


def test_a_success_that_comes_late_counts_if_the_next_attempt_has_not_begun(
    tmp_path: Path,
) -> None:
    script = f"echo $$ >> {tmp_path}/pid; echo 7 > result; exec sleep 60\n"
    with new_study(tmp_path / "s", script, DELAYED) as study:
        first = lose_first_attempt(study, tmp_path)
        leave_late(study, first, 0)
        retry_now(study)
        with launching(study):
            wait_for_state(study, "FINISHED")

        run, run_dir = row(study), study.run_dir(1)
        assert (run["attempt"], run["nonce"]) == (1, first["nonce"])
        assert (run["start_time"], run["end_time"]) == (
            first["start_time"],
            first["start_time"] + 5,
        )
        assert run["has_finished"] == 1
        (attempt,) = attempts(study)
        assert (attempt["state"], attempt["exit_code"]) == ("FINISHED", 0)
        assert "class" not in attempt and "retry_at" not in attempt
        assert (run_dir / "result").read_text() == "7\n"
        assert (run_dir / "FINISHED").exists() and not (run_dir / "FAILED").exists()
    assert len((tmp_path / "pid").read_text().split()) == 1


@pytest.mark.parametrize("is_launched", [True, False])
def test_a_success_that_comes_after_the_last_attempt_counts(
    tmp_path: Path, is_launched: bool
) -> None:
    script = f"echo $$ >> {tmp_path}/pid; exec sleep 60\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        if is_launched:
            kill_first_attempt(study, tmp_path)
        else:
            lost = lose_first_attempt(study, tmp_path)
            leave_late(study, lost, 0)
        with launching(study, poll_s=0.02 if is_launched else 60.0):
            if is_launched:
                wait_for_state(study, "FAILED")
                (lost,) = attempts(study)
                leave_late(study, lost, 0)
            wait_for_state(study, "FINISHED")

        (attempt,), run, run_dir = attempts(study), row(study), study.run_dir(1)
        assert (attempt["state"], attempt["exit_code"]) == ("FINISHED", 0)
        assert "class" not in attempt
        assert (run["attempt"], run["nonce"]) == (1, lost["nonce"])
        assert (run["has_finished"], run["end_time"]) == (1, lost["start_time"] + 5)
        assert (run_dir / "FINISHED").exists() and not (run_dir / "FAILED").exists()
    assert len((tmp_path / "pid").read_text().split()) == 1


def test_a_failure_that_comes_after_the_last_attempt_is_told_in_its_history(
    tmp_path: Path,
) -> None:
    script = f"echo $$ >> {tmp_path}/pid; echo no such luck >&2; exec sleep 60\n"
    with new_study(
        tmp_path / "s", script, YAML + "retry: {infrastructure: 0, application: 3}\n"
    ) as study:
        lost = lose_first_attempt(study, tmp_path)
        leave_late(study, lost, 3)
        with launching(study):
            wait_for(study, lambda: "exit_code" in attempts(study)[0])
        with launching(study):  # it is recorded, and not looked for again
            ids = create(study)
            anyio.run(until_over, {study: ids})

        (attempt,), run = attempts(study), row(study)
    told = (attempt["class"], attempt["exit_code"], attempt["cause"], attempt["stderr"])
    assert told == ("application", 3, "exit code 3", "no such luck")
    assert attempt["end_time"] == run["end_time"] == lost["start_time"] + 5
    [warning] = attempt["warnings"]
    assert "after it was given up: it ended with exit code 3" in warning
    assert (run["state"], run["attempt"], run["nonce"]) == ("FAILED", 1, lost["nonce"])


@pytest.mark.parametrize("exit_code", [3, 0])
def test_what_comes_after_the_last_attempt_leaves_the_state_that_somebody_has_set(
    tmp_path: Path, exit_code: int
) -> None:
    script = f"echo $$ >> {tmp_path}/pid; exec sleep 60\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        lost = lose_first_attempt(study, tmp_path)
        with launching(study, poll_s=0.02):
            study.update_run(1, {"state": "GIVEN_UP"})
            leave_late(study, lost, exit_code)
            wait_for(study, lambda: "exit_code" in attempts(study)[0])

        (attempt,) = attempts(study)
        assert row(study)["state"] == "GIVEN_UP"
        assert "has_finished" not in row(study)
        assert (attempt["exit_code"], attempt.get("class")) == (
            (0, None) if exit_code == 0 else (3, "application")
        )


def test_a_success_that_comes_too_late_is_kept_in_the_history(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"""
echo $$ >> {tmp_path}/pid
[ $MOTOKO_ATTEMPT = 2 ] || exec sleep 60
echo >> {tmp_path}/second; read _ < {gate}; exit 5
"""
    with new_study(tmp_path / "s", script, DELAYED) as study:
        first = lose_first_attempt(study, tmp_path)
        retry_now(study)
        with launching(study):
            wait_for_file(tmp_path / "second")
            leave_late(study, first, 0)
            open_gate(gate)
            wait_for_state(study, "FAILED")

        first, second = attempts(study)
    assert second["cause"] == "exit code 5"
    assert first["class"] == "infrastructure"
    assert "after it was given up: it ended with exit code 0" in first["warnings"][0]


def test_a_failure_that_comes_late_is_kept_in_the_history(tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/pid; [ $MOTOKO_ATTEMPT = 2 ] || exec sleep 60\n"
    with new_study(tmp_path / "s", script, DELAYED) as study:
        leave_late(study, lose_first_attempt(study, tmp_path), 3)
        retry_now(study)
        with launching(study):
            wait_for_state(study, "FINISHED")

        first, second = attempts(study)
    assert second["exit_code"] == 0
    assert "after it was given up: it ended with exit code 3" in first["warnings"][0]


def test_no_attempt_begins_beside_one_that_cannot_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process of the test itself holds the lock, and is spared.
    monkeypatch.setattr(starter, "_PATIENCE_S", 0.0)
    with new_study(tmp_path / "s", f"echo >> {tmp_path}/ran\n") as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        with open(study.run_dir(1) / ".motoko-token-1") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            study.update_run(1, {"state": "CREATED"})
            with launching(study):
                wait_for_state(study, "FAILED")
                history = attempts(study)
        assert (tmp_path / "ran").read_text() == "\n"
        study.update_run(1, {"state": "CREATED"})
        with launching(study):
            wait_for_state(study, "FINISHED")

    why = "processes of its attempt 1 are still there and cannot be ended"
    assert [a.get("cause") for a in history] == [None, why, why, why]
    assert (tmp_path / "ran").read_text() == "\n\n"


@pytest.mark.parametrize("n_killed", [1, 3])
def test_a_repaired_database_knows_which_budget_is_used_up(
    tmp_path: Path, n_killed: int
) -> None:
    yaml = YAML + "retry: {delay: 1h}\n" if n_killed == 1 else YAML
    with new_study(tmp_path / "s", killed_until(4, tmp_path), yaml) as study:
        with launching(study):
            create(study)
            wait_for_attempts(study, n_killed)
        before, told = row(study), attempts(study)
        with study.database.read() as tables:
            generation = tables.fact("generation")
    shutil.rmtree(study.state_dir)
    study = open_study(study.directory)
    with served(study):
        study.initialise()
        study.database.write(lambda tables: tables.set_fact("generation", generation))
        reconcile(study, {})

        assert row(study)["state"] == before["state"]
        assert [a["class"] for a in attempts(study)] == [a["class"] for a in told]
        assert ["retry_at" in a for a in attempts(study)] == ["retry_at" in a for a in told]
        study.close()
    assert before["state"] == {1: "CREATED", 3: "FAILED"}[n_killed]
