"""Signals that come one right after the other: the words that are due are said all the same."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from motoko.cli import running
from motoko.cli.failures import Stopped
from motoko.cli.interrupts import Interrupts, raising
from motoko.cli.orchestration import Orchestration
from motoko.cli.program import program
from motoko.cli.views import Silent
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
    orchestration = Orchestration(workflow, {}, Silent(), Keeper(workflow, restarts=False))

    with raising(), pytest.raises(Stopped, match="SIGTERM"):
        orchestration.run()


def test_no_signal_is_heard_after_the_one_that_ended_a_loop() -> None:
    async def run() -> None:
        with anyio.CancelScope() as scope, Interrupts(scope.cancel, lambda: None):
            interrupt()
            await asyncio.sleep(60)

    with raising():
        anyio.run(run)
        interrupt()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
