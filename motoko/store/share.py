"""A session's share in one database: what it saw, did, and whether that still holds."""

from __future__ import annotations

from typing import Any

from motoko.columns import TELEMETRY
from motoko.errors import SessionConflict
from motoko.model import states
from motoko.model.schema import Schema
from motoko.store.codec import decode_run, is_same
from motoko.store.database import Database
from motoko.store.decision import Part
from motoko.store.operations import CreateTasks, Operation, UpdateRun

#: Stands for all entries of a run, where what follows rests on the run as it is.
EVERYTHING = "*"

_UNDER_WAY = frozenset({states.CREATED, *states.ACTIVE})


class IdsTaken(SessionConflict):
    """Others have made tasks, which have the ids that this session was given for its own."""


class Share:
    """A session's share in one database."""

    def __init__(self, database: Database[Any], connection: Any, version: int) -> None:
        """``version`` is of the database's feed, from before the connection was opened."""
        self.database = database
        self.version = version
        self.connection = connection
        self.since = database.last_transaction()
        self.view = database.view(self.connection)
        self.done: list[tuple[Operation, Any]] = []
        #: Of each run that was read or written: how it was stored, and which entries.
        self.observed: dict[int, tuple[bytes, set[str]]] = {}
        #: The same of runs of this session's own making, which nobody else can know.
        self.made: dict[int, bytes] = {}
        #: Of each variable that was read or written: how it was stored.
        self.variables: dict[str, bytes | None] = {}
        #: What was declared when it was entered: new tasks have what that says.
        self.schema: Schema | None = getattr(self.view, "schema", None)

    def observe(self, run_id: int, name: str) -> None:
        """Remember that an entry mattered."""
        if run_id in self.view.created:
            self.made.setdefault(run_id, self.view.raw_run(run_id))
            return
        seen = self.observed.get(run_id)
        if seen is None:
            seen = self.observed[run_id] = (self.view.raw_run(run_id), set())
        seen[1].add(name)

    def observe_variable(self, name: str) -> None:
        """Remember that a variable mattered."""
        if name not in self.variables:
            self.variables[name] = self.view.raw_variable(name)

    def renew(self, version: int) -> None:
        """Look at the manager's new transaction; ``version`` is from before it was begun."""
        self.version = version
        self.view = self.database.view(self.connection)

    @property
    def is_changed(self) -> bool:
        """Whether anything is different from what the database had."""
        return bool(self.view.changed) or bool(getattr(self.view, "is_changed", False))

    @property
    def rests_on_something(self) -> bool:
        """Whether anything was read or written that others may change."""
        return bool(self.observed or self.made or self.variables)

    def check_ready(self) -> None:
        """Check against everything that was committed until now."""
        self.database.await_news()
        self.check_news()

    def repeat(self) -> None:
        """Apply the operations again; SessionConflict if they would not be the same, IdsTaken
        if that is for the ids of new tasks alone."""
        self.check(self.view)
        has_tasks = any(isinstance(operation, CreateTasks) for operation, _ in self.done)
        if has_tasks and self.view.schema != self.schema:
            raise SessionConflict(f"what {self.database.where} declares")
        for i, (operation, result) in enumerate(self.done):
            again = operation.apply(self.view)
            if again != result:
                raise IdsTaken(f"the numbering of {self.database.where}")
            self.done[i] = (operation, again)

    def part(self) -> Part:
        """What it does to its study."""
        operations = [operation for operation, _ in self.done]
        written = {op.run_id for op in operations if isinstance(op, UpdateRun)}
        known = self.made | {run_id: raw for run_id, (raw, _) in self.observed.items()}
        before = {run_id: known[run_id] for run_id in sorted(written)}
        return Part(self.database, self.view, self.done, before)

    def is_renumbered(self) -> bool:
        """Whether tasks that are there by now have other ids than were given."""
        made = [(op, given) for op, given in self.done if isinstance(op, CreateTasks)]
        if not made:
            return False
        with self.database.read() as newest:
            return any(op.apply(newest) != given for op, given in made)

    def check_news(self) -> None:
        """Check against the newest state, if there is one newer than the snapshot.

        Operations that change nothing conflict with nobody: they are right only if nothing
        has happened that this client is still to be told of.
        """
        if self.done and not self.is_changed:
            self.database.await_news()
        if self.rests_on_something and self.version != self.database.feed.version:
            with self.database.read() as newest:
                self.check(newest)

    def check(self, view: Any) -> None:
        """SessionConflict if anything that mattered is different in this view."""
        for variable, stored in self.variables.items():
            if view.raw_variable(variable) != stored:
                raise SessionConflict(f"variable {variable!r}")
        written = {op.run_id for op, _ in self.done if isinstance(op, UpdateRun)}
        for run_id in self.made:
            if view.has_run(run_id):
                raise IdsTaken(f"{self.database.where}.{run_id}")
        for run_id, (raw, names) in self.observed.items():
            if not view.has_run(run_id):
                raise SessionConflict(f"{self.database.where}.{run_id}")
            now_raw = view.raw_run(run_id)
            if now_raw == raw:
                continue
            before, now = decode_run(raw), decode_run(now_raw)
            if before["state"] in _UNDER_WAY and run_id not in written:
                continue  # it was executing: whoever only looked expects news of it
            if EVERYTHING in names:
                names = {*before, *now} - TELEMETRY
            for name in names:
                if not is_same(now.get(name), before.get(name)):
                    raise SessionConflict(f"{name} of {self.database.where}.{run_id}")
