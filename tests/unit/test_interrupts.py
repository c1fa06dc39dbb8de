"""Signals that come one right after the other: the words that are due are said all the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result

from motoko.cli import orchestration, running
from motoko.cli.failures import Stopped
from motoko.cli.interrupts import Interrupts, put_off, raising
from motoko.cli.orchestration import Orchestration
from motoko.cli.own_options import declare_shared
from motoko.cli.program import program
from motoko.cli.run_options import Call
from motoko.cli.views import Silent
from motoko.daemon import Owner
from motoko.workflow import control
from motoko.workflow.orchestration import taken
from motoko.workflow.upkeep.keeper import Keeper
from motoko.workflow.workflow import Workflow
from tests.support.workflows import write_workflow


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_signals_at_any_moment_of_the_start_leave_the_closing_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: object, **__: object) -> None:
        try:
            interrupt()
        finally:
            interrupt()  # while it is being fulfilled

    def rest(*_: object) -> str:
        interrupt()  # while it is said
        return "still running: it all"

    monkeypatch.setattr(running, "_ensure_running", begin)
    monkeypatch.setattr(running, "still_running", rest)
    write_workflow(tmp_path, {"mult": None})

    stopped = CliRunner().invoke(program, ["run", str(tmp_path)])

    assert stopped.exit_code == 130
    assert stopped.stderr == "stopped during start-up\nstill running: it all\n"


def test_a_signal_while_the_files_are_read_or_modules_imported_leaves_the_words_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_workflow(tmp_path, {"mult": None})
    orchestrator = tmp_path / "orchestrator.py"
    text = orchestrator.read_text()
    orchestrator.write_text(f"import os\nos.kill(os.getpid(), 2)\n{text}")
    other = Owner("h", "b", 7, None, 1, 0.0, {})
    monkeypatch.setattr(control, "orchestrators", lambda workflow: {"night": other})
    monkeypatch.setattr(orchestration, "n_held", lambda workflow: 3)

    with put_off() as early:
        interrupt()
    stops = [
        CliRunner().invoke(program, ["run", str(tmp_path)]),
        CliRunner().invoke(program, ["orchestrator", "start", str(tmp_path), "-n", "a"]),
    ]
    with raising(), pytest.raises(Stopped) as stopped:
        running.run(Call([str(tmp_path)], declare_shared, "motoko run", "", early))

    still = (
        "stopped during start-up\nstill running: 3 runs, the orchestrator of night (process 7)"
    )
    assert [one.exit_code for one in stops] == [130, 130]
    assert all(one.stderr.startswith(still) for one in stops)
    assert stopped.value.is_said is False
    assert early == [signal.SIGINT]


def test_two_signals_end_an_orchestrator_with_its_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = Workflow(str(write_workflow(tmp_path, {"mult": None})))
    workflow.run_name = "s"

    async def run(**params: Any) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        interrupt()
        raise AssertionError("goes on")

    monkeypatch.setattr(workflow, "run", run)
    going = Orchestration(workflow, {}, Silent(), Keeper(workflow, restarts=False))

    with raising(), pytest.raises(Stopped, match="SIGTERM"):
        going.run()


def test_no_signal_is_heard_after_the_one_that_ended_a_loop() -> None:
    async def run() -> None:
        with anyio.CancelScope() as scope, Interrupts(scope.cancel, lambda: None):
            interrupt()
            await anyio.sleep_forever()

    with raising():
        anyio.run(run)
        interrupt()
    with pytest.raises(KeyboardInterrupt):
        interrupt()


@pytest.mark.parametrize("command", [["run"], ["orchestrator", "start"]])
def test_a_run_name_is_taken_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    write_workflow(tmp_path, {"mult": None})
    again: list[Result] = []

    def begin(*_: object, **__: object) -> None:
        if not again:  # as slow as it may be: another one of the same name hears at once
            again.append(CliRunner().invoke(program, [*command, str(tmp_path), "-n", "a"]))
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(running, "_ensure_running", begin)

    CliRunner().invoke(program, [*command, str(tmp_path), "-n", "a"])

    (second,) = again
    assert second.exit_code == 6
    assert f"'a' is already running (process {os.getpid()} on " in second.stderr
    assert f"`motoko orchestrator stop {tmp_path} --run_name a` stops it" in second.stderr
    assert control.orchestrators(Workflow(str(tmp_path))) == {}


def test_an_orchestrator_that_ended_without_a_word_is_told_of_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_workflow(tmp_path, {"mult": None})
    workflow = Workflow(str(tmp_path))
    workflow.run_name = "a"
    pid = os.fork()
    if pid == 0:
        with taken(workflow):
            os._exit(3)
    os.waitpid(pid, 0)

    def begin(*_: object, **__: object) -> None:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(running, "_ensure_running", begin)

    first, second = (
        CliRunner().invoke(program, ["run", str(tmp_path), "-n", "a"]).stderr for _ in range(2)
    )

    assert f"the last orchestrator of a (process {pid} on " in first
    assert (
        f"without a word: it was killed, or something in it called os._exit; see {tmp_path}"
        in first
    )
    assert "without a word" not in second
