"""A thousand processes that ended and that nobody waits for are beside a workflow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko import host
from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
N_ZOMBIES = 1000
#: Adopts whatever its descendants leave, waits for none of it, and runs a command.
CARELESS = f"""\
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
for _ in range({N_ZOMBIES}):
    if os.fork() == 0:
        os._exit(0)
for line in sys.stdin:
    subprocess.run([sys.executable, "-m", "motoko", *line.split()])
    print("done", flush=True)
"""
HELD = """\
echo $MOTOKO_RUN_ID $MOTOKO_ATTEMPT >>../../../executed
echo $$ >>../../../shells
while [ ! -e ../../../go ]; do sleep 0.02; done
python3 doIt.py
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        (line.directory / "sample/launch.sh").write_text(HELD)
        yield line


@pytest.fixture
def careless(here: CommandLine) -> Iterator[subprocess.Popen[str]]:
    """What is started through it stays as a zombie once it has ended."""
    with subprocess.Popen(
        [sys.executable, "-c", CARELESS],
        cwd=here.directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.kill()


def tell(careless: subprocess.Popen[str], command: str) -> None:
    """Run a command of motoko below it, to its end."""
    assert careless.stdin is not None and careless.stdout is not None
    careless.stdin.write(f"{command}\n")
    careless.stdin.flush()
    assert any(line == "done\n" for line in careless.stdout)


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and was not waited for."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_zombies_are_dead_whoever_they_were(
    here: CommandLine, careless: subprocess.Popen[str]
) -> None:
    tell(careless, "orchestrator start -n first -d --n_samples 2")
    wait_until(lambda: here.counts("sample") == {"RUNNING": 2}, "the samples")
    shells = [int(pid) for pid in (here.directory / "shells").read_text().split()]
    launcher, server = here.pid("launcher"), here.pid("server")
    assert launcher is not None and server is not None

    for pid in (launcher, server, *shells):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: is_zombie(pid), "a zombie")
        assert not host.is_alive(pid)
    assert here.pid("launcher") is None
    (here.directory / "go").touch()
    tell(careless, "launcher start")
    wait_until(lambda: here.counts("mean") == {"FINISHED": 1}, "the end")

    assert here.counts("sample") == {"FINISHED": 2}
    executed = sorted((here.directory / "executed").read_text().splitlines())
    assert executed == ["1 1", "1 2", "2 1", "2 2"]
    n_zombies = sum(
        p.read_text().rpartition(")")[2].split()[1] == str(careless.pid)
        for p in Path("/proc").glob("[0-9]*/stat")
        if p.exists()
    )
    assert n_zombies > N_ZOMBIES
    assert here.run("verify").stdout.endswith("no findings\n")
