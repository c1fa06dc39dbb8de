"""Background processes that are started before all that they are to be told is known.

A command and the processes that it starts import half a second's worth of modules each. Who
knows early what it will start has it started early: it imports what it needs beside the
command that does the same, and waits for the word, which `start` gives. It does nothing before,
and ends without it: when it is not needed, or when who has started it is gone.

A process has more of its starter than its arguments: the environment, limits, the directory.
Where one of these has changed by then, which the user's own modules may do, it is not used.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from motoko.daemon.forks import keep_from_children
from motoko.starter import READY_FD, WORD_FD, waiting

#: What the system tells of this process that those it starts have from it.
_LIMITS, _STATUS = Path("/proc/self/limits"), Path("/proc/self/status")
_MASKS = ("Umask", "SigIgn", "Cpus_allowed")


class Starting:
    """A process that says on a pipe when it is ready."""

    def __init__(self, process: subprocess.Popen[bytes], reader: int) -> None:
        self.process = process
        #: What it says can be read here; to be closed by whoever has this.
        self.reader = reader


class _Early:
    """One that waits for its word."""

    def __init__(self, command: Sequence[str], inherited: object) -> None:
        self.command = list(command)
        self._inherited = inherited
        reader, ready = os.pipe()
        word, self._word = os.pipe()
        keep_from_children(self)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(ready, word),
                env={**os.environ, READY_FD: waiting(ready), WORD_FD: waiting(word)},
            )
        except BaseException:
            os.close(reader)
            os.close(self._word)
            raise
        finally:
            os.close(ready)
            os.close(word)
        self._starting = Starting(process, reader)

    @property
    def locked(self) -> list[int]:
        """What no child is to keep open: its end is what tells the process to end."""
        return [self._word] if self._word >= 0 else []

    def tell(self, rest: Sequence[str], log_file: Path) -> Starting | None:
        """Have it do what these further arguments say, and print to the log; None if it cannot
        be used, and is gone."""
        if self._inherited == _inherited():
            word = json.dumps({"arguments": rest, "log": str(log_file)}).encode()
            with suppress(OSError):
                while word:
                    word = word[os.write(self._word, word) :]
                self._close()
                return self._starting
        self.dismiss()
        return None

    def dismiss(self) -> None:
        """End it: it is not needed."""
        self._close()
        os.close(self._starting.reader)
        self._starting.process.terminate()
        self._starting.process.wait()

    def _close(self) -> None:
        word, self._word = self._word, -1
        os.close(word)


_waiting: list[_Early] = []


@contextmanager
def started_early(commands: Sequence[Sequence[str]]) -> Iterator[None]:
    """Inside the block processes wait that were started with these beginnings of commands.

    ``motoko.cli.main`` knows what they import. Those that nobody has used by then end with it.
    """
    inherited = _inherited()
    try:
        if inherited is not None:
            _waiting.extend(_Early(command, inherited) for command in commands)
        yield
    finally:
        dismiss_early()


def told_early(command: Sequence[str], log_file: Path) -> Starting | None:
    """One that was started early with the beginning of this command, and is told the rest."""
    for one in list(_waiting):
        n_known = len(one.command)
        if one.command == list(command[:n_known]):
            _waiting.remove(one)
            return one.tell(command[n_known:], log_file)
    return None


def dismiss_early() -> None:
    """End those that wait: what was to be started was, or will not be."""
    while _waiting:
        _waiting.pop().dismiss()


def _inherited() -> object:
    """What a process has from this one but its arguments and descriptors; None where that
    cannot be known."""
    try:
        status = _STATUS.read_text().splitlines()
        masks = [line for line in status if line.startswith(_MASKS)]
        return dict(os.environ), Path.cwd(), os.nice(0), masks, _LIMITS.read_text()
    except OSError:
        return None
