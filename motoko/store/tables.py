"""The tables of one study, as one transaction sees them.

All reading and writing of a study's database goes through `Tables`; it keeps indexes and
counters with every write and checks states against their table. It holds no state of its own
but caches of what it read, so it is as good as its transaction: made at the start, dropped at
the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from motoko.columns import BUILT_IN
from motoko.errors import JobNotFound, RunNotFound, SchemaError
from motoko.model import states
from motoko.model.bounds import Bounds
from motoko.model.constraints import Constraint, clauses, parse
from motoko.model.schema import UNSET, Schema
from motoko.store import layout
from motoko.store.codec import (
    decode,
    decode_attempts,
    decode_run,
    digest,
    encode,
    encode_attempts,
    encode_run,
    ordered,
)
from motoko.store.index import Groups, JobValues, value_key

_MOST_JOBS = 20_000
_FEW = 64


class TaskIdentity(NamedTuple):
    """What, together with its job, makes a task the same task."""

    run_name: str
    nproc: int
    machine_name: str
    declared: tuple[tuple[str, Any], ...]


class Tables:
    """One study's jobs, runs and what belongs to them, in one transaction."""

    def __init__(self, root: Any, where: str) -> None:
        #: The trees themselves, for the modules of this package only.
        self.trees = layout.trees(root, layout.STUDY, where)
        self._runs = self.trees["runs"]
        self._jobs = self.trees["jobs"]
        self._tasks = self.trees["tasks"]
        self.groups = Groups(self.trees)
        self.values = JobValues(self.trees)
        self._schema: Schema | None = None
        self._job_rows: dict[int, dict[str, Any]] = {}
        self._run_rows: dict[int, tuple[bytes, dict[str, Any]]] = {}
        #: Ids of the runs that this transaction made or changed.
        self.changed: set[int] = set()
        #: Those of them that it made.
        self.created: set[int] = set()

    def forget_changes(self) -> None:
        """Take what was done until now for what was there already."""
        self.changed.clear()
        self.created.clear()

    # what the study is

    def fact(self, name: str) -> Any:
        """A stored fact about the database: ``generation``, ``created``, ``schema``, ..."""
        raw = self.trees["meta"].get(name)
        return None if raw is None else decode(raw)

    def set_fact(self, name: str, value: Any) -> None:
        """Store a fact about the database; None removes it."""
        self.trees["meta"].pop(name, None)
        if value is not None:
            self.trees["meta"][name] = encode(value)

    @property
    def schema(self) -> Schema:
        """Jobs and runs as this database knows them."""
        if self._schema is None:
            self._schema = _schema_of(self.trees["meta"]["schema"])
        return self._schema

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.schema.study

    @property
    def entries(self) -> frozenset[str]:
        """Names of the undeclared entries that runs have."""
        return frozenset(self.trees["entries"])

    def parse(self, constraints: str | Sequence[str] | None) -> Constraint:
        """A constraint in the terms of this study."""
        return parse(constraints, self.schema, self.entries)

    def clauses(self, constraints: str | Sequence[str] | None) -> list[str]:
        """The parts of a constraint that must all hold, each as a constraint of its own."""
        return clauses(constraints, self.schema, self.entries)

    # reading

    @property
    def n_runs(self) -> int:
        """Number of runs of all run names."""
        return sum(n for _, _, n in self.groups.counted())

    @property
    def n_jobs(self) -> int:
        """Number of jobs that were ever made."""
        return int(self.trees["last"].get("job", 0))

    @property
    def last_run_id(self) -> int:
        """The highest id that a run was ever given; 0 before the first."""
        return int(self.trees["last"].get("run", 0))

    def has_run(self, run_id: int) -> bool:
        """Whether there is a run of this id."""
        return run_id in self._runs

    def has_job(self, job_id: int) -> bool:
        """Whether there is a job of this id."""
        return job_id in self._jobs

    def raw_run(self, run_id: int) -> bytes:
        """A run as it is stored; two equal ones are the same state of it."""
        raw = self._runs.get(run_id)
        if raw is None:
            raise RunNotFound(self.study, run_id)
        return bytes(raw)

    def run(self, run_id: int) -> Mapping[str, Any]:
        """The entries of a run, its id among them; unset ones are absent. Not to be changed."""
        raw = self._runs.get(run_id)
        if raw is None:
            raise RunNotFound(self.study, run_id)
        known = self._run_rows.get(run_id)
        if known is not None and known[0] is raw:
            return known[1]
        row = decode_run(raw)
        row["id"] = run_id
        self._run_rows[run_id] = (raw, row)
        return row

    def run_ids(self) -> Iterator[int]:
        """Ids of all runs, ascending."""
        return iter(self._runs)

    def job(self, job_id: int) -> Mapping[str, Any]:
        """The values of a job, its id among them; unset ones are absent. Not to be changed."""
        row = self._job_rows.get(job_id)
        if row is None:
            raw = self._jobs.get(job_id)
            if raw is None:
                raise JobNotFound(self.study, job_id)
            row = self._job_rows[job_id] = self._decode_job(job_id, raw)
        return row

    def job_ids(self) -> Iterator[int]:
        """Ids of all jobs, ascending."""
        return iter(self._jobs)

    def find_job(self, values: Mapping[str, Any]) -> int | None:
        """The id of the job with exactly these (converted) values."""
        job_id = self.trees["job_ids"].get(b"".join(self._value_keys(values)))
        return None if job_id is None else int(job_id)

    def runs_of(self, job_id: int) -> list[int]:
        """Ids of the runs on a job, ascending."""
        low = job_id.to_bytes(8, "big")
        return sorted(self._tasks.values(low, low + b"\xff" * 13))

    def task_index(self) -> list[tuple[int, int]]:
        """Job id and run id of each task, by job."""
        return [(int.from_bytes(key[:8], "big"), run_id) for key, run_id in self._tasks.items()]

    def task_mark(self, run_id: int) -> bytes:
        """What makes the run's task together with its job."""
        low = self.run(run_id)["job_id"].to_bytes(8, "big")
        for key, found in self._tasks.items(low, low + b"\xff" * 13):
            if found == run_id:
                return bytes(key[8:])
        return b""

    def counts(self, run_name: str | None = None) -> dict[str, int]:
        """Number of runs by state, of one run name or of all."""
        found: dict[str, int] = {}
        for name, state, n_runs in self.groups.counted():
            if run_name is None or name == run_name:
                found[state] = found.get(state, 0) + n_runs
        return found

    def run_names(self) -> list[str]:
        """The run names that have runs, sorted."""
        return sorted({name for name, _, _ in self.groups.counted()})

    def attempts(self, run_id: int) -> list[dict[str, Any]]:
        """What is recorded of the attempts of a run, oldest first."""
        raw = self.trees["attempts"].get(run_id)
        return [] if raw is None else decode_attempts(raw)

    def quantities(self, run_id: int) -> dict[str, tuple[Any, Any]]:
        """Step and last value of each quantity of a run."""
        raw = self.trees["quantities"].get(run_id)
        return {} if raw is None else {k: (v[0], v[1]) for k, v in decode(raw).items()}

    def manifest(self, key: str | None) -> dict[str, Any] | None:
        """The files that runs with this manifest were created with."""
        raw = None if key is None else self.trees["manifests"].get(key)
        return None if raw is None else decode(raw)

    def manifests(self) -> dict[str, dict[str, Any]]:
        """All of them by their keys."""
        return {key: decode(raw) for key, raw in self.trees["manifests"].items()}

    # selecting

    def select(self, constraint: Constraint) -> list[int]:
        """Ids of the runs that the constraint holds for, ascending."""
        candidates, is_sure = self._candidates(constraint.bounds)
        if is_sure:
            return list(candidates)
        return [run_id for run_id in candidates if self.matches(constraint, run_id)]

    def count(self, constraint: Constraint) -> int:
        """Number of runs that the constraint holds for."""
        bounds = constraint.bounds
        is_of_groups = bounds.is_exact and not bounds.job
        if is_of_groups and bounds.run_id is None and bounds.job_id is None:
            return sum(
                map(self.groups.count, self.groups.chosen(bounds.run_name, bounds.state))
            )
        return len(self.select(constraint))

    def in_state(self, state: str) -> Iterator[int]:
        """Ids of the runs in a state; of one run name after the other, ascending in each."""
        for group in self.groups.chosen(None, frozenset({state})):
            yield from self.groups.members(group)

    def first(self, state: str, most: int) -> list[int]:
        """The lowest ids of runs in a state, ascending."""
        groups = self.groups.chosen(None, frozenset({state}))
        return sorted(r for group in groups for r in self.groups.first(group, most))[:most]

    def matches(self, constraint: Constraint, run_id: int) -> bool:
        """Whether the constraint holds for a run; false for a run that is not there."""
        if run_id not in self._runs:
            return False
        run = self.run(run_id)
        job = self.job(run["job_id"]) if constraint.needs_job else _NOTHING
        return constraint.matches(run, job)

    def _candidates(self, bounds: Bounds) -> tuple[Iterable[int], bool]:
        """Ids among which all matches are, ascending, and whether all of them match."""
        if bounds.is_empty:
            return (), True
        if bounds.run_id is not None:
            interval = bounds.run_id
            return self._runs.keys(interval.low, interval.high), False
        groups: list[int] | None = None
        n_in_groups = 0
        if bounds.state is not None or bounds.run_name is not None:
            groups = self.groups.chosen(bounds.run_name, bounds.state)
            n_in_groups = sum(map(self.groups.count, groups))
        if groups is None or n_in_groups > _FEW:
            most = n_in_groups if groups is not None else _MOST_JOBS
            job_ids = self._candidate_jobs(bounds, min(most, _MOST_JOBS))
            if job_ids is not None:
                return sorted(r for job_id in job_ids for r in self.runs_of(job_id)), False
        if groups is None:
            return self._runs.keys(), bounds.is_exact
        members = [self.groups.members(group) for group in groups]
        ids = members[0] if len(members) == 1 else sorted(r for ids in members for r in ids)
        return ids, bounds.is_exact and bounds.job_id is None and not bounds.job

    def _candidate_jobs(self, bounds: Bounds, most: int) -> list[int] | None:
        if bounds.job_id is not None:
            interval = bounds.job_id
            return list(self._jobs.keys(interval.low, interval.high))
        best: list[int] | None = None
        for name, interval in bounds.job.items():
            if self.values.is_indexed(name):
                found = self.values.find(name, interval, most)
                if found is not None and (best is None or len(found) < len(best)):
                    best, most = found, len(found)
        return best

    # writing

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
            run_id = self._tasks.get(key)
            if run_id is None:
                run_id, next_id = next_id, next_id + 1
                self._tasks[key] = run_id
                self._runs[run_id] = encode_run(row)
            ids.append(int(run_id))
        if next_id > first_id:
            self.changed.update(range(first_id, next_id))
            self.created.update(range(first_id, next_id))
            last["run"] = next_id - 1
            group = self.groups.number(identity.run_name, states.CREATED)
            self.groups.add_many(group, range(first_id, next_id))
        return ids

    def has_applied(self, mark: str) -> bool:
        """Whether this part of a commit over several databases is in here."""
        return mark in self.trees["applied"]

    def set_applied(self, mark: str) -> None:
        """Remember that this part of a commit over several databases is in here."""
        applied = self.trees["applied"]
        if not applied:
            applied.insert("")  # a tree that is emptied conflicts with everybody
        applied.insert(mark)

    def applied(self) -> list[str]:
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
        if not isinstance(row["state"], str) or not row["state"]:
            found = f"found {row['state']!r}"
            raise SchemaError(self.study, "state", found, "a state is text that is not empty")
        if row["state"] != before["state"]:
            if not is_decided:
                states.check(f"{self.study}.{run_id}", before["state"], row["state"])
            row.update({**_AT_STATE.get(row["state"], {}), **changes})
            self.groups.move(
                run_id,
                self.groups.number(before["run_name"], before["state"]),
                self.groups.number(before["run_name"], row["state"]),
            )
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

    def extend_schema(self, schema: Schema, migrate_command: str | None = None) -> None:
        """Take over what ``schema`` has in addition; SchemaChanged for anything else, which
        names the command that migrates the study.

        Stored jobs get the default of what is new, so their keys are written anew.
        """
        change = schema.changes_since(self.schema)
        change.check(migrate_command)
        if not change:
            return
        extended = self.schema.extended(schema)
        self.replace_schema(extended)
        new = [f for f in extended.job.values() if f.name in change.added_to_jobs]
        if new:
            self._rekey_jobs([f.name for f in new if f.type not in ("list", "dict")])

    def replace_schema(self, schema: Schema) -> None:
        """Say what the stored rows are rows of; they must have been rewritten for it."""
        self.set_fact("schema", schema.to_json())
        self._schema = schema
        self._job_rows.clear()

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

    def _value_keys(self, values: Mapping[str, Any]) -> list[bytes]:
        return [ordered(values.get(name)) for name in self.schema.job]

    def _decode_job(self, job_id: int, raw: bytes) -> dict[str, Any]:
        stored = decode(raw)
        fields = list(self.schema.job.values())
        row: dict[str, Any] = {"id": job_id}
        for field, value in zip(fields, stored, strict=False):
            if value is not None:
                row[field.name] = value
        for field in fields[len(stored) :]:
            if field.backfill is not UNSET:
                row[field.name] = field.backfill
        return row


_NOTHING: Mapping[str, Any] = {}
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
_schemas: dict[bytes, Schema] = {}


def _schema_of(raw: bytes) -> Schema:
    """Schemas are immutable: the same bytes give the same object."""
    schema = _schemas.get(raw)
    if schema is None:
        if len(_schemas) > 100:
            _schemas.clear()
        schema = _schemas[raw] = Schema.from_json(decode(raw))
    return schema
