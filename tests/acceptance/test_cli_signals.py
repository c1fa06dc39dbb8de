"""A database server that is frozen or killed, and signals to who waits for it or is busy."""

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
#: Its action kills the server at one moment of its first firing.
KILLING = """
import json, os, signal
from ZEO.Exceptions import ClientDisconnected
from motoko.store.feed import FeedingStorage
from motoko.workflow import event

MOMENT = "{moment}"
finish = FeedingStorage.tpc_finish


def kill_server(workflow):
    FeedingStorage.tpc_finish = finish
    lock = workflow.state_dir / "server.lock"
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)


async def main(workflow, **params):
    workflow.add_action("begin", event=lambda: not workflow.vars.get("n"), f=begin)
    workflow.add_action("end", task="sample", event=has_all, f=end)


def has_all(workflow, task_manager):
    return bool(task_manager.select().all("state = FINISHED"))


@event
async def begin(workflow, **params):
    is_first = not (workflow.directory / "killed").exists()
    (workflow.directory / "killed").touch()
    workflow.sample.createTask(seed=[1, 2])
    if is_first and MOMENT == "body":
        kill_server(workflow)
    workflow.sample.createTask(seed=[3])
    workflow.vars.n = workflow.vars.get("n", 0) + 1
    if is_first and MOMENT != "body":
        def killed(storage, *arguments):
            if MOMENT == "finish":
                kill_server(workflow)
                return finish(storage, *arguments)
            finish(storage, *arguments)
            kill_server(workflow)
            raise ClientDisconnected("the answer was lost")
        FeedingStorage.tpc_finish = killed


@event
async def end(workflow, **params):
    workflow.vars.n_ends = workflow.vars.get("n_ends", 0) + 1
    workflow.finished = True
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "still running: " in messages
    assert "the launcher (process" in messages
    assert "Traceback" not in messages + log(here)


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("body", marks=pytest.mark.slow),
        "finish",
        pytest.param("answer", marks=pytest.mark.slow),
    ],
)
def test_action_is_done_once_although_the_server_is_killed(
    here: CommandLine, moment: str
) -> None:
    (here.directory / "orchestrator.py").write_text(KILLING.format(moment=moment))

    done = here.run("run")

    assert "sample 3 runs" in done.stdout
    assert "n = 1, n_ends = 1" in done.stdout
    assert "database server had died and was started again" in log(here)
    assert here.counts("sample") == {"FINISHED": 3}
