"""The socket at which job scripts say that they have written something.

A knock is a hint and no more: what is true stands in files. Any program of the user may send
anything there, so what is not understood is left out, and the log says so once in a while.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.store.address import Address

log = logging.getLogger(__name__)

_LONGEST = 4096
_NAME = re.compile(r"[A-Za-z0-9+=._-]{1,255}")
_AT_ONCE = 200
_LONGEST_SHOWN = 60
#: How often the log speaks of knocks that are not understood.
_QUIET_S = 60.0


class Knock(NamedTuple):
    """Which attempt has something new to read."""

    run_id: int
    nonce: str
    #: The name of the journal, if that was told.
    journal: str | None = None


def understood(message: bytes) -> Knock | None:
    """What a message says; None when that is nothing."""
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    run_id, nonce = said.get("run"), said.get("nonce")
    if type(run_id) is not int or not isinstance(nonce, str):
        return None
    journal = said.get("journal")
    is_name = isinstance(journal, str) and _NAME.fullmatch(journal)
    return Knock(run_id, nonce, journal if is_name else None)


@contextmanager
def heard_knocks(
    address: Address, desks: Sequence[Desk], fold: Callable[[Desk, Attempt, str | None], None]
) -> Iterator[None]:
    """Listen on a socket, and take in what the scripts have written that knock there."""
    if address.path is None:
        yield
        return
    loop = asyncio.get_running_loop()
    address.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    address.path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.setblocking(False)
        door.bind(str(address.path))
        address.path.chmod(0o600)
        porter = _Porter(door)

        def heard() -> None:
            for knock in porter.knocks():
                for desk in desks:
                    attempt = desk.held.get(knock.run_id)
                    if attempt is None:
                        desk.look_for_late(knock.run_id)
                    elif attempt.nonce == knock.nonce:
                        fold(desk, attempt, knock.journal)

        loop.add_reader(door, heard)
        try:
            yield
        finally:
            loop.remove_reader(door)
            address.path.unlink(missing_ok=True)


class _Porter:
    """Takes in what was sent to a socket."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._is_quiet_until = 0.0

    def knocks(self) -> set[Knock]:
        """Those that wait now, each once."""
        found = set()
        for _ in range(_AT_ONCE):
            try:
                message = self._door.recv(_LONGEST)
            except OSError:  # as a rule: there is none
                break
            knock = understood(message)
            if knock is None:
                self._complain(message)
            else:
                found.add(knock)
        return found

    def _complain(self, message: bytes) -> None:
        now = time.monotonic()
        if now >= self._is_quiet_until:
            self._is_quiet_until = now + _QUIET_S
            shown = message[:_LONGEST_SHOWN]
            log.warning("a knock that is not understood is ignored: %r", shown)
