"""The server and the launcher that a command has started itself: stopped with it, or left."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from motoko import daemon
from motoko.errors import MotokoError
from motoko.workflow import control

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


class Custody:
    """Knows which of the two came up since it was made.

    Those that an earlier command has left running are adopted, by their process ids.
    """

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._offices = [control.launcher_office(workflow), control.server_office(workflow)]
        owners = {office.file: office.owner() for office in self._offices}
        self._there = {f: o if o is not None and o.is_here else None for f, o in owners.items()}
        #: Whether they are to run on.
        self.is_left = False

    def adopt(self, pids: Collection[int]) -> None:
        """Take processes for one's own that were there before."""
        for file, owner in self._there.items():
            if owner is not None and owner.pid in pids:
                self._there[file] = None

    def pids(self) -> list[int]:
        """The process ids of those that run."""
        owners = [o.owner() for o in self._offices if self._there[o.file] is None]
        return [owner.pid for owner in owners if owner is not None and owner.is_here]

    def leave(self) -> list[int]:
        """Let them run on; their process ids."""
        self.is_left = True
        return self.pids()

    def left_by_others(self) -> list[str]:
        """Those that ran before and go on, in words."""
        found = []
        for office in self._offices:
            owner = office.owner()
            if self._there[office.file] is not None and owner is not None and owner.is_here:
                found.append(f"{office.what} (process {owner.pid})")
        return found

    def needed_by(self) -> list[str]:
        """The run names whose orchestrators they go on for."""
        return list(control.orchestrators(self._workflow)) if self.pids() else []

    def end(self) -> None:
        """Stop them, unless they were left or somebody needs them."""
        if self.is_left or self.needed_by():
            return
        for office in self._offices:
            if self._there[office.file] is None and office.owner() is not None:
                try:
                    daemon.stop(office)
                except MotokoError as error:
                    log.info("%s", error)
