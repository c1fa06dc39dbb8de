"""Processes apart from the terminal, from their start until they say that they are ready."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from motoko.daemon.forks import keep_from_children
from motoko.starter import READY_FD, WORD_FD, waiting

#: How long a process that was asked to end may take.
ENDING_S = 10.0


class _PipeEnd:
    """This process's end of a pipe, which modules of the user's may have closed."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._inode = os.fstat(fd).st_ino

    @property
    def is_open(self) -> bool:
        """Whether the number still means the pipe."""
        try:
            return self.fd >= 0 and os.fstat(self.fd).st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Close it, unless it is closed."""
        if self.is_open:
            os.close(self.fd)
        self.fd = -1

    def __del__(self) -> None:
        self.close()  # of a start that was interrupted before anybody had it


class Starting:
    """A process of its own session that says on a pipe when it is ready."""

    def __init__(
        self, command: Sequence[str], output: int | IO[bytes], *, waits: bool = False
    ) -> None:
        """It prints to ``output``; one that ``waits`` is told the rest of its arguments."""
        reader, ready = os.pipe()
        self._reader, self._word = _PipeEnd(reader), None
        environment, theirs = {**os.environ, READY_FD: waiting(ready)}, [ready]
        try:
            if waits:
                word, writer = os.pipe()
                self._word = _PipeEnd(writer)
                theirs.append(word)
                environment[WORD_FD] = waiting(word)
            keep_from_children(self)
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=theirs,
                env=environment,
            )
        except BaseException:
            self.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)

    @property
    def own_fds(self) -> list[int]:
        """What no child is to keep open: that it is closed tells the process that it is not
        waited for."""
        return [end.fd for end in (self._reader, self._word) if end is not None and end.is_open]

    def tell(self, word: bytes, wait_s: float) -> None:
        """Give one that waits its word; OSError when it does not take it in time."""
        end = self._word
        if end is None or not (end.is_open and self._reader.is_open):
            raise OSError("nobody waits for a word")
        os.set_blocking(end.fd, False)
        while word:
            _, takes_more, _ = select.select([], [end.fd], [], wait_s)
            if not takes_more:
                raise TimeoutError
            word = word[os.write(end.fd, word) :]
        end.close()

    def said(self, wait_s: float) -> bytes | None:
        """What it says within this time, b"" when it has ended; None when it says nothing."""
        fd = self._reader.fd
        has_news, _, _ = select.select([fd], [], [], wait_s)
        return os.read(fd, select.PIPE_BUF) if has_news else None

    def close(self) -> None:
        """Wait for nothing that it says, and tell it nothing."""
        for end in (self._reader, self._word):
            if end is not None:
                end.close()

    def kill(self) -> None:
        """End it, before it was told anything."""
        self.close()
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ask it to end, and insist."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=ENDING_S)
            return
        self.process.kill()
        self.process.wait()
