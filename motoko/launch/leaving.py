"""What the launcher leaves in a run directory when an attempt is over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from motoko.crashpoints import reached
from motoko.job import layout, outcome
from motoko.job.facts import is_directory_of
from motoko.model import states


class Leaving:
    """Outcome and sentinel of one attempt, as long as they are to be written."""

    def __init__(self, run_dir: str, number: int, nonce: str) -> None:
        self._run_dir = run_dir
        self._number = number
        self._nonce = nonce
        #: Why they could not be written; None when nothing is missing.
        self.unwritten: OSError | None = None
        self._outcome: outcome.Outcome | None = None
        self._sentinel: str | None = None
        self._facts: Mapping[str, Any] = {}

    def add_outcome(self, left: outcome.Outcome, names: Collection[str]) -> None:
        """The outcome that the script's shell could not write, for whoever asks later; the
        names are those in the directory."""
        is_there = layout.outcome_file("", self._number) in names
        if not is_there or outcome.is_untold(self._run_dir, self._number):
            self._outcome = left

    def add_sentinel(self, state: str, facts: Mapping[str, Any]) -> None:
        """That of FINISHED or FAILED; for a failure with what is in no other file."""
        if state in (states.FINISHED, states.FAILED):
            self._sentinel = state
            self._facts = {"nonce": self._nonce, **facts} if state == states.FAILED else {}

    def drop(self) -> None:
        """Write nothing."""
        self._outcome = self._sentinel = None

    def write(self) -> None:
        """Write what is missing; `unwritten` says why it is.

        A directory that belongs to another attempt by now, or is gone, lacks neither.
        """
        try:
            if self.unwritten is not None and not is_directory_of(self._run_dir, self._nonce):
                self.drop()
            if self._outcome is not None:
                left = self._outcome
                outcome.write_outcome(self._run_dir, self._number, self._nonce, left)
                reached("outcome.written")
                self._outcome = None
            if self._sentinel is not None:
                outcome.write_sentinel(self._run_dir, self._sentinel, dict(self._facts) or None)
                reached("sentinel.written")
                self._sentinel = None
        except OSError as error:
            self.unwritten = error
        else:
            self.unwritten = None
