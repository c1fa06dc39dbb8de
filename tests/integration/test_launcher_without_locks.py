"""A launcher in a file system that has no locks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from motoko.errors import AlreadyRunning
from motoko.launch.cleaning import check_not_cleaned, cleaning
from tests.support.launch_session import (
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
from tests.support.no_locks import refuse_locks


def test_a_run_that_goes_on_is_executed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(tmp_path / "s", monkeypatch)
    gate = make_gate(tmp_path)
    script = f"echo $$ >> {tmp_path}/pids; read _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
            wait_for_state(study, "RUNNING")
        with launching(study):
            open_gate(gate)
            reap(pid)
            (attempt,) = wait_for_attempts(study, 1)

        assert (row(study)["state"], attempt["exit_code"]) == ("FINISHED", 0)
    assert (tmp_path / "pids").read_text() == f"{pid}\n"


def test_no_run_begins_in_a_directory_that_is_being_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(tmp_path / "s", monkeypatch)
    monkeypatch.setattr("motoko.launch.cleaning._PATIENCE_S", 0.0)
    with new_study(tmp_path / "s", "true\n") as study:
        with cleaning(study):
            with pytest.raises(OSError, match="is being cleaned"):
                check_not_cleaned(study)
            with (
                pytest.raises(AlreadyRunning, match=f"process {os.getpid()} on "),
                cleaning(study),
            ):
                pass
        check_not_cleaned(study)
