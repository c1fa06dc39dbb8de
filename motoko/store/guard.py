"""The last step of a commit: what the work rests on is as it was when it was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motoko.store.share import Share


class Guard:
    """Looks again once all databases of a commit are ready for it, hence locked.

    ZODB notices two commits that write the same, but merges those that write different rows of
    a leaf, and does not look at what was only read. A data manager of `transaction`: it votes
    after all others.
    """

    def __init__(self, shares: Sequence[Share]) -> None:
        self._shares = shares

    def sortKey(self) -> str:
        """Behind those of storages, which begin with a digit."""
        return "~"

    def tpc_vote(self, transaction: Any) -> None:
        """Refuse the commit if anything has changed."""
        for share in self._shares:
            share.check_ready()

    def tpc_begin(self, transaction: Any) -> None:
        """Nothing to do, as in all that follow."""

    def commit(self, transaction: Any) -> None:
        """Nothing to do."""

    def tpc_finish(self, transaction: Any) -> None:
        """Nothing to do."""

    def tpc_abort(self, transaction: Any) -> None:
        """Nothing to do."""

    def abort(self, transaction: Any) -> None:
        """Nothing to do."""
