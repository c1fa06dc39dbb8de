"""Of two commands that start the same run name at the same time, one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from motoko.cli import running
from motoko.cli.program import program
from motoko.workflow import control
from tests.support.workflows import served_workflow


@pytest.mark.parametrize("command", [("run",), ("orchestrator", "start")])
def test_second_start_is_refused_before_anything_is_said_or_changed(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_workflow(tmp_path, "mult") as workflow:
        office = control.orchestrator_office(workflow, "test")
        monkeypatch.setattr(running, "_check_free", lambda *_: office)  # it has looked before
        monkeypatch.setattr(
            running, "_ensure_running", lambda r, *_, **__: r.workflow.connect()
        )
        office.take({"run_name": "test"})

        options = [str(tmp_path), "--run_name", "test", "--retry-failed"]
        refused = CliRunner().invoke(program, [*command, *options])
        office.leave()
        with workflow.vars.db.read() as ledger:
            known = ledger.run_name("test")

    assert refused.exit_code == 6
    assert "is already running" in refused.stderr
    assert refused.stdout == ""
    assert known is None
