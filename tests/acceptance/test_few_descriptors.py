"""Each process without a free file descriptor: said, waited for, nothing lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from motoko.paths import WORKFLOW_LOG
from tests.support.command_line import ROOT, CommandLine, new_workflow
from tests.support.waiting import wait_until

HELD = """\
echo $MOTOKO_RUN_ID $MOTOKO_ATTEMPT >>../../../executed
while [ ! -e ../../../go ]; do sleep 0.02; done
python3 doIt.py
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        (line.directory / "sample/launch.sh").write_text(HELD)
        yield line


class Starved:
    """A process without a free descriptor, until `feed`."""

    def __init__(self, pid: int | None) -> None:
        assert pid is not None
        self._pid = pid
        self._limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        self._starve()

    def _starve(self) -> None:
        used = {int(fd.name) for fd in Path(f"/proc/{self._pid}/fd").iterdir()}
        lowest_free = min(set(range(len(used) + 1)) - used)
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (lowest_free, self._limits[1]))

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition, and take from it meanwhile what it has closed since."""

        def met() -> object:
            self._starve()
            return condition()

        wait_until(met, what)

    def feed(self) -> None:
        """It has its limit back."""
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, self._limits)


def executed(here: CommandLine) -> list[str]:
    """Run and attempt of each execution."""
    return sorted((here.directory / "executed").read_text().splitlines())


def orchestrated(here: CommandLine) -> int | None:
    """The process of the orchestrator."""
    found = here.json("info")["orchestrators"]
    return found[0]["pid"] if found else None


@pytest.mark.slow
def test_a_launcher_that_can_open_nothing_gives_no_run_up(here: CommandLine) -> None:
    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "3")
    wait_until(lambda: here.counts("sample").get("RUNNING", 0) > 0, "a sample")
    pid = here.pid("launcher")
    starved = Starved(pid)

    (here.directory / "go").touch()
    more = f"`prlimit --pid {pid} --nofile=1024` raises that"
    starved.wait_until(lambda: more in here.run("info").stdout, "the trouble")
    assert "FAILED" not in here.counts("sample")
    starved.feed()
    wait_until(lambda: here.counts("mean") == {"FINISHED": 1}, "the end")

    assert here.pid("launcher") == pid
    assert executed(here) == ["1 1", "2 1", "3 1"]
    assert here.counts("sample") == {"FINISHED": 3}


@pytest.mark.slow
def test_an_orchestrator_that_can_open_nothing_says_no_other_is_dead(
    here: CommandLine,
) -> None:
    with here.started("run", "-n", "first", "--n_samples", "2") as process:
        here.wait_for_script("sample")
        server, launcher = here.pid("server"), here.pid("launcher")
        starved = Starved(process.pid)
        log = here.directory / ".wf" / WORKFLOW_LOG
        starved.wait_until(lambda: "cannot look after" in log.read_text(), "the trouble")
        (here.directory / "go").touch()
        wait_until(lambda: here.counts("sample") == {"FINISHED": 2}, "what fires an action")
        starved.feed()
        said, messages = process.communicate(timeout=60)

    assert process.returncode == 0, messages
    assert "cannot look after server and launcher: Too many open files" in said
    assert f"`prlimit --pid {process.pid} --nofile=1024` raises that" in said
    assert "has died" not in said + log.read_text()
    assert (server, launcher) != (None, None)
    assert executed(here) == ["1 1", "2 1"]


@pytest.mark.slow
def test_a_server_that_can_open_nothing_is_waited_for(here: CommandLine) -> None:
    with here.started("run", "-n", "first", "--n_samples", "3") as process:
        here.wait_for_script("sample")
        pid = here.pid("server")
        starved = Starved(pid)
        more = f"open; `prlimit --pid {pid} --nofile=1024` raises that"
        office = here.directory / ".wf" / "server.lock"
        starved.wait_until(lambda: more in office.read_text(), "the trouble")
        (here.directory / "go").touch()
        with suppress(AssertionError):  # a command may reach it, or not
            assert more in here.run("info", code=7).stdout
        starved.feed()
        # If all is done before the server looks again, it ends with its last word.
        wait_until(
            lambda: more not in office.read_text() or process.poll() is not None,
            "the end of the trouble",
        )
        _, messages = process.communicate(timeout=60)

    assert process.returncode == 0, messages
    assert executed(here) == ["1 1", "2 1", "3 1"]
    assert here.counts("sample") == {"FINISHED": 3}


@pytest.mark.slow
@pytest.mark.parametrize("n_descriptors", [8, 20, 40])
def test_a_run_with_few_descriptors_from_its_start_ends_in_words(
    here: CommandLine, n_descriptors: int
) -> None:
    """As under ``ulimit -n``: it works, or says why not; with more, it goes on."""
    (here.directory / "go").touch()
    command = f'ulimit -n {n_descriptors}; exec "$0" -m motoko run -n first --n_samples 3'
    running = subprocess.Popen(
        ["bash", "-c", command, sys.executable],
        cwd=here.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = running.communicate(timeout=20)[0]
    except subprocess.TimeoutExpired:  # it waits for descriptors, and says so
        said = here.run("info").stdout
        running.terminate()
        said += running.communicate(timeout=30)[0]

    assert "bug in Motoko" not in said
    assert "Traceback" not in said
    assert running.returncode == 0 or "open files" in said, said
    here.run("kill")
    here.run("run", "-n", "first", "--n_samples", "3")
    assert here.counts("sample") == {"FINISHED": 3}
    assert executed(here) == ["1 1", "2 1", "3 1"]
