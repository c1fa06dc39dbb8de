"""The process that started this one in the background, and waits to hear that it works."""

from __future__ import annotations

import os
import select
import signal
import stat
from contextlib import suppress

READY = b"ready\n"
#: Environment variable with the descriptor of the pipe to say so on, and the pipe's inode: in
#: another process that number may stand for anything.
READY_FD = "MOTOKO_READY_FD"
#: The pipe of this process, as long as somebody waits.
_pipe: list[int] = []


def waiting(fd: int) -> str:
    """What to put into the environment of a process that inherits the pipe."""
    return f"{fd}:{os.fstat(fd).st_ino}"


def is_awaited() -> bool:
    """Whether another process waits to hear from this one.

    Asked first thing in a process, since the variable is not for those that it starts: it is
    there no longer afterwards.
    """
    said = os.environ.pop(READY_FD, None)
    if said is not None:
        with suppress(ValueError, OSError):  # not of this process
            fd, inode = map(int, said.split(":"))
            found = os.fstat(fd)
            if stat.S_ISFIFO(found.st_mode) and found.st_ino == inode:
                os.set_inheritable(fd, False)
                _pipe.append(fd)
    return bool(_pipe)


def say_ready() -> None:
    """Tell the process that started this one that work has begun.

    When that one has gone meanwhile, this one is asked to end: nobody knows of it.
    """
    if not is_awaited():
        return
    fd = _pipe.pop()
    try:
        os.write(fd, READY)
    except BrokenPipeError:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.close(fd)


def say_why(text: str) -> None:
    """Tell the process that started this one, and still waits, why no work begins.

    Its log may be on a disk that is full.
    """
    if is_awaited():
        with suppress(OSError):  # nobody waits any more
            os.write(_pipe[-1], text.encode(errors="replace")[-select.PIPE_BUF :])
