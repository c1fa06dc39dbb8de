"""Executing the commands of a batch system, with an end to the waiting."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

#: The exit code of a command that could not be executed, as a shell has it.
NOT_EXECUTED = 127


class _Process(subprocess.Popen[bytes]):
    """A process whose end is heard of at once: Popen, told how long to wait at most, looks for
    it again and again, with pauses between."""

    def wait(self, timeout: float | None = None) -> int:
        if timeout is None or self.returncode is not None:
            return super().wait(timeout)
        try:
            fd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # a Python, or a kernel, without them
            return super().wait(timeout)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(max(0.0, timeout) * 1000)
        finally:
            os.close(fd)
        return super().wait(0)


class Answer(NamedTuple):
    """What came of a command; ``code`` is None when it took too long, so that nobody knows what
    it has done."""

    code: int | None
    output: str
    words: str

    @property
    def is_good(self) -> bool:
        """Whether it did what it was to do."""
        return self.code == 0


def ask(
    command: Sequence[str],
    timeout_s: float,
    directory: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Answer:
    """Execute a command and wait for it. Called in a thread.

    A session of its own: what ends the launcher's terminal does not cut a submission in two.
    """
    try:
        process = _Process(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(NOT_EXECUTED, "", f"{command[0]}: {error.strerror}")
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Answer(None, "", f"{command[0]} did not answer within {timeout_s:g} s")
    words = errors.decode(errors="replace").strip()
    return Answer(process.returncode, output.decode(errors="replace"), words)
