"""What a script has left in the background keeps nobody from trying its run again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from motoko.workflow import control
from motoko.workflow.upkeep import run_changes
from tests.support.launch_session import (
    ONCE,
    is_process_there,
    launching,
    wait_for_attempts,
    wait_for_state,
)
from tests.support.waiting import wait_until
from tests.support.workflows import served_workflow


def test_a_run_is_tried_again_by_hand_and_what_it_left_is_ended_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ensure_served", lambda workflow: None)
    with served_workflow(tmp_path / "w", mult=ONCE.replace("study: s", "study: mult")) as flow:
        study = flow.mult.base
        script = (
            f"[ $MOTOKO_ATTEMPT = 2 ] && exit\nsleep 600 & echo $! > {tmp_path}/left\nexit 3\n"
        )
        (study.directory / "launch.sh").write_text(script)
        flow.mult.createTask(x=1.0)
        with launching(study):
            wait_for_state(study, "FAILED")
        left = int((tmp_path / "left").read_text())

        cleaned = run_changes.retry(flow, {study: [1]}, run_changes.Retry(is_dir_cleaned=True))
        deleted = run_changes.delete(flow, {study: [1]}, keeps_files=True)
        again = run_changes.retry(flow, {study: [1]}, run_changes.Retry())
        was_there = is_process_there(left)
        if again.done:
            with launching(study):
                wait_for_attempts(study, 2)
                wait_for_state(study, "FINISHED")
        else:
            os.kill(left, signal.SIGKILL)

    assert again.done == ["mult.1"]
    assert cleaned.left == deleted.left
    assert f"`kill {left}` there ends that" in deleted.left["mult.1"]
    assert was_there
    wait_until(lambda: not is_process_there(left))
