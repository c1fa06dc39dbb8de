"""Attempts that were given up as lost, with nothing after them: they may have ended after all.

Their runs are FAILED, since nobody knows how they ended. An outcome that comes later says it,
as long as no other attempt has begun: a success makes the run FINISHED, a failure is in the
history of attempts from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from motoko.job.outcome import Outcome, read_outcome
from motoko.launch.attempt import Attempt
from motoko.launch.failure import is_lost
from motoko.launch.work import Claim
from motoko.model import states
from motoko.study.study import Study

#: How many are looked for at a time; the others have their turn after that.
_MOST = 100


class GivenUp:
    """Those of one study."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._claims: dict[int, Claim] = {}

    def add(self, claim: Claim) -> None:
        """Look for the outcome of an attempt from now on."""
        self._claims[claim.row["id"]] = claim

    def note(self, attempt: Attempt) -> None:
        """An attempt is over, perhaps because it was given up."""
        facts = attempt.known
        self._claims.pop(attempt.run_id, None)
        if attempt.state == states.FAILED and is_lost(facts):
            row = {**attempt.row, "attempt": attempt.number, "nonce": attempt.nonce}
            self.add(Claim(row, attempt.job, facts))

    def found(self, run_id: int | None = None) -> Iterator[tuple[Claim, Outcome]]:
        """Those that have left an outcome by now, of one run or of some; they are looked for
        no longer, as are those whose directory is gone."""
        known = list(islice(self._claims, _MOST)) if run_id is None else [run_id]
        for one in known:
            claim = self._claims.pop(one, None)
            if claim is None:
                continue
            run_dir = self._study.run_dir(one)
            try:
                left = read_outcome(run_dir, claim.row["attempt"], claim.row["nonce"])
                is_gone = left is None and not run_dir.is_dir()
            except OSError:
                left, is_gone = None, False
            if left is not None:
                yield claim, left
            elif not is_gone:
                self._claims[one] = claim
