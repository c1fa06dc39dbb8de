"""Which databases do not answer at the moment."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from motoko.store.database import Database

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


class Away:
    """The databases of a workflow that are away; it is said when they change."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._known: set[Database[Any]] = set()

    def look(self) -> set[Database[Any]]:
        """Those that are away now."""
        away = {database for database in self._workflow.databases if database.is_away}
        if gone := away - self._known:
            log.warning("the database server does not answer for %s: waiting", _names(gone))
        if back := self._known - away:
            log.warning("the database server answers again for %s", _names(back))
        self._known = away
        return away


def _names(databases: set[Database[Any]]) -> str:
    return ", ".join(sorted(database.where for database in databases))
