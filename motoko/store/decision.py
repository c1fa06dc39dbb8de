"""Commits over several databases: decided in the workflow's, then applied to each study.

A commit that changes a study and something else writes the operations for the studies into
the workflow's database, in the same transaction as its changes there. That storage is
finished before the others: from then on the commit is decided. Each study takes over its part
together with the mark of the commit. What a crash in between has kept from a study,
`recover` gives to it; the mark says that it has it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import transaction
from ZODB.POSException import ConflictError

from motoko.crashpoints import reached
from motoko.errors import ConflictsExhausted, RunNotFound, StudyError
from motoko.model import states
from motoko.store.codec import decode_run, is_same
from motoko.store.database import MOST_ATTEMPTS, Database, back_off, undo
from motoko.store.ledger import Ledger
from motoko.store.operations import Operation, UpdateRun, from_plain
from motoko.store.ranges import numbers, ranges, spans
from motoko.store.tables import Tables

log = logging.getLogger(__name__)

#: So many commits that are through are kept in mind for being forgotten: more are looked up.
_MOST_SETTLED = 20
#: States that launchers give to runs.
_OF_LAUNCHERS = frozenset({states.SUBMITTED, states.RUNNING, states.FINISHED, states.FAILED})


@dataclass(frozen=True)
class Part:
    """What a commit does to one study."""

    database: Database[Tables]
    view: Tables
    #: With what each of them gave.
    operations: Sequence[tuple[Operation, Any]]
    #: How the runs that it changes were stored when the session first looked at them.
    before: Mapping[int, bytes]

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.database.where

    def to_plain(self) -> dict[str, Any]:
        """The part as plain values."""
        return {
            "operations": [operation.to_plain() for operation, _ in self.operations],
            "ids": [spans(given or ()) for _, given in self.operations],
            "made": ranges(self.view.created),
            "before": [[run_id, decode_run(raw)] for run_id, raw in self.before.items()],
            "decided": time.time(),
        }


class Decision:
    """One commit over several databases, in the transaction that makes it.

    Whoever has it holds ``ledger.deciding``.
    """

    def __init__(
        self, ledger: Database[Ledger], view: Ledger, mark: str, parts: Sequence[Part]
    ) -> None:
        self._ledger = ledger
        self._view = view
        #: Several workflows may share a study: their marks differ by where they were decided.
        self._mark = mark_in(view, mark)
        self._parts = parts
        self._forgotten: list[tuple[Database[Any], set[str]]] = []

    def write_down(self) -> None:
        """Write the operations for the studies into the workflow's database."""
        if self._parts:
            parts = {part.study: part.to_plain() for part in self._parts}
            self._view.set_commit(self._mark, parts)

    def mark_applied(self) -> None:
        """Mark the parts as applied, and forget older commits that are through."""
        _leave_to_others(self._ledger)
        for part in self._parts:
            _leave_to_others(part.database)
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


def _leave_to_others(database: Database[Any]) -> None:
    """Keep nothing of commits that other processes have completed and forgotten meanwhile."""
    if len(database.settled) > _MOST_SETTLED:
        with database.read() as newest:
            database.settled.intersection_update(newest.marks())


def recover(ledger: Database[Ledger], studies: Mapping[str, Database[Tables]]) -> int:
    """Apply what was decided and kept from a study by a crash; how many commits that were.

    May be called at any time, also while others commit.
    """
    with ledger.read() as view:
        commits = view.commits()
    n_recovered = 0
    for mark, parts in commits.items():
        missing = sorted(parts.keys() - studies.keys())
        if missing:
            log.warning("a commit waits for %s, not in this workflow", ", ".join(missing))
            continue
        n_recovered += _complete(ledger, studies, mark)
    for database in studies.values():
        _sweep(ledger, database)
    return n_recovered


def complete(
    ledger: Database[Ledger], studies: Mapping[str, Database[Tables]], mark: str
) -> None:
    """Make sure that every study has its part of a session's decided commit."""
    with ledger.read() as view:
        known = mark_in(view, mark)
    _complete(ledger, studies, known)


def _complete(
    ledger: Database[Ledger], studies: Mapping[str, Database[Tables]], mark: str
) -> bool:
    """Whether anything was left to do."""
    for attempt in range(MOST_ATTEMPTS):
        try:
            has_applied = _apply_missing(ledger, studies, mark)
        except ConflictError:
            back_off(attempt)
            continue
        break
    else:
        raise ConflictsExhausted("the recovery of a commit", MOST_ATTEMPTS)
    reached("recovery.applied")
    parts = ledger.write(lambda view: view.take_commit(mark)) or {}
    reached("recovery.forgotten")
    for study in parts:
        studies[study].write(lambda tables: tables.forget_applied({mark}))
    return has_applied


def _apply_missing(
    ledger: Database[Ledger], studies: Mapping[str, Database[Tables]], mark: str
) -> bool:
    """Apply the parts of a commit that their studies lack, in one transaction; if any did.

    The decision is rewritten in it, so that it conflicts with whoever forgets or completes
    the same commit: its marks in the studies are there as long as the decision is.
    """
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connections = []
    try:
        with ledger.translated():
            connections.append(ledger.open(manager))
            view = ledger.view(connections[0])
            parts = view.commit(mark)
            if parts is None:
                return False
            touched = []
            for study, part in parts.items():
                connections.append(studies[study].open(manager))
                tables = studies[study].view(connections[-1])
                if not tables.has_applied(mark):
                    _apply(tables, mark, part)
                    touched.append((studies[study], tables))
            if touched:
                view.set_commit(mark, _rewritten(parts))
                manager.commit()
        for database, tables in touched:
            database.tell(tables)
        return bool(touched)
    finally:
        undo(manager)
        for connection in connections:
            connection.close()


def _apply(tables: Tables, mark: str, part: Mapping[str, Any]) -> None:
    log.warning("%s: takes over what was kept from it", tables.study)
    for problem in _Reapplication(tables, part).apply():
        log.error("%s: left out of a commit: %s", tables.study, problem)
    tables.set_applied(mark)


class _Reapplication:
    """The part of a decided commit in a study where others have gone on since.

    What they have changed stays. Tasks may get other ids than when it was decided; changes of
    them follow. With ``is_rebuilt`` nobody knows whether the study had its part before it was
    rebuilt: what has begun an attempt since the decision is taken to have had it.
    """

    def __init__(
        self, tables: Tables, part: Mapping[str, Any], *, is_rebuilt: bool = False
    ) -> None:
        self._tables = tables
        self._is_rebuilt = is_rebuilt
        self._part = part
        self._made = set(numbers(part["made"]))
        #: The ids of today by those of the decision.
        self._ids: dict[int, int] = {}
        self._before: dict[int, Mapping[str, Any]] = dict(part["before"])
        #: What others have changed of each run, seen before the first operation.
        self._foreign = {
            run_id: _changed_since(tables, run_id, row)
            for run_id, row in self._before.items()
            if run_id not in self._made
        }

    def apply(self) -> Iterator[StudyError]:
        """Apply it; what could not be, because what it is about was removed since."""
        for plain, ids in zip(self._part["operations"], self._part["ids"], strict=True):
            operation = from_plain(plain)
            try:
                if isinstance(operation, UpdateRun):
                    self._update(operation)
                else:
                    given = operation.apply(self._tables) or ()
                    self._ids.update(zip(numbers(ids), given, strict=True))
            except StudyError as error:
                yield error

    def _update(self, operation: UpdateRun) -> None:
        if operation.run_id in self._made and operation.run_id not in self._ids:
            raise RunNotFound(self._tables.study, operation.run_id)  # not made this time
        run_id = self._ids.get(operation.run_id, operation.run_id)
        kept = self._foreign.get(operation.run_id, set())
        if self._is_rebuilt and self._has_begun(run_id):
            return
        if operation.run_id not in self._made:
            was, now = self._before[operation.run_id], self._tables.run(run_id)
            if was["job_id"] != now["job_id"]:
                raise RunNotFound(self._tables.study, run_id)
        changes = {n: value for n, value in operation.changes.items() if n not in kept}
        self._tables.update_run(run_id, changes, is_decided=True)

    def _has_begun(self, run_id: int) -> bool:
        """Whether the run has begun an attempt since the decision."""
        row = self._tables.run(run_id) if self._tables.has_run(run_id) else {}
        begun = row.get("start_time")
        return begun is not None and begun > self._part["decided"]


def _changed_since(tables: Tables, run_id: int, was: Mapping[str, Any]) -> set[str]:
    if not tables.has_run(run_id):
        return set()
    now = decode_run(tables.raw_run(run_id))  # as `was`: without what was declared later
    changed = {name for name in {*was, *now} if not is_same(was.get(name), now.get(name))}
    if now["state"] in _OF_LAUNCHERS:
        changed -= {"state"}  # a late record never overwrites a state that an action has set
    return changed


@dataclass
class Taken:
    """What `take_over` has done."""

    n_commits: int = 0
    #: What could not be applied any more, a sentence each.
    problems: list[str] = field(default_factory=list)


def take_over(tables: Tables, parts: Mapping[str, Mapping[str, Any]]) -> Taken:
    """Apply what was decided for a study that was rebuilt, by mark, as far as possible."""
    taken = Taken()
    for mark, part in sorted(parts.items(), key=lambda item: float(item[1]["decided"])):
        if tables.has_applied(mark):
            continue
        for error in _Reapplication(tables, part, is_rebuilt=True).apply():
            taken.problems.append(f"a commit could not be completed: {error}")
        tables.set_applied(mark)
        taken.n_commits += 1
    return taken


def mark_in(view: Ledger, mark: str) -> str:
    """The mark of a session's commit, as the databases know it."""
    return f"{view.fact('generation')}-{mark}"


def _rewritten(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {study: {**p, "n_times": p.get("n_times", 0) + 1} for study, p in parts.items()}


def _sweep(ledger: Database[Ledger], database: Database[Tables]) -> None:
    """Forget the marks of commits that a crash has kept from being forgotten."""
    with database.read() as tables:
        marks = set(tables.marks())
    if not marks:
        return
    ledger.await_news()  # of all decisions that are older than their marks
    with ledger.read() as view:
        own = mark_in(view, "")
        marks = {mark for mark in marks if mark.startswith(own)} - view.commits().keys()
    if marks:
        database.write(lambda tables: tables.forget_applied(marks))
