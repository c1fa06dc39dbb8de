"""Taking in what attempts write and how they end, and recording it, wherever they execute."""

from __future__ import annotations

import asyncio
import errno
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.launch.failure import MemoryKills
from motoko.launch.trouble import Troubles

#: How long to wait when files cannot be read.
_PAUSE_S = 1.0


class Folding(ABC):
    """What those who follow attempts have in common."""

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles
        self._memory = MemoryKills()
        #: Called with an attempt whose script has ended and left its work to somebody else.
        self.on_handed: Callable[[Desk, Attempt], object] = lambda desk, attempt: None
        # Attempts whose outcome or sentinel could not be written, by nonce.
        self._unwritten: dict[str, tuple[Desk, Attempt]] = {}

    def poll(self, desk: Desk) -> None:
        """Look at what would not speak up by itself."""
        for attempt in list(desk.held.values()):
            if attempt.pid is not None:
                self.fold(desk, attempt)
        for of, attempt in list(self._unwritten.values()):
            if of is desk:
                attempt.write_files()
                self._see_to_files(desk, attempt)

    def fold(self, desk: Desk, attempt: Attempt, journal: str | None = None) -> None:
        """Take in what a script has written, perhaps in a journal whose name was told; a new
        state is recorded at once."""
        has_new_state = False
        try:
            has_new_state = attempt.fold(journal)
        except OSError as error:
            self._troubles.met(attempt.looking, error)
        else:
            self._troubles.over(attempt.looking)
            self._see_to_files(desk, attempt)
        desk.note(attempt, is_urgent=has_new_state)

    def _see_to_files(self, desk: Desk, attempt: Attempt) -> None:
        """Come back to an attempt whose directory does not take what is to be written there."""
        if attempt.unwritten is not None:
            self._unwritten[attempt.nonce] = (desk, attempt)
            self._troubles.met(desk.writing, attempt.unwritten)
            return
        self._unwritten.pop(attempt.nonce, None)
        if not any(of is desk for of, _ in self._unwritten.values()):
            self._troubles.over(desk.writing)

    def end(self, desk: Desk, attempt: Attempt, code: int | None, now: float) -> None:
        """Record an end; once its files can be read, if they cannot be now."""
        self._ended(desk, attempt)
        try:
            _check_place(desk, attempt)
            attempt.end(code, now, out_of_memory=self._memory.has_new)
        except OSError as error:
            self._troubles.met(attempt.looking, error)
            loop = asyncio.get_running_loop()
            loop.call_later(_PAUSE_S, self.end, desk, attempt, code, now)
        else:
            self._troubles.over(attempt.looking)
            self._see_to_files(desk, attempt)
            if attempt.has_process_ended and not attempt.is_over:
                self.on_handed(desk, attempt)
        desk.note(attempt)

    @abstractmethod
    def adopt(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """Find out what became of an attempt that another launcher began; its run is in this
        state now."""

    @abstractmethod
    def withdraw(self, desk: Desk, attempt: Attempt, state: str) -> None:
        """End an attempt whose run somebody has put into this state."""

    @abstractmethod
    def _ended(self, desk: Desk, attempt: Attempt) -> None:
        """Take note that it executes no longer."""


def _check_place(desk: Desk, attempt: Attempt) -> None:
    """FileNotFoundError if all of the study is gone from its place with this run: who renames a
    workflow takes along what the script has left, for the next launcher."""
    study_dir = desk.study.directory
    if not Path(attempt.run_dir).exists() and not study_dir.exists():
        raise FileNotFoundError(errno.ENOENT, "was removed or renamed", str(study_dir))
