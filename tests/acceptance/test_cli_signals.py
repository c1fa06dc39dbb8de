"""A database server that is frozen (SIGSTOP), and signals to who waits for it or is busy."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command_line import DEADLINE_S, CommandLine, new_workflow
from tests.support.waiting import wait_until

CREATING = """
async def main(workflow, **params):
    for i in range(10**9):
        workflow.vars.i = i
        (workflow.directory / "begun").touch()
"""
BUSY = """
async def main(workflow, **params):
    (workflow.directory / "begun").touch()
    while True:
        if workflow.vars.db.is_hurried:
            (workflow.directory / "asked").touch()
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


@contextmanager
def frozen_server(here: CommandLine) -> Iterator[None]:
    """The server of a workflow does nothing inside the block."""
    pid = here.pid("server")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def log(here: CommandLine) -> str:
    return (here.directory / ".wf" / "wf.log").read_text()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, messages = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output, messages


def test_frozen_server_is_said_and_waited_for(here: CommandLine) -> None:
    script = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"
    (here.directory / "sample" / "launch.sh").write_text(script)
    with here.started("run", "--wait", "0.2") as process:
        here.wait_for_script("sample")
        with frozen_server(here):
            wait_until(lambda: "server does not answer for" in log(here))
            (here.directory / "go").touch()
        code, output, _ = ended(process)

    assert code == 0
    assert "the database server answers again for" in log(here)
    assert "sample 5 runs, mean 1 run" in output
    assert "mean = 0.43746" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_run_whose_main_waits_for_a_frozen_server(
    here: CommandLine, number: signal.Signals
) -> None:
    (here.directory / "orchestrator.py").write_text(CREATING)
    with here.started("run") as process:
        wait_until((here.directory / "begun").exists)
        with frozen_server(here):
            wait_until(lambda: "waiting: database of variables" in log(here))
            process.send_signal(number)
            code, _, messages = ended(process)

    assert code == 128 + number
    assert "stopped the orchestrator" in messages
    assert "still running: the launcher (process" in messages
    assert "Traceback" not in messages + log(here)


def test_second_interrupt_ends_a_main_that_never_waits(here: CommandLine) -> None:
    (here.directory / "orchestrator.py").write_text(BUSY)
    with here.started("run") as process:
        wait_until((here.directory / "begun").exists)
        process.send_signal(signal.SIGINT)
        wait_until((here.directory / "asked").exists)
        process.send_signal(signal.SIGINT)
        code, _, messages = ended(process)

    assert code == 130
    assert "stopped the orchestrator" in messages
    assert "Traceback" not in messages
    assert "Warning" not in messages
