"""The process that started this one in the background, and waits to hear that it works.

It may have started this one early, to tell it the rest of its arguments once it is to work.
"""

from __future__ import annotations

import json
import os
import select
import signal
import stat
from contextlib import suppress

READY = b"ready\n"
#: Environment variable with the descriptor of the pipe to say so on, and the pipe's inode: in
#: another process that number may stand for anything.
READY_FD = "MOTOKO_READY_FD"
#: The same of the pipe on which the rest of the arguments comes.
WORD_FD = "MOTOKO_WORD_FD"
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
    fd = _pipe_named(READY_FD)
    if fd is not None:
        _pipe.append(fd)
    return bool(_pipe)


def word_pipe() -> int | None:
    """The pipe on which the rest of this process's arguments comes, if it was started early;
    asked first thing, as `is_awaited` is."""
    return _pipe_named(WORD_FD)


def read_word(pipe: int) -> list[str]:
    """Wait for the rest of the arguments; what is printed goes to the log from then on.

    SystemExit when they do not come: this process is not needed.
    """
    with open(pipe, "rb") as opened:
        said = opened.read()
    try:
        word = json.loads(said)
    except ValueError:  # nothing, or half of it from who died while saying it
        raise SystemExit(0) from None
    try:
        log = os.open(word["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        say_why(str(error))
        raise SystemExit(1) from None
    for output in (1, 2):
        os.dup2(log, output)
    os.close(log)
    return list(word["arguments"])


def _pipe_named(name: str) -> int | None:
    """The pipe that a variable means, which is removed; None if it is not of this process."""
    said = os.environ.pop(name, None)
    if said is not None:
        with suppress(ValueError, OSError):
            fd, inode = map(int, said.split(":"))
            found = os.fstat(fd)
            if stat.S_ISFIFO(found.st_mode) and found.st_ino == inode:
                os.set_inheritable(fd, False)
                return fd
    return None


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
