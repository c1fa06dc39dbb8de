"""Runs as processes of this host: one bash each, a session of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from motoko.crashpoints import reached
from motoko.job import shell
from motoko.launch.generator import LocalGenerator, LocalProcess, Start

#: What a script finds as every program does, whatever the launcher made of it for itself.
_DEFAULT_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class Bash(LocalGenerator):
    """Executes runs as processes on this host."""

    name = "bash"

    def required_commands(self) -> Sequence[str]:
        return (shell.SHELL,)

    def start(self, start: Start) -> LocalProcess:
        command = shell.script(
            start.run_dir,
            start.exec_file,
            start.nonce,
            start.attempt,
            start.token_fd,
            start.warning,
        )
        pid = os.posix_spawn(
            shell.SHELL,
            command,
            start.environment,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, start.output_file, _APPEND, 0o666),
                (os.POSIX_SPAWN_OPEN, 2, start.error_file, _APPEND, 0o666),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
        return Process(pid, is_child=True)

    def find(self, pid: int) -> LocalProcess | None:
        process = Process(pid, is_child=False)
        return process if process.is_there else None


class Process(LocalProcess):
    """The bash of an attempt, first of its process group."""

    def __init__(self, pid: int, *, is_child: bool) -> None:
        self.pid = pid
        self._is_child = is_child
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_exit: Callable[[int | None], None] | None = None
        self._is_asked = False
        self._fd = _open_pidfd(pid)

    @property
    def is_there(self) -> bool:
        """Whether it was found when this was made."""
        return self._fd is not None

    def follow(self, on_exit: Callable[[int | None], None]) -> None:
        self._loop, self._on_exit = asyncio.get_running_loop(), on_exit
        if self._fd is not None:
            self._loop.add_reader(self._fd, self._look)
        else:
            threading.Thread(target=self._wait, name=f"wait {self.pid}", daemon=True).start()

    def ask_to_end(self) -> None:
        self._is_asked = True
        self._signal(signal.SIGTERM)

    def insist(self) -> None:
        # What the first process has started may be there still when it itself is not; until it
        # is waited for, its number stands for this group and for no other.
        self._is_asked = False
        self._signal(signal.SIGKILL)
        if self._on_exit is None and self._is_child:
            with suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)

    def leave(self) -> None:
        self._on_exit = None
        if self._fd is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if not self._is_child:
                if self._fd is None:
                    return
                signal.pidfd_send_signal(self._fd, 0)  # the number may be another's by now
            os.killpg(self.pid, number)

    def _look(self) -> None:
        code = None
        if self._is_child:
            keep = os.WNOWAIT if self._is_asked else 0
            try:
                found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | keep)
            except ChildProcessError:  # somebody else has waited for it
                pass
            else:
                if found is None:
                    return
                ended_by_itself = found.si_code == os.CLD_EXITED
                code = found.si_status if ended_by_itself else -found.si_status
            reached("launcher.reaped")
        self._ended(code)

    def _wait(self) -> None:
        try:
            code: int | None = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            code = None
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is over
            self._loop.call_soon_threadsafe(self._ended, code)

    def _ended(self, code: int | None) -> None:
        on_exit = self._on_exit
        self.leave()
        if on_exit is not None:
            on_exit(code)


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # gone, or a system without them
