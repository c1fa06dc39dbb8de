"""From an exception to a message on standard error and an exit code."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from motoko.cli import exit_codes, words
from motoko.errors import ActionFailed, MotokoError, RunsFailed
from motoko.host import in_words
from motoko.starter import say_why


class Stopped(BaseException):
    """A signal asked a command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        #: Whether it was said what still runs.
        self.is_said = False


def report(error: BaseException, *, with_traceback: bool = False) -> int:
    """Say on standard error what went wrong; the exit code."""
    error = _only(error)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return _code_of(error)
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, Stopped):
        is_sigint = error.number == signal.SIGINT
        return exit_codes.INTERRUPTED if is_sigint else exit_codes.TERMINATED
    if isinstance(error, KeyboardInterrupt | click.Abort):
        say("interrupted")
        return exit_codes.INTERRUPTED
    if with_traceback:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if isinstance(error, MotokoError):
        say("\n".join(explanation(error)))
        return exit_codes.of(error)
    if isinstance(error, FileNotFoundError) and error.filename is None and _is_nowhere():
        say("the current directory was removed; go to another one, as with `cd`")
        return exit_codes.SYSTEM
    if isinstance(error, OSError) and (error.filename or error.errno in _ADVICE):
        file = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        said = f"{file}{in_words(error)}{_ADVICE.get(error.errno or 0, '')}"
        say("\n".join([said, *getattr(error, "__notes__", ())]))
        return exit_codes.SYSTEM
    _report_bug(error)
    return exit_codes.BUG


#: What a system may refuse to any program, and what to do.
_ADVICE = {
    errno.ENOSPC: "; free some, then go on with the same command: nothing is lost",
    errno.EDQUOT: "; free some, then go on with the same command: nothing is lost",
    errno.EROFS: "; a workflow needs a place where it can write",
    errno.EACCES: "; see who owns it, and its mode",
    errno.EPERM: "",
    errno.EMFILE: "",
    errno.ENFILE: "",
    errno.EAGAIN: "; see `ulimit -u`",
    errno.ENOMEM: "",
    errno.EIO: "",
}


def _is_nowhere() -> bool:
    """Whether the directory in which this process works is gone."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def be_silent() -> None:
    """Write nowhere from now on: the reader or the terminal is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def replace_closed_streams() -> None:
    """What was closed by whoever started this: standard input is empty then, nobody reads the
    output, as in a pipe whose reader has gone, and messages are dropped.

    No file that is opened later gets one of their numbers.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
            continue
        except OSError:
            pass
        if fd == 1:
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, fd)
            if writer != fd:
                os.close(writer)
            sys.stdout = open(fd, "w", closefd=False)  # noqa: SIM115
        else:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def print_anything() -> None:
    """Show escaped what the encoding of a stream does not have: no name of a file that is no
    text, and no terminal of another alphabet, may keep a command from its work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def readers_may_go() -> Iterator[None]:
    """Inside the block it is no failure when nobody reads any more what is printed."""
    try:
        yield
    except (OSError, ExceptionGroup) as group:
        error = _only(group)
        if not isinstance(error, OSError) or error.errno != errno.EPIPE:
            raise
        for note in getattr(error, "__notes__", ()):
            say(note)
        be_silent()
        raise click.exceptions.Exit(exit_codes.NOBODY_READS) from None


def is_terminal_gone(error: OSError) -> bool:
    """Whether what failed is writing to a terminal that was closed."""
    return error.errno == errno.EIO and error.filename is None


def say(text: str) -> None:
    """One message on standard error, and to a process that waits for this one's work."""
    say_why(text)
    try:
        click.echo(f"motoko: {text}", err=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        be_silent()  # it is the log of a background process, on a full disk


def explanation(error: MotokoError) -> Iterator[str]:
    """The message of an error, and what its reader needs besides."""
    if isinstance(error, RunsFailed):
        n = len(error.failed)
        rest = ""
        if error.n_in_all > n > 0:
            rest = f"; {'this one' if n == 1 else f'these {n}'} ended the workflow:"
        yield f"{words.counted(max(n, error.n_in_all), 'run')} failed{rest}"
        for run in error.failed[:10]:
            yield f"  {run}"
        if n > 10:
            yield f"  and {n - 10} more"
        if n:
            first = error.failed[0]
            yield f"look further with `motoko runs show {first.study}.{first.run_id}`"
    else:
        yield str(error)
    if isinstance(error, ActionFailed):
        place = _place_in_user_code(error.__cause__)
        if place:
            yield f"  {place}"
    yield from getattr(error, "__notes__", ())


def _place_in_user_code(error: BaseException | None) -> str:
    """The innermost line of the traceback that is neither ours nor a library's."""
    if error is None:
        return ""
    not_theirs = (str(Path(__file__).parents[1]), str(Path(os.__file__).parent), "<")
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if "site-packages" not in frame.filename and not frame.filename.startswith(not_theirs):
            found = f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    return found


def _report_bug(error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    name = f"{type(error).__name__}: {error}"
    try:
        handle, file = tempfile.mkstemp(prefix="motoko-bug-", suffix=".log", text=True)
        with open(handle, "w", encoding="utf-8", errors="replace") as log:
            log.write(f"motoko {' '.join(sys.argv[1:])}\n{text}")
    except OSError as problem:
        click.echo(text, err=True, nl=False)
        say(f"this is a bug in Motoko: {name} (its traceback cannot be kept: {problem})")
        return
    say(f"this is a bug in Motoko: {name}\n  The traceback lies in {file}; please send it in.")


def _only(error: BaseException) -> BaseException:
    """The exception inside a group that has one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        notes = getattr(error, "__notes__", ())
        error = error.exceptions[0]
        for note in notes:
            error.add_note(note)
    return error


def _code_of(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or exit_codes.DONE
    say(str(stop.code))
    return exit_codes.FAILED
