"""Scripts whose shell is killed alone, by somebody else than the launcher that looks on."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from motoko.launch.limits import Walltime
from motoko.launch.watch import Watch
from tests.support.launch_session import (
    DEADLINE_S,
    ONCE,
    PYTHON,
    SAY,
    YAML,
    create,
    is_process_there,
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


@pytest.fixture
def has_exited(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a launcher has seen the end of a shell."""
    exited = Watch._exited
    is_seen = threading.Event()

    def seeing(self: Watch, *given: Any) -> None:
        exited(self, *given)
        is_seen.set()

    monkeypatch.setattr(Watch, "_exited", seeing)
    return is_seen


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_it_has_started_keeps_its_slot_and_says_how_it_ended(
    tmp_path: Path, has_exited: threading.Event, number: signal.Signals
) -> None:
    gate = make_gate(tmp_path)
    program = f'read _ < {gate}; say 1 \'"name":"state","value":"FINISHED"\''
    script = f"""{SAY}
    echo begin $MOTOKO_RUN_ID >> {tmp_path}/order
    [ $MOTOKO_RUN_ID = 1 ] || exit 0
    ({program}; echo end 1 >> {tmp_path}/order) &
    ! echo $$ > {tmp_path}/pid  # by its code the shell leaves an outcome if it is asked to end
    wait
    """
    yaml = YAML + "retry: 1\n"
    with new_study(tmp_path / "s", script, yaml) as study, launching(study, max_concurrent=1):
        create(study, 2)
        pid = int(wait_for_file(tmp_path / "pid"))
        wait_for_state(study, "RUNNING")
        os.kill(pid, number)
        assert has_exited.wait(DEADLINE_S)
        open_gate(gate)
        (attempt,) = wait_for_attempts(study, 1)
        wait_for_state(study, "FINISHED", 1, 2)

    assert (attempt["state"], attempt["signal"]) == ("FINISHED", number.name)
    assert (tmp_path / "order").read_text().split("\n") == ["begin 1", "end 1", "begin 2", ""]


def test_what_a_shell_that_was_taken_over_has_started_ends_its_attempt(
    tmp_path: Path, has_exited: threading.Event
) -> None:
    gate = make_gate(tmp_path)
    script = f"(read _ < {gate}) & echo $$ > {tmp_path}/pid; wait\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pid"))
            wait_for_state(study, "RUNNING")
        with launching(study):
            os.kill(pid, signal.SIGKILL)
            assert has_exited.wait(DEADLINE_S)
            reap(pid)
            assert row(study)["state"] == "RUNNING"
            open_gate(gate)
            (attempt,) = wait_for_attempts(study, 1)

    assert attempt["class"] == "infrastructure"


@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "too long"])
def test_what_it_has_started_is_ended_when_it_is_to_end(
    tmp_path: Path,
    has_exited: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    is_cancelled: bool,
) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; kill -KILL $$\n"
    with new_study(tmp_path / "s", script, YAML + "walltime: 2h\n") as study, launching(study):
        create(study)
        assert has_exited.wait(DEADLINE_S)
        child = int((tmp_path / "child").read_text())
        if is_cancelled:
            assert is_process_there(child)
            study.update_run(1, {"state": "CANCELLED"})
        else:
            monkeypatch.setattr(Walltime, "is_over", True)
        (attempt,) = wait_for_attempts(study, 1)

        assert not is_process_there(child)
        assert row(study)["state"] == ("CANCELLED" if is_cancelled else "FAILED")
        assert attempt["signal"] == "SIGKILL"
        assert attempt.get("class") == (None if is_cancelled else "walltime")


@pytest.mark.parametrize("before", ["", "timeout 600 "])
def test_no_attempt_begins_beside_a_program_that_closed_what_it_inherited(
    before: str, tmp_path: Path
) -> None:
    start = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
    script = f"""
    if [ $MOTOKO_ATTEMPT = 1 ]; then
      {before}{PYTHON} -c "{start}" > {tmp_path}/child
      exit 137  # as after a program that somebody has killed
    fi
    grep '^State:.*[RS]' /proc/$(cat {tmp_path}/child)/status > {tmp_path}/beside
    exit 0
    """
    with new_study(tmp_path / "s", script, YAML + "retry: 1\n") as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")
        child = int((tmp_path / "child").read_text())
        is_left = is_process_there(child)
        if is_left:
            os.kill(child, signal.SIGKILL)

    assert (tmp_path / "beside").read_text() == ""
    assert not is_left
