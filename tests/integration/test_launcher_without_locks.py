"""A launcher in a file system that has no locks."""

from __future__ import annotations

from pathlib import Path

import pytest

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
