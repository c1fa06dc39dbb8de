"""What is started early does nothing before its word, and ends without it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from motoko import daemon
from motoko.daemon import Early
from motoko.daemon.starting import Starting
from motoko.starter import READY_FD, WORD_FD, waiting
from tests.support.processes import wait_for

#: Says what it was told, to the log and as a file, and that it is ready.
TOLD = """\
import sys
from motoko import starter
starter.is_awaited()
pipe = starter.word_pipe()
given = sys.argv[1:] if pipe is None else [*sys.argv[1:], *starter.read_word(pipe)]
print("early" if pipe is not None else "late", *given, flush=True)
if "--and-go-on" not in given:
    starter.say_ready()
else:
    import signal
    signal.pause()
"""
BEGINNING = [sys.executable, "-c", TOLD, "be"]


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log"


def started(log_file: Path, early: Early, *rest: str) -> str:
    """What a process that was started with this rest of a command has printed."""
    os.waitpid(daemon.start([*BEGINNING, *rest], "it", log_file, early=early), 0)
    return log_file.read_text()


def waiting_ones() -> list[psutil.Process]:
    """Those that wait for this process."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if process.cmdline()[: len(BEGINNING)] == BEGINNING:
                found.append(process)
    return found


def zombies() -> set[int]:
    """The children of this process that have ended and were not waited for."""
    children = psutil.Process().children()
    return {p.pid for p in children if p.status() == psutil.STATUS_ZOMBIE}


def test_one_that_was_started_early_does_what_it_is_told(log_file: Path) -> None:
    with Early(BEGINNING) as early:
        said = started(log_file, early, "some", "thing with blanks\n")

    assert said == "early be some thing with blanks\n\n"


def test_a_word_may_be_longer_than_a_pipe_takes(log_file: Path) -> None:
    many = [str(i) * 100 for i in range(2000)]
    with Early(BEGINNING) as early:
        said = started(log_file, early, *many)

    assert said.split() == ["early", "be", *many]


def test_it_is_used_once(log_file: Path) -> None:
    with Early(BEGINNING) as early:
        started(log_file, early, "a")
        said = started(log_file, early, "b")

    assert said.splitlines() == ["early be a", "late be b"]


def test_another_command_leaves_it_waiting_until_the_end_of_the_block(log_file: Path) -> None:
    with Early([*BEGINNING, "another"]) as early:
        said = started(log_file, early, "one")
        n_waiting = len(waiting_ones())

    assert (said, n_waiting) == ("late be one\n", 1)
    assert waiting_ones() == []


def test_it_ends_when_it_is_not_needed(log_file: Path) -> None:
    before = zombies()
    with Early(BEGINNING) as early:
        early.dismiss()
        assert waiting_ones() == []
        assert zombies() <= before
        said = started(log_file, early, "one")

    assert said == "late be one\n"


def fewer_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))


def in_a_fork(body: Callable[[], object]) -> None:
    """Do something in a process of its own, as far as what it changes there is concerned."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException):
            body()
            code = 0
        os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


CHANGES: dict[str, Callable[[], object]] = {
    "environment": lambda: os.environ.update(SOME_VARIABLE="other"),
    "directory": lambda: os.chdir("/"),
    "umask": lambda: os.umask(os.umask(0) ^ 0o010),
    "limits": lambda: fewer_files(),
    "nice": lambda: os.nice(1),
    "ignored signals": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "blocked signals": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]),
    "cores": lambda: os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]),
}


@pytest.mark.parametrize("what", [None, *CHANGES])
def test_one_that_would_have_other_than_its_starter_has_by_now_is_not_used(
    what: str | None, log_file: Path
) -> None:
    if what == "cores" and len(os.sched_getaffinity(0)) == 1:
        pytest.skip("there is one core")
    if what == "nice" and os.nice(0) == 19:
        pytest.skip("nobody can be nicer")

    def change_and_start() -> None:
        with Early(BEGINNING) as early:
            if what is not None:
                CHANGES[what]()
            started(log_file, early, "one")

    in_a_fork(change_and_start)

    assert log_file.read_text() == f"{'early' if what is None else 'late'} be one\n"


def test_where_nobody_knows_what_a_process_has_of_its_starter_none_is_early(
    log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motoko.daemon.early._STATUS", Path("/there/is/no/such/file"))
    with Early(BEGINNING) as early:
        assert waiting_ones() == []
        assert started(log_file, early, "one") == "late be one\n"


def test_one_that_has_died_is_not_missed(log_file: Path) -> None:
    with Early(BEGINNING) as early:
        (one,) = waiting_ones()
        one.kill()
        wait_for(lambda: one.status() == psutil.STATUS_ZOMBIE, 20)
        said = started(log_file, early, "one")

    assert said == "late be one\n"


def test_one_that_is_stopped_is_ended_all_the_same() -> None:
    with Early(BEGINNING):
        (one,) = waiting_ones()
        one.suspend()

    assert waiting_ones() == []


def test_one_that_takes_no_word_is_not_used(log_file: Path) -> None:
    with Early(BEGINNING) as early:
        (one,) = waiting_ones()
        one.suspend()
        assert early.told([*BEGINNING, "x" * 200_000], log_file, 0.01) is None

        assert waiting_ones() == []


def test_who_is_interrupted_while_it_gives_the_word_leaves_none(
    log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Starting.tell

    def interrupted(self: Starting, word: bytes, wait_s: float) -> None:
        told(self, word, wait_s)
        raise KeyboardInterrupt

    monkeypatch.setattr(Starting, "tell", interrupted)
    goes_on = [*BEGINNING, "--and-go-on"]
    with pytest.raises(KeyboardInterrupt), Early(goes_on) as early:
        daemon.start([*goes_on, "one"], "it", log_file, early=early)

    assert waiting_ones() == []


@pytest.mark.parametrize("which", ["all", "the one to read from"])
def test_descriptors_that_somebody_closed_are_not_used(log_file: Path, which: str) -> None:
    def close_and_start() -> None:
        with Early(BEGINNING) as early:
            [(_, one)] = early._waiting
            if which == "all":
                os.closerange(3, 100)
            else:
                os.close(one._reader.fd)
            others = [os.open(log_file.with_name("other"), os.O_RDWR | os.O_CREAT)]
            others += [os.dup(others[0]) for _ in range(30)]
            started(log_file, early, "one")

    in_a_fork(close_and_start)

    assert log_file.read_text() == "late be one\n"
    assert log_file.with_name("other").read_bytes() == b""


KILLED = """import os, signal, sys
from motoko.daemon import Early
with Early(sys.argv[1:]) as early:
    [(_, one)] = early._waiting
    if os.fork() == 0:
        signal.pause()  # as a worker of a pool that was made meanwhile
    print(one.process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_who_was_killed_before_it_gave_the_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *BEGINNING],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as killed:
        assert killed.stdout is not None
        pid = int(killed.stdout.readline())
        assert killed.wait() == -signal.SIGKILL
        try:
            wait_for(lambda: is_gone(pid), 20)
        finally:
            os.killpg(killed.pid, signal.SIGKILL)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_one_that_cannot_print_to_its_log_says_why(tmp_path: Path) -> None:
    reader, ready = os.pipe()
    word, writer = os.pipe()
    env = {**os.environ, READY_FD: waiting(ready), WORD_FD: waiting(word)}
    with subprocess.Popen(BEGINNING, env=env, pass_fds=(ready, word)) as process:
        os.close(ready)
        os.close(word)
        os.write(writer, json.dumps({"arguments": [], "log": str(tmp_path)}).encode())
        os.close(writer)

        assert str(tmp_path) in os.read(reader, 4096).decode()
        assert process.wait() == 1
    os.close(reader)


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
