"""The rows of one study, as one transaction sees them: asking for them and selecting them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from motoko.errors import JobNotFound, RunNotFound
from motoko.model import states
from motoko.model.bounds import Bounds
from motoko.model.constraints import Constraint, clauses, parse
from motoko.model.schema import UNSET, Schema
from motoko.store import layout
from motoko.store.ahead import fetch_leaves, keys_between
from motoko.store.codec import decode, decode_attempts, decode_run, ordered
from motoko.store.index import Groups, JobValues
from motoko.store.kept import Kept

#: The fact which databases it was copied from, by their generations.
COPIED_FROM = "copied_from"
_MOST_JOBS = 20_000
_FEW = 64
#: Of so many runs at most, and at least, what is stored is fetched at once, of those that are
#: gone through.
_FETCHED, _WORTH_FETCHING = 4096, 64
#: So many decoded rows are kept, of runs and of jobs each: a hundred megabytes perhaps.
_MOST_KEPT = 100_000
_NOTHING: Mapping[str, Any] = {}
_CREATED = frozenset({states.CREATED})


class Rows:
    """One study's jobs, runs and what belongs to them, for reading; `Tables` writes too."""

    def __init__(
        self, root: Any, where: str, shown: Mapping[str, Callable[[Any], Any]] = _NOTHING
    ) -> None:
        """``shown`` says of entries of runs, by name, what is kept of them as what they are
        shown: constraints compare that."""
        #: The trees themselves, for the modules of this package only.
        self.trees = layout.trees(root, layout.STUDY, where)
        self._runs = self.trees["runs"]
        self._jobs = self.trees["jobs"]
        self._tasks = self.trees["tasks"]
        self.groups = Groups(self.trees)
        self.values = JobValues(self.trees)
        self._schema: Schema | None = None
        self._job_rows: Kept[dict[str, Any]] = Kept(_MOST_KEPT)
        self._run_rows: Kept[tuple[bytes, dict[str, Any]]] = Kept(_MOST_KEPT)
        self._shown = shown

    # what the study is

    def fact(self, name: str) -> Any:
        """A stored fact about the database: ``generation``, ``created``, ``schema``, ..."""
        raw = self.trees["meta"].get(name)
        return None if raw is None else decode(raw)

    @property
    def generations(self) -> frozenset[str]:
        """What tells this database from others, and those that it was copied from: run
        directories were made for one of them."""
        return frozenset({str(self.fact("generation")), *(self.fact(COPIED_FROM) or ())})

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
        return self._decoded(run_id, raw)

    def _decoded(self, run_id: int, raw: bytes) -> dict[str, Any]:
        row = decode_run(raw)
        if self.schema.later:
            row = {**self.schema.later_for(run_id), **row}
        row["id"] = run_id
        self._run_rows.keep(run_id, (raw, row))
        return row

    def with_jobs(self, run_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Runs, given by ascending ids, with the ids of their jobs. Of both, what is stored is
        fetched at once."""
        fetch_leaves(self._runs, run_ids)
        pairs = [(run_id, int(self.run(run_id)["job_id"])) for run_id in run_ids]
        fetch_leaves(self._jobs, sorted({job_id for _, job_id in pairs}))
        return pairs

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
            row = self._decode_job(job_id, raw)
            self._job_rows.keep(job_id, row)
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
        matches = self._matcher(constraint)
        found: list[int] = []
        for run_ids in _batches(candidates):
            if len(run_ids) > _WORTH_FETCHING:
                self._fetch(run_ids, with_jobs=constraint.needs_job)
            found += filter(matches, run_ids)
        return found

    def _fetch(self, run_ids: Sequence[int], *, with_jobs: bool) -> None:
        """Have what is stored of these runs, as far as they are there, sent at once; and of
        their jobs, unless those of the first and the last are known, as the others are then
        mostly."""
        fetch_leaves(self._runs, run_ids)
        if not with_jobs:
            return
        ends = (
            next((i for i in ids if i in self._runs), None) for ids in (run_ids, run_ids[::-1])
        )
        if any(i is not None and self.run(i)["job_id"] not in self._job_rows for i in ends):
            there = (self.run(i) for i in run_ids if i in self._runs)
            fetch_leaves(self._jobs, sorted({int(run["job_id"]) for run in there}))

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

    def ready(self, most: int) -> list[int]:
        """The lowest ids of CREATED runs that a launcher may take, ascending."""
        groups = self.groups.chosen(None, _CREATED, awaits_step=False)
        return sorted(r for group in groups for r in self.groups.first(group, most))[:most]

    def all_ready(self) -> Iterator[int]:
        """Ids of all of these, in no order."""
        for group in self.groups.chosen(None, _CREATED, awaits_step=False):
            yield from self.groups.members(group)

    def awaiting_step(self, run_name: str | None = None) -> list[int]:
        """Ids of the runs that wait for a step of their pipeline, ascending."""
        members = map(self.groups.members, self._awaiting(run_name))
        return sorted(run_id for ids in members for run_id in ids)

    def n_awaiting_step(self, run_name: str | None = None) -> int:
        """How many these are."""
        return sum(map(self.groups.count, self._awaiting(run_name)))

    def _awaiting(self, run_name: str | None) -> list[int]:
        names = None if run_name is None else frozenset({run_name})
        return self.groups.chosen(names, _CREATED, awaits_step=True)

    def matches(self, constraint: Constraint, run_id: int) -> bool:
        """Whether the constraint holds for a run; false for a run that is not there."""
        return self._matcher(constraint)(run_id)

    def _matcher(self, constraint: Constraint) -> Callable[[int], bool]:
        """The same for many runs, of which each is asked what tells them apart alone."""
        raw_of, known_of, holds = self._runs.get, self._run_rows.get, constraint.matches
        job_of, needs_job = self._job_rows.get, constraint.needs_job
        shown = [(n, s) for n, s in self._shown.items() if f"runs.{n}" in constraint.fields]

        def matches(run_id: int) -> bool:
            raw = raw_of(run_id)
            if raw is None:
                return False
            known = known_of(run_id)
            run: Mapping[str, Any]
            if known is not None and known[0] is raw:
                run = known[1]
            else:
                run = self._decoded(run_id, raw)
            for name, show in shown:
                if name in run:
                    run = {**run, name: show(run[name])}
            if not needs_job:
                return holds(run, _NOTHING)
            job_id = run["job_id"]
            return holds(run, job_of(job_id) or self.job(job_id))

        return matches

    def _candidates(self, bounds: Bounds) -> tuple[Iterable[int], bool]:
        """Ids among which all matches are, ascending, and whether all of them match."""
        if bounds.is_empty:
            return (), True
        if bounds.run_id is not None:
            interval = bounds.run_id
            return keys_between(self._runs, interval.low, interval.high), False
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
            if bounds.is_exact:
                return self._runs.keys(), True
            return keys_between(self._runs, None, None), False
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


def _batches(run_ids: Iterable[int]) -> Iterator[list[int]]:
    """All of them, in their order, as many at a time as are fetched at once."""
    rest = iter(run_ids)
    while some := list(islice(rest, _FETCHED)):
        yield some


_schemas: dict[bytes, Schema] = {}


def _schema_of(raw: bytes) -> Schema:
    """Schemas are immutable: the same bytes give the same object."""
    schema = _schemas.get(raw)
    if schema is None:
        if len(_schemas) > 100:
            _schemas.clear()
        schema = _schemas[raw] = Schema.from_json(decode(raw))
    return schema
