"""What is kept of a firing: for which runs an action was called, when, and what it changed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motoko.store.ranges import numbers, ranges

if TYPE_CHECKING:
    from motoko.store.database import Database
    from motoko.store.ledger import Ledger


@dataclass
class Effects:
    """What commits have done: ids of runs by study, names of variables."""

    created: dict[str, set[int]] = field(default_factory=dict)
    updated: dict[str, set[int]] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)

    def renumbered(self, study: str, ids: Mapping[int, int]) -> Effects:
        """The same where tasks of a study were given other ids in the end."""
        created, updated = (
            {**of, study: {ids.get(run_id, run_id) for run_id in of.get(study, ())}}
            for of in (self.created, self.updated)
        )
        return Effects(created, updated, self.variables)

    def __add__(self, more: Effects) -> Effects:
        created = _union(self.created, more.created)
        updated = _union(self.updated, more.updated)
        for study, ids in created.items():
            updated.get(study, set()).difference_update(ids)
        return Effects(created, updated, self.variables | more.variables)


def _union(a: Mapping[str, set[int]], b: Mapping[str, set[int]]) -> dict[str, set[int]]:
    return {study: a.get(study, set()) | b.get(study, set()) for study in {**a, **b}}


def firing_key(moment: float) -> str:
    """What the key of a firing of this moment begins with: keys follow time, so that the log is
    in order and grows at its end."""
    return f"{int(moment * 1e6):016x}"


@dataclass
class Firing:
    """One call of an action, and its record in the workflow's database.

    The record is written with the first commit that changes anything and brought up to date
    with each further one; a firing that changes nothing leaves none. One whose record has no
    end was interrupted.
    """

    ledger: Database[Ledger]
    run_name: str
    event: str
    #: What the action is registered for.
    task: str
    #: The study whose runs it is called for, None when it is called for the workflow as such.
    study: str | None
    run_ids: tuple[int, ...]
    #: Whether no run is ever in a second firing of the event; kept even if nothing changes.
    is_once: bool = False
    #: What it is called with, as far as that tells it from other calls of the event.
    call: str = ""
    key: str = ""
    began: float = 0.0
    #: When its run name began, which its key comes after.
    not_before: float = 0.0
    #: Whether the condition was not true any more, so that the action was not called.
    is_void: bool = False
    #: Whether the record stands in the database.
    is_kept: bool = False
    effects: Effects = field(default_factory=Effects)

    def __post_init__(self) -> None:
        if not self.key:
            self.began = time.time()
            since = max(self.began, self.not_before)  # a clock may have been set back
            self.key = f"{firing_key(since)}-{secrets.token_hex(3)}"

    def add(self, effects: Effects) -> None:
        """Take over what a commit has done, together with the record of it."""
        self.effects += effects
        self.is_kept = True

    def record(self, ended: float | None, more: Effects) -> dict[str, Any]:
        """The record as plain values, with what the present commit does."""
        effects = self.effects + more
        call = {"call": self.call} if self.call else {}
        return {
            "run_name": self.run_name,
            "event": self.event,
            "task": self.task,
            "study": self.study,
            "runs": ranges(self.run_ids),
            "began": self.began,
            "ended": ended,
            "created": {study: ranges(ids) for study, ids in effects.created.items() if ids},
            "updated": {study: ranges(ids) for study, ids in effects.updated.items() if ids},
            "variables": sorted(effects.variables),
            "once": self.is_once,
            **call,
        }


def restored(ledger: Database[Ledger], key: str, record: Mapping[str, Any]) -> Firing:
    """The firing that a record speaks of."""
    return Firing(
        ledger,
        record["run_name"],
        record["event"],
        record["task"],
        record["study"],
        tuple(numbers(record["runs"])),
        is_once=record["once"],
        call=record.get("call", ""),
        key=key,
        began=record["began"],
        is_kept=True,
        effects=Effects(
            {study: set(numbers(found)) for study, found in record["created"].items()},
            {study: set(numbers(found)) for study, found in record["updated"].items()},
            set(record["variables"]),
        ),
    )
