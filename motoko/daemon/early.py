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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from motoko.daemon.starting import Starting

#: What the system tells of this thread that processes it starts have from it, by lines of the
#: second one; old systems do not tell the last few.
_LIMITS, _STATUS = Path("/proc/thread-self/limits"), Path("/proc/thread-self/status")
_NEEDED = (
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "SigBlk",
    "SigIgn",
    "Cpus_allowed",
    "Mems_allowed",
)
_TOLD = (*_NEEDED, "Cap", "NoNewPrivs", "Seccomp")


class Early:
    """Those that wait; a context manager, at the end of which none does."""

    def __init__(self, *commands: Sequence[str]) -> None:
        """Starts one for each of these beginnings of commands, where it can be told later
        whether they may be used; ``motoko.cli`` knows what they import."""
        self._surroundings = _surroundings() if commands else None
        self._waiting: list[tuple[list[str], Starting]] = []
        with suppress(OSError):  # whoever needs them says why they cannot be started
            for command in commands if self._surroundings is not None else ():
                one = Starting(command, subprocess.DEVNULL, waits=True)
                self._waiting.append((list(command), one))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()

    def told(self, command: Sequence[str], log_file: Path, wait_s: float) -> Starting | None:
        """One that was started with the beginning of this command, is told the rest, and
        prints to the log from then on; None if there is none that may be used.

        It is ended with the others until it `settles`.
        """
        for beginning, one in self._waiting:
            n_known = len(beginning)
            if beginning == list(command[:n_known]) and _surroundings() == self._surroundings:
                word = {"arguments": command[n_known:], "log": str(log_file)}
                try:
                    one.tell(json.dumps(word).encode(), wait_s)
                except OSError:  # it has died, or is stopped
                    one.kill()
                    self.settles(one)
                else:
                    return one
        return None

    def settles(self, one: Starting) -> None:
        """It has begun its work, or was ended."""
        self._waiting = [(known, other) for known, other in self._waiting if other is not one]

    def dismiss(self) -> None:
        """End those that wait: what was to be started was, or will not be."""
        while self._waiting:
            self._waiting[-1][1].kill()
            self._waiting.pop()


def _surroundings() -> object:
    """What can be seen of that which a process has from the one that starts it, besides its
    arguments and descriptors; None where that cannot be seen."""
    try:
        status = _STATUS.read_text().splitlines()
        told = [line for line in status if line.startswith(_TOLD)]
        if not all(any(line.startswith(name) for line in told) for name in _NEEDED):
            return None
        return dict(os.environ), Path.cwd(), os.nice(0), told, _LIMITS.read_text()
    except OSError:
        return None
