"""The tables of one study, as one transaction sees them.

All writing of a study's database goes through `Tables`, and reading through what it inherits
from `Rows`. It keeps indexes and counters with every write and checks states against their
table. It holds no state of its own but caches of what it read, so it is as good as its
transaction: made at the start, dropped at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from motoko.columns import AWAITS, BUILT_IN, PASSED_OVER, UNDECLARED
from motoko.errors import SchemaError
from motoko.model import states
from motoko.model.schema import UNSET, Schema
from motoko.store.codec import (
    digest,
    encode,
    encode_attempts,
    encode_run,
    is_same,
    ordered,
)
from motoko.store.index import value_key
from motoko.store.layout import rest_on
from motoko.store.rows import Rows

#: So many new runs are kept in memory until they are committed.
_MANY = 20_000


class TaskIdentity(NamedTuple):
    """What, together with its job, makes a task the same task."""

    run_name: str
    nproc: int
    machine_name: str
    declared: tuple[tuple[str, Any], ...]


class _Known(NamedTuple):
    """A task as runs are known by that were made before some of its entries were declared."""

    mark: bytes
    last_run_id: int
    dropped: Mapping[str, Any]


class Tables(Rows):
    """One study's jobs, runs and what belongs to them, in one transaction."""

    def __init__(
        self, root: Any, where: str, shown: Mapping[str, Callable[[Any], Any]] | None = None
    ) -> None:
        super().__init__(root, where, shown or {})
        #: Ids of the runs that this transaction made or changed.
        self.changed: set[int] = set()
        #: Those of them that it made.
        self.created: set[int] = set()

    def forget_changes(self) -> None:
        """Take what was done until now for what was there already."""
        self.changed.clear()
        self.created.clear()

    def set_fact(self, name: str, value: Any) -> None:
        """Store a fact about the database; None removes it."""
        self.trees["meta"].pop(name, None)
        if value is not None:
            self.trees["meta"][name] = encode(value)

    def create_tasks(
        self,
        points: Iterable[Mapping[str, Any]],
        identity: TaskIdentity,
        entries: Mapping[str, Any],
    ) -> list[int]:
        """Make sure there is a task for each (converted) point; ids in the order of the points.

        ``entries`` are further entries of the runs that are made; a task that is there already
        keeps its own. Equal points give the same id.
        """
        mark = digest(list(identity))
        earlier = self._earlier(identity)
        row: dict[str, Any] = {
            "create_time": time.time(),
            **entries,
            **dict(identity.declared),
            "state": states.CREATED,
            "run_name": identity.run_name,
            "nproc": identity.nproc,
            "machine_name": identity.machine_name,
        }
        self.remember_entries(row)
        last = self.trees["last"]
        next_id = int(last.get("run", 0)) + 1
        first_id = next_id
        ids = []
        for values in points:
            job_id = row["job_id"] = self.create_job(values)
            key = job_id.to_bytes(8, "big") + mark
            run_id = self._tasks.get(key) or self._made_before(job_id, identity, earlier)
            if run_id is None:
                run_id, next_id = next_id, next_id + 1
                self._tasks[key] = run_id
                self._runs[run_id] = encode_run(row)
                if next_id % _MANY == 0:
                    self._put_by()
            ids.append(int(run_id))
        if next_id > first_id:
            rest_on(self.trees["meta"])  # of whoever deletes a job that was there before
            self.changed.update(range(first_id, next_id))
            self.created.update(range(first_id, next_id))
            last["run"] = next_id - 1
            group = self.groups.of(row)
            self.groups.add_many(group, range(first_id, next_id))
        return ids

    def find_tasks(
        self, points: Iterable[Mapping[str, Any]], identity: TaskIdentity
    ) -> list[int]:
        """The runs of those tasks that are there, for (converted) points."""
        mark = digest(list(identity))
        earlier = self._earlier(identity)
        found = []
        for values in points:
            job_id = self.trees["job_ids"].get(b"".join(self._value_keys(values)))
            if not job_id:
                continue
            run_id = self._tasks.get(int(job_id).to_bytes(8, "big") + mark)
            if run_id := run_id or self._made_before(int(job_id), identity, earlier):
                found.append(int(run_id))
        return found

    def move_task(self, run_id: int, identity: TaskIdentity) -> None:
        """Let a run be this task on its job from now on, unless another run is that."""
        row = self.run(run_id)
        low = row["job_id"].to_bytes(8, "big")
        key = low + digest(list(identity))
        if self._tasks.get(key, run_id) != run_id:
            return
        before = self.task_mark(run_id)
        if low + before != key:
            if before:
                del self._tasks[low + before]
            self._tasks[key] = run_id
        declared = dict(identity.declared)
        names = [name for name in UNDECLARED if name in row or name in declared]
        self.update_run(run_id, {name: declared.get(name) for name in names})

    def _earlier(self, identity: TaskIdentity) -> list[_Known]:
        """What the same task was known by before entries of it were declared."""
        later, declared = self.schema.later, dict(identity.declared)
        known = []
        for last in sorted({field.last_without for field in later}):
            fields = [field for field in later if field.last_without >= last]
            dropped = {f.name: f.backfill for f in fields if f.name in declared}
            if dropped and all(f.name in dropped for f in fields if f.backfill is not UNSET):
                kept = tuple(pair for pair in identity.declared if pair[0] not in dropped)
                mark = digest(list(identity._replace(declared=kept)))
                known.append(_Known(mark, last, dropped))
        return known

    def _made_before(
        self, job_id: int, identity: TaskIdentity, earlier: Iterable[_Known]
    ) -> int | None:
        """The run that is such a task: it has the values that are asked for, be it their first
        defaults, or what it was given under names that were not declared at that time."""
        declared, undeclared = dict(identity.declared), self.trees["entries"]
        for known in earlier:
            run_id = self._tasks.get(job_id.to_bytes(8, "big") + known.mark)
            if run_id is None or run_id > known.last_run_id:
                continue
            given = self.run(run_id)
            has = {n: given.get(n) if n in undeclared else v for n, v in known.dropped.items()}
            if all(v is not UNSET and is_same(v, declared[n]) for n, v in has.items()):
                return int(run_id)
        return None

    def _put_by(self) -> None:
        """Let what was made until now, by a transaction that makes very much, wait for the
        commit in a file rather than in memory."""
        jar = self.trees._p_jar
        if jar is not None:
            jar.transaction_manager.get().savepoint(optimistic=True)

    def has_applied(self, mark: str) -> bool:
        """Whether this part of a commit over several databases is in here."""
        return mark in self.trees["applied"]

    def set_applied(self, mark: str) -> None:
        """Remember that this part of a commit over several databases is in here."""
        applied = self.trees["applied"]
        if not applied:
            applied.insert("")  # a tree that is emptied conflicts with everybody
        applied.insert(mark)

    def marks(self) -> list[str]:
        """The marks of all commits that are remembered so."""
        return [mark for mark in self.trees["applied"] if mark]

    def forget_applied(self, marks: Iterable[str]) -> set[str]:
        """Forget marks of commits that have reached every study; those known here."""
        applied = self.trees["applied"]
        known = {mark for mark in marks if mark in applied}
        for mark in known:
            applied.remove(mark)
        return known

    def create_job(self, values: Mapping[str, Any]) -> int:
        """The id of the job with these (converted) values, made if there is none."""
        keys = self._value_keys(values)
        job_ids = self.trees["job_ids"]
        key = b"".join(keys)
        job_id = job_ids.get(key)
        if job_id is not None:
            return int(job_id)
        last = self.trees["last"]
        job_id = int(last.get("job", 0)) + 1
        last["job"] = job_id
        job_ids[key] = job_id
        self._jobs[job_id] = encode([values.get(name) for name in self.schema.job])
        for (name, field), value in zip(self.schema.job.items(), keys, strict=True):
            if field.type not in ("list", "dict"):
                self.values.tree(name).insert(value_key(value, job_id))
        return job_id

    def update_run(
        self, run_id: int, changes: Mapping[str, Any], *, is_decided: bool = False
    ) -> None:
        """Change entries of a run; None removes one. A state must be allowed to follow, unless
        that ``is_decided`` already."""
        raw = self.raw_run(run_id)
        before = self.run(run_id)
        row = {**before, **changes}
        row.pop("id")
        for name, value in self.schema.later_for(run_id).items():
            if is_same(row[name], value):
                del row[name]  # it has that without having it stored
        if not isinstance(row["state"], str) or not row["state"]:
            found = f"found {row['state']!r}"
            raise SchemaError(self.study, "state", found, "a state is text that is not empty")
        if row["state"] != before["state"]:
            if not is_decided:
                states.check(f"{self.study}.{run_id}", before["state"], row["state"])
            row.update({**_AT_STATE.get(row["state"], {}), **changes})
        if row["state"] != states.CREATED:
            row.pop(AWAITS, None)
        if row.get(AWAITS) is None:
            row.pop(PASSED_OVER, None)
        group_before, group = self.groups.of(before), self.groups.of(row)
        if group != group_before:
            self.groups.move(run_id, group_before, group)
        self.remember_entries(changes)
        encoded = encode_run(row)
        if encoded != raw:
            self._runs[run_id] = encoded
            self.changed.add(run_id)

    def set_attempt(self, run_id: int, number: int, record: Mapping[str, Any]) -> None:
        """Record what is known of one attempt (they count from 1), over what was recorded."""
        records = [r for r in self.attempts(run_id) if r["number"] != number]
        records.append({"number": number, **record})
        records.sort(key=lambda r: int(r["number"]))
        self.trees["attempts"][run_id] = encode_attempts(records)

    def set_quantities(self, run_id: int, last: Mapping[str, tuple[Any, Any]]) -> None:
        """Replace the step and last value of all quantities of a run."""
        self.trees["quantities"][run_id] = encode({k: list(v) for k, v in last.items()})

    def set_manifest(self, key: str, manifest: Mapping[str, Any]) -> None:
        """Store which files a run is created with, under the digest of that."""
        manifests = self.trees["manifests"]
        if key not in manifests:
            manifests[key] = encode(dict(manifest))

    def extend_schema(self, schema: Schema, migrate_command: str | None = None) -> bool:
        """Take over what ``schema`` has in addition; whether there is anything. SchemaChanged
        for any other difference, which names the command that migrates the study.

        Stored jobs get the default of what is new, so their keys are written anew.
        """
        change = schema.changes_since(self.schema)
        change.check(migrate_command)
        if not change:
            return False
        extended = self.schema.extended(schema, self.last_run_id)
        self.replace_schema(extended)
        new = [f for f in extended.job.values() if f.name in change.added_to_jobs]
        if new:
            self._rekey_jobs([f.name for f in new if f.type not in ("list", "dict")])
        return True

    def replace_schema(self, schema: Schema) -> None:
        """Say what the stored rows are rows of; they must have been rewritten for it."""
        self.set_fact("schema", schema.to_json())
        self._schema = schema
        self._job_rows.clear()
        self._run_rows.clear()

    def _rekey_jobs(self, to_index: Sequence[str]) -> None:
        job_ids = self.trees["job_ids"]
        job_ids.clear()
        for job_id, raw in self._jobs.items():
            values = self._decode_job(job_id, raw)
            job_ids[b"".join(self._value_keys(values))] = job_id
            for name in to_index:
                key = ordered(values.get(name))
                self.values.tree(name).insert(value_key(key, job_id))

    def remember_entries(self, entries: Mapping[str, Any]) -> None:
        """Remember the names of undeclared entries that some run has."""
        known = self.trees["entries"]
        for name, value in entries.items():
            if name not in BUILT_IN and name not in self.schema.run and name not in known:
                known[name] = type(value).__name__


#: What becomes of other entries when a run enters a state.
_AT_STATE: Mapping[str, Mapping[str, Any]] = {
    states.FINISHED: {"has_finished": 1},
    states.CREATED: {
        "has_finished": None,
        "start_time": None,
        "end_time": None,
        "nonce": None,
    },
}
