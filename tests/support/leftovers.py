"""Processes that a run of the tests leaves behind: found by their environment, and ended.

All that the tests start inherits `VARIABLE`, which holds the names of the test runs it belongs
to. `guarded` starts a watcher, a process that sees the end of the one that started it, however
that comes about, and then ends everything with that name.

This file is executed by itself as the watcher; it imports the standard library alone.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "MOTOKO_TEST_RUNS"
_PROC = Path("/proc")
#: How long processes have to end by themselves.
PATIENCE_S = 10.0
#: How long they have after SIGTERM, and again after SIGKILL.
_GRACE_S = 1.0


@dataclass(frozen=True)
class Leftover:
    """A process, and the test that was executed when it was started."""

    pid: int
    command: str
    test: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command}) of {self.test or 'an unknown test'}"


def leftovers(name: str) -> list[Leftover]:
    """The processes of this user that belong to a test run, but this one."""
    found = []
    for place in _PROC.glob("[0-9]*"):
        pid = int(place.name)
        if pid != os.getpid() and _belongs_to(pid, name):
            environment = _environment(pid)
            test = environment.get("PYTEST_CURRENT_TEST", "")
            found.append(Leftover(pid, _command(pid), test))
    return found


def wait_for_end(name: str) -> list[Leftover]:
    """What is still there after a moment, in which it may end by itself."""
    end = time.monotonic() + PATIENCE_S
    while found := leftovers(name):
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return found


def end_all(name: str) -> None:
    """End all processes of a test run: SIGTERM, later SIGKILL, also for what they start."""
    begin = time.monotonic()
    told: set[int] = set()
    while found := leftovers(name):
        waited_s = time.monotonic() - begin
        if waited_s > 2 * _GRACE_S:
            return
        for process in found:
            if waited_s > _GRACE_S:
                _send(process.pid, signal.SIGKILL, name)
            elif process.pid not in told:
                told.add(process.pid)
                _send(process.pid, signal.SIGTERM, name)
        time.sleep(0.05)


@contextmanager
def guarded() -> Iterator[str]:
    """Let what is started inside belong to a new test run, and end with this process."""
    name = secrets.token_hex(8)
    before = os.environ.get(VARIABLE)
    outer = {key: value for key, value in os.environ.items() if key != VARIABLE}
    reader, writer = os.pipe()
    watcher = subprocess.Popen(
        [sys.executable, "-I", __file__, name],
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=outer,
        cwd="/",
        start_new_session=True,
    )
    os.close(reader)
    os.environ[VARIABLE] = f"{before} {name}" if before else name
    try:
        yield name
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        with suppress(BrokenPipeError):
            os.write(writer, b".")
        os.close(writer)
        watcher.wait()


def _belongs_to(pid: int, name: str) -> bool:
    try:
        if (_PROC / str(pid)).stat().st_uid != os.getuid():
            return False
    except OSError:
        return False
    return name in _environment(pid).get(VARIABLE, "").split()


def _environment(pid: int) -> dict[str, str]:
    """What a process was started with; nothing for one that has ended, zombies too."""
    try:
        text = (_PROC / str(pid) / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in text.split("\0"))


def _command(pid: int) -> str:
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    return b" ".join(words).decode(errors="replace").strip()[:200]


def _send(pid: int, number: signal.Signals, name: str) -> None:
    """Send a signal to the process that was found, never to a later one of the same pid."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _belongs_to(pid, name):
            signal.pidfd_send_signal(fd, number)
    except OSError:
        pass
    finally:
        os.close(fd)


def main() -> None:
    """Wait for a word at standard input, or for the end of whoever could say it."""
    os.read(0, 1)
    end_all(sys.argv[1])


if __name__ == "__main__":
    main()
