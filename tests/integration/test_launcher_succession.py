"""One launcher after another, databases that go away: nothing lost, nothing done twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from motoko.errors import AlreadyRunning
from motoko.host import boot_id
from motoko.job import token
from motoko.job.journal import Journal
from motoko.launch.desk import Desk
from motoko.launch.watch import Watch
from motoko.store.database import Database
from tests.support.launch_session import (
    DEADLINE_S,
    ONCE,
    SAY,
    Launching,
    attempts,
    create,
    is_process_there,
    launching,
    losing_the_answer,
    make_gate,
    new_study,
    open_gate,
    reap,
    row,
    wait_for_attempts,
    wait_for_file,
    wait_for_state,
    watched_withdrawals,
)
from tests.support.studies import open_study, server_process, write_study
from tests.support.waiting import wait_until


def test_a_run_that_goes_on_is_taken_over(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $$ >> {tmp_path}/pids; read _ < {gate}; exit 4\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
            wait_for_state(study, "RUNNING")
        with launching(study):
            assert row(study)["state"] == "RUNNING"
            open_gate(gate)
            reap(pid)
            (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert attempt["exit_code"] == 4
        assert attempt["pid"] == pid
        assert len((tmp_path / "pids").read_text().split()) == 1


def test_a_run_that_ended_meanwhile_is_recorded(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $$ >> {tmp_path}/pids; read _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
        open_gate(gate)
        reap(pid)
        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FINISHED"
        assert attempt["exit_code"] == 0
        assert len((tmp_path / "pids").read_text().split()) == 1


def test_a_run_that_was_killed_meanwhile_has_vanished(tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/pids; exec sleep 60\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "infrastructure"


def test_a_run_that_was_lost_with_its_host_says_so(tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/pids; exec sleep 60\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        taken = study.run_dir(1) / ".motoko-token-1"
        taken.write_text(taken.read_text().replace(boot_id(), "0-before"))
        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "infrastructure"
        host = os.uname().nodename
        assert attempt["cause"] == f"its host {host} was started anew while it executed"


def test_a_run_whose_shell_was_killed_lives_as_long_as_what_it_started(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"(read _ < {gate}) & echo $$ >> {tmp_path}/pids; wait\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
            wait_for_state(study, "RUNNING")
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        with launching(study, poll_s=0.05):
            assert row(study)["state"] == "RUNNING"
            open_gate(gate)
            (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "infrastructure"


def test_a_claimed_run_that_was_never_started_is_started(tmp_path: Path) -> None:
    script = f"echo $MOTOKO_ATTEMPT >> {tmp_path}/ran\n"
    with new_study(tmp_path / "s", script) as study:
        create(study)
        claimed = {"state": "SUBMITTED", "attempt": 1, "nonce": "abc"}
        study.database.write(lambda tables: tables.update_run(1, claimed))
        with launching(study):
            wait_for_state(study, "FINISHED")

        assert (tmp_path / "ran").read_text() == "1\n"
        assert attempts(study)[0]["nonce"] == "abc"


@pytest.mark.parametrize("state", ["CANCELLED", "DIVERGED", "FAILED", "FINISHED"])
def test_a_given_up_run_that_goes_on_is_ended_by_the_next_launcher(
    tmp_path: Path, state: str
) -> None:
    script = f"echo $$ >> {tmp_path}/pids; read -r _ <> {make_gate(tmp_path)}\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
            wait_for_state(study, "RUNNING")
        study.update_run(1, {"state": state})
        with launching(study):
            reap(pid)
            (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == state
        assert attempt["state"] == "CANCELLED"


@pytest.fixture
def stubborn(tmp_path: Path) -> str:
    """A script whose first run leaves a process that does not hear it is asked to end."""
    return (
        "[ $MOTOKO_RUN_ID = 1 ] || exit 0\n"
        f"(trap '' TERM; echo $BASHPID > {tmp_path}/child; echo $$ > {tmp_path}/pid\n"
        "exec sleep 60) &\nwait\n"
    )


def test_what_was_asked_to_end_is_gone_when_the_launcher_is(
    tmp_path: Path, stubborn: str
) -> None:
    with new_study(tmp_path / "s", stubborn) as study:
        with launching(study, grace_s=60.0):
            create(study)
            wait_for_file(tmp_path / "pid")
            study.update_run(1, {"state": "CANCELLED"})
            wait_for_attempts(study, 1)
        child = int((tmp_path / "child").read_text())

        wait_until(lambda: not is_process_there(child))


def test_a_launcher_that_stops_records_what_it_had_asked_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_withdrawn = watched_withdrawals(monkeypatch)
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study, grace_s=60.0):
            create(study)
            wait_for_file(tmp_path / "pid")
            study.update_run(1, {"state": "CANCELLED"})
            assert is_withdrawn.wait(DEADLINE_S)
        (attempt,) = attempts(study)

    assert (attempt["state"], attempt["signal"]) == ("CANCELLED", "SIGKILL")


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_the_next_launcher_ends_what_was_asked_to_end_and_nothing_else(
    tmp_path: Path, stubborn: str, monkeypatch: pytest.MonkeyPatch, is_cancelled: bool
) -> None:
    async def be_killed(_: Watch) -> None:
        pass

    script = stubborn if is_cancelled else stubborn.replace("wait\n", "exit\n")
    with new_study(tmp_path / "s", script) as study:
        with monkeypatch.context() as killed, launching(study, grace_s=60.0):
            killed.setattr(Watch, "insist", be_killed)
            create(study)
            wait_for_file(tmp_path / "pid")
            if is_cancelled:
                study.update_run(1, {"state": "CANCELLED"})
            wait_for_attempts(study, 1)
        child = int((tmp_path / "child").read_text())
        assert is_process_there(child)
        with launching(study):
            study.create_tasks({"x": 9.0}, None, run_name="q", event_name="m")
            wait_for_state(study, "FINISHED", 2)

            if not is_cancelled:
                assert is_process_there(child)
                os.kill(child, signal.SIGKILL)
            wait_until(lambda: not is_process_there(child))
            if is_cancelled:
                reap(int((tmp_path / "pid").read_text()))


def test_what_a_killed_shell_has_started_has_its_walltime_too(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; wait\n"
    yaml = ONCE + "walltime: 2h\n"
    with new_study(tmp_path / "s", script, yaml) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pid"))
            wait_for_state(study, "RUNNING")
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        taken = study.run_dir(1) / ".motoko-token-1"
        line, started = taken.read_text().splitlines()
        facts = json.loads(line)
        with open(taken, "r+") as file:  # others have it open
            file.write(f"{json.dumps({**facts, 'awake': facts['awake'] - 7200})}\n{started}\n")
            file.truncate()
        with launching(study, poll_s=0.05):
            (attempt,) = wait_for_attempts(study, 1)

    assert attempt["class"] == "walltime"
    assert not is_process_there(int((tmp_path / "child").read_text()))


def test_what_a_reset_run_left_executing_is_ended_first(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $$ >> {tmp_path}/pids; [ $MOTOKO_ATTEMPT = 2 ] || read -r _ <> {gate}\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
        study.update_run(1, {"state": "CREATED"})
        with launching(study):
            reap(pid)
            wait_for_state(study, "FINISHED")

        assert row(study)["attempt"] == 2


def test_entries_are_set_once_although_two_launchers_read_them(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"""{SAY}
say 1 '"name":"norm","value":1.5'
say 2 '"name":"state","value":"MESHING"'
echo $$ > {tmp_path}/pid; read _ < {gate}
say 3 '"name":"late","value":2'
"""
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pid"))
        assert row(study)["norm"] == 1.5
        study.update_run(1, {"norm": 7.0})
        with launching(study):
            open_gate(gate)
            reap(pid)
            wait_for_attempts(study, 1)

        assert row(study)["norm"] == 7.0
        assert row(study)["late"] == 2
        assert row(study)["state"] == "MESHING"


def test_an_older_launcher_stops_when_another_takes_over(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        first = Launching(open_study(study.directory), epoch=1)
        with launching(study, epoch=2):
            create(study)
            wait_for_state(study, "FINISHED")
            first.join()

        assert isinstance(first.error, AlreadyRunning)
        assert row(study)["attempt"] == 1


def test_what_is_known_of_a_study_is_recorded_though_another_one_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Desk.close

    async def closed(desk: Desk) -> None:
        if desk.study.name == "a":
            raise AlreadyRunning("the launcher", "another one")
        await close(desk)

    monkeypatch.setattr(Desk, "close", closed)
    gate = make_gate(tmp_path)
    script = f"echo $$ >> {tmp_path}/pids; read _ < {gate}\n"
    with (
        new_study(tmp_path / "a", script, ONCE.replace("study: s", "study: a")) as lost,
        new_study(tmp_path / "b", script, ONCE.replace("study: s", "study: b")) as study,
    ):
        create(study)
        launcher = Launching(open_study(lost.directory), open_study(study.directory))
        pid = int(wait_for_file(tmp_path / "pids"))
        wait_for_state(study, "RUNNING")
        journal = Journal(study.run_dir(1), 1, row(study)["nonce"])
        journal.append("set", name="norm", value=1.5)
        launcher.stop()

        assert isinstance(launcher.error, AlreadyRunning)
        assert row(study).get("norm") == 1.5
        open_gate(gate)
        reap(pid)


@pytest.mark.slow
def test_a_run_that_ends_while_the_database_is_away_is_recorded_later(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = (
        f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran; read _ < {gate}; echo >> {tmp_path}/done\n"
    )
    study = open_study(write_study(tmp_path / "s", None, script))
    with server_process(study) as server:
        study.database.connect(10)
        study.initialise()
        create(study)
        launcher = Launching(open_study(study.directory))
        try:
            wait_for_file(tmp_path / "ran")
            wait_for_state(study, "RUNNING")
            server.kill()
            server.wait()
            open_gate(gate)
            wait_for_file(tmp_path / "done")
            with server_process(study):
                study.database.connect(10)
                wait_for_state(study, "FINISHED")
                study.create_tasks({"x": 5.0}, None, run_name="q", event_name="m")
                open_gate(gate)
                wait_for_state(study, "FINISHED", 1, 2)
                launcher.stop()
                study.close()
        finally:
            launcher.stop()
    assert launcher.error is None
    assert (tmp_path / "ran").read_text().split() == ["1", "2"]


@pytest.mark.parametrize("is_packed_away", [False, True])
def test_runs_claimed_by_a_commit_whose_answer_was_lost_are_started_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_packed_away: bool
) -> None:
    if is_packed_away:
        monkeypatch.setattr(Database, "has_committed", lambda *_: False)
    lost = losing_the_answer(monkeypatch, lambda done: done.claimed)
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study, 5)
        wait_for_state(study, "FINISHED", 1, 2, 3, 4, 5)

    assert lost
    assert sorted((tmp_path / "ran").read_text().split()) == ["1", "2", "3", "4", "5"]


@pytest.mark.slow
def test_what_executes_for_a_database_that_is_no_more_is_ended(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; read -r _ <> {make_gate(tmp_path)}\n"
    study = open_study(write_study(tmp_path / "s", None, script))
    with server_process(study):
        study.database.connect(10)
        study.initialise()
        create(study)
        launcher = Launching(open_study(study.directory))
        pid = int(wait_for_file(tmp_path / "pid"))
        wait_for_state(study, "RUNNING")
    study.close()
    shutil.rmtree(study.state_dir)
    try:
        with server_process(study):
            study.database.connect(10)
            study.initialise()
            wait_until(lambda: not is_process_there(pid))
            launcher.stop()
            study.close()
    finally:
        launcher.stop()
    assert launcher.error is None


def test_a_further_start_of_an_attempt_is_refused_and_noted(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $$ >> {tmp_path}/pids; read _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_file(tmp_path / "pids")
        facts = token.token_facts(row(study)["nonce"], "g")
        assert token.take_token(study.run_dir(1), 1, facts) is None
        open_gate(gate)
        (attempt,) = wait_for_attempts(study, 1)

        (warning,) = attempt["warnings"]
        host = os.uname().nodename
        refused = "a further start of this attempt was refused, since its token was taken"
        assert warning.startswith(f"{refused}: by process {os.getpid()} on {host!r} at 2")
        assert (attempt["state"], attempt["exit_code"]) == ("FINISHED", 0)
    assert len((tmp_path / "pids").read_text().split()) == 1


def test_a_launcher_that_was_stopped_before_its_first_commit_does_not_take_over(
    tmp_path: Path,
) -> None:
    with (
        new_study(tmp_path / "s", "true\n") as study,
        launching(study, office="a", epoch=2) as successor,
    ):
        create(study)
        wait_for_state(study, "FINISHED")
        late = Launching(open_study(study.directory), office="a", epoch=1)
        late.join()
        study.update_run(1, {"state": "CREATED"})
        wait_for_state(study, "FINISHED")

    assert isinstance(late.error, AlreadyRunning)
    assert successor.error is None


def test_another_counting_of_launchers_begins_anew(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        with launching(study, office="a", epoch=7):
            pass
        with launching(study, office="b", epoch=1):
            create(study)
            wait_for_state(study, "FINISHED")


def test_a_machine_that_slept_has_used_no_walltime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_s = 0.0
    real = time.clock_gettime

    def clock_gettime(clock: int) -> float:
        return real(clock) + (slept_s if clock == time.CLOCK_BOOTTIME else 0.0)

    polls: list[Desk] = []
    poll = Watch.poll

    def counted(watch: Watch, desk: Desk) -> None:
        poll(watch, desk)
        polls.append(desk)

    def wait_for_polls() -> None:
        n_before = len(polls)
        wait_until(lambda: len(polls) >= n_before + 3, "polls")

    monkeypatch.setattr(time, "clock_gettime", clock_gettime)
    monkeypatch.setattr(Watch, "poll", counted)
    script = "while [ ! -e ../go ]; do sleep 0.02; done\n"
    yaml = ONCE + "walltime: 1h\n"
    with new_study(tmp_path / "s", script, yaml) as study:
        with launching(study, poll_s=0.05):
            create(study)
            wait_for_state(study, "RUNNING")
            slept_s = 7200.0
            wait_for_polls()
        with launching(study, poll_s=0.05):  # which adopts it
            wait_for_polls()
            slept_s = 14400.0
            wait_for_polls()
            (study.run_dir(1).parent / "go").touch()
            (attempt,) = wait_for_attempts(study, 1)

    assert attempt["state"] == "FINISHED"
