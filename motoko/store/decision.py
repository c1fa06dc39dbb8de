"""Commits over several databases: decided in the workflow's, then applied to each study.

A commit that changes a study and something else writes the operations for the studies into
the workflow's database, in the same transaction as its changes there. That storage is
finished before the others: from then on the commit is decided. Each study takes over its part
together with the mark of the commit. What a crash in between has kept from a study,
`recover` gives to it; the mark says that it has it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from motoko.crashpoints import reached
from motoko.errors import StudyError
from motoko.store.operations import Operation, UpdateRun, from_plain
from motoko.store.tables import Tables

if TYPE_CHECKING:
    from motoko.store.database import Database
    from motoko.store.ledger import Ledger

log = logging.getLogger(__name__)

#: A mark that no decision speaks of may belong to one that this client was not yet told of.
_MARK_AGE_S = 3600.0


def new_mark() -> str:
    """A mark that no other commit has; it begins with the time."""
    return f"{time.time():017.6f}-{secrets.token_hex(6)}"


def _time_of(mark: str) -> float:
    """When the session began whose mark it is."""
    return float(mark.partition("-")[0])


@dataclass(frozen=True)
class Part:
    """What a commit does to one study."""

    database: Database[Tables]
    view: Tables
    operations: Sequence[Operation]

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.database.where


class Decision:
    """One commit over several databases, in the transaction that makes it.

    Whoever has it holds ``ledger.deciding``.
    """

    def __init__(
        self, ledger: Database[Ledger], view: Ledger, mark: str, parts: Sequence[Part]
    ) -> None:
        self._ledger = ledger
        self._view = view
        self._mark = mark
        self._parts = parts
        self._forgotten: list[tuple[Database[Any], set[str]]] = []

    def write_down(self) -> None:
        """Write the operations for the studies into the workflow's database."""
        if self._parts:
            parts = {
                part.study: {
                    "operations": [operation.to_plain() for operation in part.operations],
                    "last_run_id": part.view.last_run_id,
                }
                for part in self._parts
            }
            self._view.add_commit(self._mark, parts)

    def apply(self) -> None:
        """Mark the parts as applied, and forget older commits that are through."""
        forgotten = self._view.forget_commits(self._ledger.settled)
        self._forgotten.append((self._ledger, forgotten))
        for part in self._parts:
            part.view.set_applied(self._mark)
            known = self._ledger.settled - forgotten
            forgotten_there = part.view.forget_applied(part.database.settled - known)
            self._forgotten.append((part.database, forgotten_there))

    def settle(self) -> None:
        """All of it is committed: the next commit may forget it."""
        for database, forgotten in self._forgotten:
            database.settled -= forgotten
        if self._parts:
            self._ledger.settled.add(self._mark)
        for part in self._parts:
            part.database.settled.add(self._mark)


def recover(
    ledger: Database[Ledger], studies: Mapping[str, Database[Tables]], *, now: float
) -> int:
    """Apply what was decided and kept from a study by a crash; how many commits that were.

    May be called at any time, also while others commit.
    """
    with ledger.read() as view:
        commits = view.commits()
    n_recovered = 0
    done = set()
    for mark, parts in commits.items():
        missing = [study for study in parts if study not in studies]
        if missing:
            log.warning("a commit waits for %s, not in this workflow", ", ".join(missing))
        applied = [
            studies[study].write(partial(_apply, mark=mark, part=part))
            for study, part in parts.items()
            if study in studies
        ]
        reached("recovery.applied")
        n_recovered += any(applied)
        if not missing:
            done.add(mark)
    if done:
        ledger.write(lambda view: view.forget_commits(done))
    for database in studies.values():
        _sweep(database, set(commits) - done, done, now)
    return n_recovered


def _apply(tables: Tables, *, mark: str, part: Mapping[str, Any]) -> bool:
    if tables.has_applied(mark):
        return False
    for plain in part["operations"]:
        from_plain(plain).apply(tables)
    tables.set_applied(mark)
    log.warning("%s: took over what a crash had kept from it", tables.study)
    if tables.last_run_id != part["last_run_id"]:
        log.error("%s: runs were made meanwhile, so new ones have other ids", tables.study)
    return True


@dataclass
class Taken:
    """What `take_over` has done."""

    n_commits: int = 0
    #: What could not be applied any more, a sentence each.
    problems: list[str] = field(default_factory=list)


def take_over(tables: Tables, parts: Mapping[str, Mapping[str, Any]]) -> Taken:
    """Apply what was decided for a study that was rebuilt, by mark, as far as that is possible.

    A change of a run that has begun an attempt since then was applied before it did.
    """
    taken = Taken()
    for mark, part in sorted(parts.items()):
        if tables.has_applied(mark):
            continue
        for plain in part["operations"]:
            operation = from_plain(plain)
            if isinstance(operation, UpdateRun) and tables.has_run(operation.run_id):
                begun = tables.run(operation.run_id).get("start_time")
                if begun is not None and begun > _time_of(mark):
                    continue
            try:
                operation.apply(tables)
            except StudyError as error:
                taken.problems.append(f"a commit could not be completed: {error}")
        tables.set_applied(mark)
        taken.n_commits += 1
    return taken


def _sweep(
    database: Database[Tables], open_marks: set[str], done: set[str], now: float
) -> None:
    """Forget the marks of commits that are through."""
    with database.read() as tables:
        marks = set(tables.applied()) - open_marks
    old = {mark for mark in marks if _time_of(mark) < now - _MARK_AGE_S}
    if old or marks & done:
        database.write(lambda tables: tables.forget_applied(old | (marks & done)))
