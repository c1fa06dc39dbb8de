"""What is started early does nothing before its word, and ends without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from motoko import daemon
from motoko.daemon import early
from motoko.starter import WORD_FD, waiting

#: Says what it was told, to the log and as a file, and that it is ready.
TOLD = """\
import sys
from motoko import starter
starter.is_awaited()
pipe = starter.word_pipe()
given = sys.argv[1:] if pipe is None else [*sys.argv[1:], *starter.read_word(pipe)]
print("early" if pipe is not None else "late", *given, flush=True)
starter.say_ready()
"""
BEGINNING = [sys.executable, "-c", TOLD, "be"]


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log"


def started(log_file: Path, *rest: str) -> str:
    """What a process that was started with this rest of a command has printed."""
    os.waitpid(daemon.start([*BEGINNING, *rest], "it", log_file), 0)
    return log_file.read_text()


def the_waiting_one() -> psutil.Process:
    (its,) = early._waiting
    return psutil.Process(its._starting.process.pid)


def test_one_that_was_started_early_does_what_it_is_told(log_file: Path) -> None:
    with daemon.started_early([BEGINNING]):
        said = started(log_file, "some", "thing with blanks\n")

    assert said == "early be some thing with blanks\n\n"


def test_a_word_may_be_longer_than_a_pipe_takes(log_file: Path) -> None:
    many = [str(i) * 100 for i in range(2000)]
    with daemon.started_early([BEGINNING]):
        said = started(log_file, *many)

    assert said.split() == ["early", "be", *many]


def test_it_is_used_once(log_file: Path) -> None:
    with daemon.started_early([BEGINNING]):
        started(log_file, "a")
        said = started(log_file, "b")

    assert said.splitlines() == ["early be a", "late be b"]


def test_another_command_leaves_it_waiting_until_the_end_of_the_block(log_file: Path) -> None:
    with daemon.started_early([[*BEGINNING, "another"]]):
        said = started(log_file, "one")
        its = the_waiting_one()

    assert said == "late be one\n"
    assert not its.is_running()


def test_it_ends_when_it_is_not_needed(log_file: Path) -> None:
    with daemon.started_early([BEGINNING]):
        its = the_waiting_one()
        daemon.dismiss_early()
        assert not its.is_running()
        said = started(log_file, "one")

    assert said == "late be one\n"


@pytest.mark.parametrize("what", ["environment", "directory", "umask", "limits"])
def test_one_that_would_have_other_than_its_starter_has_by_now_is_not_used(
    log_file: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    umask, limits = os.umask(0o077), resource.getrlimit(resource.RLIMIT_CORE)
    os.umask(umask)
    try:
        with daemon.started_early([BEGINNING]):
            if what == "environment":
                monkeypatch.setenv("SOME_VARIABLE", "other")
            elif what == "directory":
                monkeypatch.chdir(tmp_path)
            elif what == "umask":
                os.umask(umask ^ 0o010)
            else:
                less = 1000 if limits[0] != 1000 else 2000
                resource.setrlimit(resource.RLIMIT_CORE, (less, limits[1]))
            said = started(log_file, "one")
    finally:
        os.umask(umask)
        resource.setrlimit(resource.RLIMIT_CORE, limits)

    assert said == "late be one\n"


def test_one_that_has_died_is_not_missed(log_file: Path) -> None:
    with daemon.started_early([BEGINNING]):
        one = the_waiting_one()
        one.kill()
        while one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
            pass
        said = started(log_file, "one")

    assert said == "late be one\n"


def test_a_fork_does_not_keep_it_waiting(log_file: Path) -> None:
    reader, writer = os.pipe()
    with daemon.started_early([BEGINNING]):
        one = the_waiting_one()
        forked = os.fork()
        if forked == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        # As if this process was killed: nobody else has the end that was its own.
        (its,) = early._waiting
        its._close()
        assert one.wait(20) == 0
        its._word = os.open(os.devnull, os.O_WRONLY)
    os.close(writer)
    os.waitpid(forked, 0)
    os.close(reader)


def test_it_ends_with_who_was_killed_before_it_gave_the_word(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from motoko import daemon\n"
        f"with daemon.started_early([[*{BEGINNING!r}]]):\n"
        "    from motoko.daemon.early import _waiting\n"
        "    print(_waiting[0]._starting.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)

    assert found.returncode == -signal.SIGKILL
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(int(found.stdout)).wait(20)
        psutil.Process(int(found.stdout))


@pytest.mark.parametrize("half", [b"", b'{"arguments": ["a"], "log'])
def test_half_a_word_is_none(half: bytes) -> None:
    reader, writer = os.pipe()
    env = {**os.environ, WORD_FD: waiting(reader)}
    with subprocess.Popen(
        BEGINNING, env=env, pass_fds=(reader,), stdout=subprocess.PIPE
    ) as process:
        os.close(reader)
        os.write(writer, half)
        os.close(writer)
        said = process.communicate()[0]

    assert (process.returncode, said) == (0, b"")
