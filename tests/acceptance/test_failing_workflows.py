"""Workflows that end badly, through the command line: the message, the code, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.waiting import wait_until
from tests.support.workflows import write_workflow

MOTOKO = [sys.executable, "-m", "motoko"]


def typed(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a program would, in a directory."""
    return warm.run(command, directory, os.environ, 60)


def states(directory: Path, study: str) -> list[str]:
    """The states of all runs of a study, by id."""
    done = typed(directory, "runs", "list", study, "--all", "--json")
    return [run["state"] for run in json.loads(done.stdout)]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    made = write_workflow(tmp_path / "w", {"mult": None, "norm": None})
    yield made
    typed(made, "kill")


def orchestrate(directory: Path, body: str) -> None:
    """Write an orchestrator."""
    (directory / "orchestrator.py").write_text("import os, signal\n" + body)


RAISING = """\
async def forward(runs, workflow, **params):
    for run, job in runs:
        run.state = "FORWARDED"
    workflow.norm.createTask(x=1.0)
    raise ValueError("no such thing")

async def main(workflow, **params):
    workflow.add_action("forward", "mult", "state = FINISHED", f=forward)
    workflow.mult.createTask(x=1.0)
"""


@pytest.mark.slow
def test_an_action_that_raises_ends_with_its_words_and_code_1(directory: Path) -> None:
    orchestrate(directory, RAISING)

    done = typed(directory, "run", "-n", "a")

    assert done.returncode == 1
    assert "motoko: forward (mult) raised ValueError: no such thing" in done.stderr
    assert "Traceback" not in done.stderr
    log = (directory / ".wf" / "wf.log").read_text()
    assert 'raise ValueError("no such thing")' in log
    typed(directory, "server", "start")
    assert states(directory, "mult") == ["FINISHED"]
    assert states(directory, "norm") == []


@pytest.mark.slow
def test_the_mended_workflow_goes_on_where_it_stopped(directory: Path) -> None:
    orchestrate(directory, RAISING)
    typed(directory, "run", "-n", "a")
    mended = RAISING.replace('raise ValueError("no such thing")', "workflow.finished = True")
    orchestrate(directory, mended)

    done = typed(directory, "run")

    assert done.returncode == 0, done.stderr
    typed(directory, "server", "start")
    assert states(directory, "mult") == ["FORWARDED"]
    assert len(states(directory, "norm")) == 1


@pytest.mark.slow
def test_failed_runs_give_code_5_and_their_causes(directory: Path) -> None:
    (directory / "mult" / "launch.sh").write_text("echo out of luck >&2\nexit 3\n")
    orchestrate(
        directory,
        "async def main(workflow, **params):\n    await workflow.mult.createTask(x=1.0)\n",
    )

    done = typed(directory, "run", "-n", "a")

    assert done.returncode == 5
    assert "mult.1 FAILED: exit code 3\n" in done.stderr
    typed(directory, "server", "start")
    card = typed(directory, "runs", "show", "mult.1").stdout
    assert "out of luck" in card
    assert "application" in card


@pytest.mark.slow
def test_an_action_killed_in_the_middle_leaves_nothing_half_done(directory: Path) -> None:
    orchestrate(
        directory,
        """\
async def forward(runs, workflow, **params):
    for run, job in runs:
        run.state = "FORWARDED"
    workflow.norm.createTask(x=1.0)
    if not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    workflow.vars.done = True
    workflow.finished = True

async def main(workflow, **params):
    workflow.add_action("forward", "mult", "state = FINISHED", f=forward)
    workflow.mult.createTask(x=1.0)
""",
    )

    killed = typed(directory, "run", "-n", "a")
    assert killed.returncode == -signal.SIGKILL
    assert states(directory, "mult") == ["FINISHED"]
    assert states(directory, "norm") == []

    done = typed(directory, "run")
    assert done.returncode == 0, done.stderr
    assert "done = True" in done.stdout


@pytest.mark.slow
def test_a_second_orchestrator_for_the_same_run_name_is_refused(directory: Path) -> None:
    orchestrate(
        directory,
        """\
async def never(**params): ...

async def main(workflow, **params):
    workflow.add_action("never", event=lambda: False, f=never)
    workflow.mult.createTask(x=1.0)
    print("waiting", flush=True)
""",
    )
    command = [*MOTOKO, "orchestrator", "start", "-n", "a"]
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as first:
        assert first.stdout is not None
        while "waiting" not in first.stdout.readline():
            assert first.poll() is None

        second = typed(directory, "orchestrator", "start", "-n", "a")
        other = typed(directory, "orchestrator", "status")
        first.send_signal(signal.SIGTERM)
        first.stdout.read()

    assert second.returncode == 6
    assert (
        f"the orchestrator of run name 'a' is already running (process {first.pid}"
        in second.stderr
    )
    assert str(first.pid) in other.stdout


@pytest.mark.slow
def test_who_started_the_server_leaves_it_to_another_run_name(directory: Path) -> None:
    script = "until [ -e ../../../go ]; do sleep 0.02; done\n"
    for study in ("mult", "norm"):
        waits = script.replace("go", f"go-{study}")
        (directory / study / "launch.sh").write_text(waits)
    orchestrate(
        directory,
        """\
async def main(workflow, study, **params):
    await workflow.task_manager(study).createTask(x=1.0)

def populate_arg_parser(parser):
    parser.add_argument("--study")
""",
    )
    going = []
    for name, study in (("a", "mult"), ("b", "norm")):
        process = subprocess.Popen(
            [*MOTOKO, "run", "-n", name, "--study", study],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        while "1 RUNNING" not in process.stdout.readline():
            assert process.poll() is None
        going.append(process)
    first, second = going

    (directory / "go-mult").touch()
    _, said = first.communicate(timeout=60)
    (directory / "go-norm").touch()
    rest, _ = second.communicate(timeout=60)

    assert "server and launcher go on for 'b'" in said
    assert (first.returncode, second.returncode) == (0, 0), rest


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", disk], check=True)
    try:
        directory = write_workflow(disk / "w", {"mult": None, "norm": None})
        script = "until [ -e ../../../go ]; do sleep 0.02; done\n"
        (directory / "mult" / "launch.sh").write_text(script)
        orchestrate(
            directory,
            """\
async def main(workflow, **params):
    await workflow.mult.createTask(x=[float(i) for i in range(params["count"])])

def populate_arg_parser(parser):
    parser.add_argument("--count", type=int, default=5)
""",
        )
        filler = disk / "filler"
        command = [*MOTOKO, "run", "-n", "a", "--count", "2"]
        with subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as going:
            assert going.stdout is not None and going.stderr is not None
            while "2 RUNNING" not in going.stdout.readline():
                assert going.poll() is None
            (directory / "go").touch()
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"0" * 4096)

            refused = typed(directory, "run", "-n", "b", "--count", "3")
            filler.unlink()
            rest = going.stdout.read() + going.stderr.read()
        assert going.returncode == 0, rest
        assert "Traceback" not in rest + refused.stderr
        assert refused.returncode in (6, 7, 9)
        assert "space" in refused.stderr

        assert typed(directory, "run", "-n", "b", "--count", "3").returncode == 0
        typed(directory, "server", "start")
        assert states(directory, "mult") == ["FINISHED"] * 5
    finally:
        typed(disk / "w", "kill")
        subprocess.run(["umount", "-l", disk], check=True)


MESHING = """\
python3 - <<'END'
import os, time
import motoko
run, job = motoko.get_run()
run.start()
run["state"] = "MESHING"
while not os.path.exists("../../../go"):
    time.sleep(0.02)
run.fail()
END
"""
HANDLING = """\
async def handle(runs, workflow, **params):
    workflow.vars.n_failed = len(runs)

async def main(workflow, **params):
    workflow.add_error_handler(f=handle)
    workflow.mult.createTask(x=1.0)
"""


@pytest.mark.slow
def test_a_run_that_executes_in_a_state_of_its_own_keeps_a_workflow_going(
    directory: Path,
) -> None:
    orchestrate(directory, HANDLING)
    (directory / "mult" / "launch.sh").write_text(MESHING)
    with subprocess.Popen(
        [*MOTOKO, "run", "-n", "a", "--wait", "0.1"], cwd=directory, text=True
    ) as process:
        try:
            wait_until(lambda: list(directory.glob("mult/BD-*/run-1/a.o1")), "the run")
            wait_until(lambda: states(directory, "mult") == ["MESHING"], "its own state")
            info = json.loads(typed(directory, "info", "--json").stdout)
            (directory / "go").touch()
            code = process.wait(60)
        finally:
            process.kill()

    assert [one["run_name"] for one in info["orchestrators"]] == ["a"]
    assert info["stalls"] == []
    assert code == 5
    assert states(directory, "mult") == ["FAILED"]
