"""Claims: whose changes a database takes, as each commit that makes some finds out.

Whoever holds an office has a lock, and may lose the office while it stands still. So it also
claims the databases that it changes. Each of its commits looks whether the claim is still its
own, and conflicts with whoever claims at that moment: when it wakes up nothing of it is taken.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from motoko.errors import AlreadyRunning
from motoko.store.layout import rest_on

if TYPE_CHECKING:
    from motoko.store.database import View

#: The last one may have come to its end meanwhile, and has left nothing of itself then.
_NOBODY = "another one, since this one stood still"


class Claim:
    """That of the holder of an office; the same one for all databases that it changes."""

    def __init__(self, fact: str, what: str, epoch: str, holder: str) -> None:
        """``fact`` is where a database keeps it, ``what`` and ``holder`` are for messages."""
        self.epoch = epoch
        #: Whether somebody else was found to have claimed a database since.
        self.is_lost = False
        self._fact = fact
        self._what = what
        self._holder = holder

    def take(self, view: View) -> None:
        """Claim a database; AlreadyRunning if a later holder of the office has."""
        owner = view.fact(self._fact)
        if owner is not None and is_later(owner["epoch"], self.epoch):
            raise self._refusal(owner)
        view.set_fact(self._fact, {"epoch": self.epoch, "holder": self._holder})

    def check(self, view: View) -> None:
        """AlreadyRunning if the database that is to be changed is somebody else's by now."""
        owner = standing_fact(view, self._fact)
        if owner is None or owner["epoch"] != self.epoch:
            raise self._refusal(owner)

    def give_up(self, view: View) -> None:
        """Leave a database to whoever comes next."""
        owner = view.fact(self._fact)
        if owner is not None and owner["epoch"] == self.epoch:
            view.set_fact(self._fact, None)

    def _refusal(self, owner: Any) -> AlreadyRunning:
        self.is_lost = True
        return AlreadyRunning(self._what, _NOBODY if owner is None else str(owner["holder"]))


def epoch_of(office: str, number: int) -> str:
    """What a holder of an office is known by; ``number`` counts those of that office."""
    return f"{office}:{number}-{secrets.token_hex(6)}"


def is_later(epoch: str, own: str) -> bool:
    """Whether an epoch is that of a later holder of the same office.

    One may be stopped for long between taking its office and its first commit.
    """
    (office, number), (own_office, own_number) = _parsed(epoch), _parsed(own)
    return office == own_office != "" and number > own_number


def _parsed(epoch: str) -> tuple[str, int]:
    office, _, rest = epoch.rpartition(":")
    number = rest.partition("-")[0]
    return office, int(number) if number.isdecimal() else 0


def standing_fact(view: View, name: str) -> Any:
    """A fact that what is committed next rests on: it conflicts with whoever sets any."""
    rest_on(view.trees["meta"])
    return view.fact(name)
