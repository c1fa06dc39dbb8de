"""Runs that are told that their walltime is nearly over, and what they save then."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple

from motoko.config.checkpoint import CheckpointSignal
from motoko.errors import SubmissionFailed
from motoko.job import layout
from motoko.job.shell import Forewarning

NO_PROGRESS: Final = "it made no progress: no file of carry_over was written, no later step"


class Ending(NamedTuple):
    """How an attempt ended that ran out of time; ``words`` go behind its cause."""

    has_progress: bool
    words: str


class Notice(NamedTuple):
    """What one attempt is told before its walltime is over."""

    signal: CheckpointSignal
    walltime_s: float
    run_dir: str
    attempt: int
    #: What the next attempt finds of this one: patterns of names.
    carry_over: Sequence[str]

    def warning(self) -> Forewarning:
        """What its shell is told; SubmissionFailed if there is no time for it."""
        after_s = self.signal.after_s(self.walltime_s)
        if after_s is None:
            why = f"its walltime of {self.walltime_s:g} s has no time before {self.signal!r}"
            raise SubmissionFailed(f"attempt {self.attempt}", why, transient=False)
        number = signal.Signals[f"SIG{self.signal.name}"]
        return Forewarning(number, after_s, self.signal.is_for_script)

    @property
    def was_given(self) -> bool:
        """Whether it was told."""
        return Path(layout.warning_file(self.run_dir, self.attempt)).exists()

    def ending(
        self, last_step: tuple[int, float] | None, before: Mapping[str, Any] | None
    ) -> Ending:
        """What is to be said of an attempt that ended for want of time."""
        words = f", after {self._told}" if self.was_given else ""
        try:
            has_progress = self._has_progressed(last_step, before)
        except OSError:  # nobody knows, and the budget has an end
            return Ending(True, words)
        return Ending(has_progress, words if has_progress else f"{words}; {NO_PROGRESS}")

    @property
    def _told(self) -> str:
        return f"{self.signal.name} had said that its walltime is nearly over"

    def _has_progressed(
        self, last_step: tuple[int, float] | None, before: Mapping[str, Any] | None
    ) -> bool:
        """Whether the next attempt goes on behind where this one began.

        It has saved something, or has come to a step that the attempt before it had not. Times
        of files are compared with that of the token, which the same file system has given.
        """
        if last_step is not None:
            steps = [step for step, _ in ((before or {}).get("quantities") or {}).values()]
            if last_step[0] > max(steps, default=-1):
                return True
        begun = Path(layout.token_file(self.run_dir, self.attempt)).stat().st_mtime_ns
        return any(
            file.stat().st_mtime_ns > begun
            for name in os.listdir(self.run_dir)
            if any(fnmatchcase(name, pattern) for pattern in self.carry_over)
            for file in _files(Path(self.run_dir, name))
        )


def _files(place: Path) -> list[Path]:
    return [one for one in place.rglob("*") if one.is_file()] if place.is_dir() else [place]
