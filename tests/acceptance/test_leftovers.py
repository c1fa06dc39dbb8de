"""No process or thread outlives the run of the tests that started it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import processes_of
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
STUBBORN = "trap '' TERM HUP INT; while :; do sleep 0.1; done"
CONFTEST = """
from tests.conftest import *
from tests.support import leftovers, threads

leftovers.PATIENCE_S = threads.PATIENCE_S = 0.5
"""
TESTS = f"""
import subprocess, sys, threading, time

def start(*command):
    # A worker whose streams somebody holds is waited for, before anything is said.
    streams = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return subprocess.Popen(command, cwd={{place!r}}, start_new_session=True, **streams)

def test_that_leaves_processes():
    start("bash", "-c", {STUBBORN!r})
    start("bash", "-c", "(sleep 1000 & sleep 1000) & exec sleep 1000")

def test_that_cleans_up():
    process = start("sleep", "1000")
    process.kill()
    process.wait()

def test_that_leaves_a_thread():
    threading.Thread(target=threading.Event().wait, name="of this test").start()

def test_that_leaves_a_thread_that_does_not_matter():
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    threading.Thread(target=time.sleep, args=[0.1]).start()

def test_that_hangs():
    open({{ready!r}}, "w").close()
    while True:
        time.sleep(1)
"""


#: In the process of pytest, and in a worker of it.
in_both = pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "worker"])


@contextmanager
def inner_tests(
    directory: Path, *names: str, options: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A run of some of these tests, in a process of its own."""
    (directory / "place").mkdir()
    (directory / "conftest.py").write_text(CONFTEST)
    values = {"place": str(directory / "place"), "ready": str(directory / "ready")}
    (directory / "test_inner.py").write_text(TESTS.format(**values))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull]
    command += [f"--rootdir={directory}", *options]
    with subprocess.Popen(
        [*command, *(f"test_inner.py::{name}" for name in names)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the outer run."""
    with subprocess.Popen(["sleep", "1000"], cwd=tmp_path) as process:
        yield process
        process.kill()


@pytest.mark.slow
@in_both
def test_killed_tests_leave_nothing_running(
    tmp_path: Path, bystander: subprocess.Popen[bytes], options: Sequence[str]
) -> None:
    place = tmp_path / "place"
    names = ("test_that_leaves_processes", "test_that_hangs")
    with inner_tests(tmp_path, *names, options=options) as inner:
        wait_until((tmp_path / "ready").exists, "the test that hangs")
        wait_until(lambda: len(processes_of(place)) >= 4, "all processes")
        inner.kill()
        inner.wait()
        wait_until(lambda: not processes_of(place), "the end of what is left")

    assert bystander.poll() is None


@pytest.mark.slow
@in_both
def test_what_tests_leave_behind_is_a_failure_that_names_them(
    tmp_path: Path, bystander: subprocess.Popen[bytes], options: Sequence[str]
) -> None:
    with inner_tests(tmp_path, "test_that_leaves_processes", options=options) as inner:
        said, _ = inner.communicate()

    assert inner.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 passed" in said
    assert "left behind by tests" in said
    assert STUBBORN in said
    assert "test_inner.py::test_that_leaves_processes" in said
    assert processes_of(tmp_path / "place") == []
    assert bystander.poll() is None


@pytest.mark.slow
@in_both
def test_thread_that_does_not_end_is_a_failure_that_names_it_and_not_waited_for(
    tmp_path: Path, options: Sequence[str]
) -> None:
    with inner_tests(tmp_path, "test_that_leaves_a_thread", options=options) as inner:
        said, _ = inner.communicate()

    assert inner.returncode == pytest.ExitCode.TESTS_FAILED
    assert "left behind by tests" in said
    assert "thread of this test" in said
    assert ", in wait" in said
    assert "1 passed" in said.splitlines()[-1]


@pytest.mark.slow
def test_interrupted_tests_do_not_wait_for_a_thread_either(tmp_path: Path) -> None:
    with inner_tests(tmp_path, "test_that_leaves_a_thread", "test_that_hangs") as inner:
        wait_until((tmp_path / "ready").exists, "the test that hangs")
        inner.send_signal(signal.SIGINT)
        said, _ = inner.communicate()

    assert inner.returncode == pytest.ExitCode.INTERRUPTED
    assert "thread of this test" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["test_that_cleans_up", "test_that_leaves_a_thread_that_does_not_matter"]
)
def test_tests_that_clean_up_pass(tmp_path: Path, name: str) -> None:
    with inner_tests(tmp_path, name) as inner:
        said, _ = inner.communicate()

    assert inner.returncode == pytest.ExitCode.OK, said
    assert "left behind" not in said
