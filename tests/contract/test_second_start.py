"""Of two commands that start the same run name at the same time, one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from motoko.cli import failures, running
from motoko.cli.program import program
from motoko.errors import AlreadyRunning
from motoko.workflow import Workflow, control, making
from tests.support.workflows import served_workflow, write_workflow


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
    assert "the orchestrator of run name 'test' is already running (process" in refused.stderr
    assert (
        f"; `motoko orchestrator stop {tmp_path} --run_name test` stops it)" in refused.stderr
    )
    assert refused.stdout == ""
    assert known is None


def test_creating_anew_under_an_orchestrator_names_the_command_that_stops_it(
    tmp_path: Path,
) -> None:
    with served_workflow(tmp_path, "mult") as workflow:
        office = control.orchestrator_office(workflow, "a b")
        office.take({"run_name": "a b"})

        with pytest.raises(AlreadyRunning) as refused:
            making.create(workflow, reset=True)
        office.leave()

    assert refused.value.stop == f"motoko orchestrator stop {tmp_path} --run_name 'a b'"
    assert str(refused.value).endswith(f"; `{refused.value.stop}` stops it)")


def test_reason_of_a_refusal_comes_before_what_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = Workflow(str(write_workflow(tmp_path, {"mult": None})))
    monkeypatch.setattr(control, "orchestrators", lambda workflow: {"b": None})

    with pytest.raises(AlreadyRunning) as refused, running._in_custody(workflow) as custody:
        custody.is_passed_on = True
        raise AlreadyRunning("it", "process 1")

    assert list(failures.explanation(refused.value)) == [
        "it is already running (process 1)",
        "server and launcher go on for 'b'",
    ]
    assert capsys.readouterr().err == ""
