"""Bringing what is stored in line with a ``bd.yaml`` that lost, renamed or retyped parameters.

Ids stay what they are. Where two jobs would become the same point the migration is refused:
which of their runs counts is not for Motoko to decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, islice
from typing import Any

from motoko.columns import UNDECLARED
from motoko.errors import SchemaChanged
from motoko.model.schema import UNSET, Field, Schema, SchemaChange, declared_later
from motoko.phrases import listed
from motoko.store.codec import digest, encode, encode_run, is_same, ordered
from motoko.store.index import value_key
from motoko.store.tables import Tables, TaskIdentity

#: So many sets of entries are tried to find what made a task.
_MOST_TRIED = 1 << 12


@dataclass(frozen=True)
class Instructions:
    """What to do with the parameters of jobs and the entries of runs that do not fit.

    ``renamed`` maps old names to new ones; ``removed`` are dropped with their values;
    ``filled`` gives the value of new parameters that have no default.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    filled: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Migrated:
    """What a migration changed.

    Runs ``without_identity`` had entries changed since they were made: the same task asked for
    again will be a new run.
    """

    n_jobs: int
    n_runs: int
    without_identity: tuple[int, ...]


def migrate(tables: Tables, target: Schema, instructions: Instructions) -> Migrated:
    """Rewrite jobs and runs for ``target``, the schema of the present ``bd.yaml``.

    Raises SchemaChanged for what the instructions do not cover and when jobs would become
    equal, and SchemaError for a value that cannot be converted. Nothing is changed then, if
    the caller's transaction is aborted.
    """
    old = tables.schema
    is_needed(old, target, instructions)
    jobs = {job_id: _job(tables, target, instructions, job_id) for job_id in tables.job_ids()}
    _check_distinct(target, jobs)
    runs = dict(_changed_runs(tables, target, instructions))
    identities, without = _identities(tables, old, target, runs, instructions)
    _write_jobs(tables, _with_later(tables, target, instructions), jobs)
    for run_id, row in runs.items():
        tables.trees["runs"][run_id] = encode_run(row)
        tables.changed.add(run_id)
    tasks = tables.trees["tasks"]
    new_keys = [key for key, _ in identities.values()]
    kept = (key for key in tasks if key not in identities)
    if len(set(new_keys)) < len(new_keys) or not set(new_keys).isdisjoint(kept):
        raise SchemaChanged(
            target.study,
            "runs",
            "two runs of a job would become the same task",
            "keep an entry that tells them apart",
        )
    for old_key, (new_key, run_id) in identities.items():
        del tasks[old_key]
        tasks[new_key] = run_id
    return Migrated(len(jobs), len(runs), tuple(without))


def is_needed(
    old: Schema, target: Schema, instructions: Instructions, command: str | None = None
) -> bool:
    """Whether there is anything to migrate.

    Raises SchemaChanged for instructions that do not fit the change, or leave some of it open:
    then it shows the ``command`` with options that do.
    """
    change = target.changes_since(old)
    _check_instructions(old, target, instructions)
    _check_covered(change, instructions, command or f"motoko study migrate {target.study}")
    return bool(change.added or change.removed or change.retyped)


def _check_instructions(old: Schema, target: Schema, instructions: Instructions) -> None:
    before, after = {*old.job, *old.run}, {*target.job, *target.run}
    new_names = set(instructions.renamed.values())
    known = before | after
    given = {*instructions.renamed, *new_names, *instructions.removed, *instructions.filled}
    for name in sorted(given - known):
        raise SchemaChanged(
            target.study, name, f"there is no {name}", f"known: {listed(known)}"
        )
    for option, names, wrong, why in (
        ("--rename", {*instructions.renamed}, after, "is still in bd.yaml"),
        ("--remove", instructions.removed, after, "is still in bd.yaml"),
        ("--rename", new_names, before, "is stored already"),
        ("--fill", {*instructions.filled}, before, "is stored already, and keeps its values"),
        ("--fill", {*instructions.filled}, {*target.run}, "is no parameter of jobs"),
        ("--fill", {*instructions.filled}, new_names, "has the values of what is renamed"),
        ("--remove", instructions.removed, {*instructions.renamed}, "is renamed too"),
    ):
        for name in sorted(set(names) & wrong):
            raise SchemaChanged(target.study, name, why, f"leave it out of {option}")


def _check_covered(change: SchemaChange, instructions: Instructions, command: str) -> None:
    added = {(c.of, c.name) for c in change.added}
    lost = [
        c.name
        for c in change.removed
        if c.name not in instructions.removed
        and (c.of, instructions.renamed.get(c.name)) not in added
    ]
    covered = {*instructions.renamed.values(), *instructions.filled}
    bare = [c.name for c in change.bare if c.name not in covered]
    clauses = [
        f"{what}: {listed(names)}"
        for what, names in (("gone from bd.yaml", lost), ("new and without a value", bare))
        if names
    ]
    if clauses:
        allowed = f"say what becomes of it, as in {change.migration(command)}"
        keys = ", ".join([*lost, *bare])
        raise SchemaChanged(change.study, keys, "; ".join(clauses), allowed)


def _job(
    tables: Tables, target: Schema, instructions: Instructions, job_id: int
) -> dict[str, Any]:
    values = {name: value for name, value in tables.job(job_id).items() if name != "id"}
    values = _renamed(values, instructions)
    for name in target.job:
        if name not in values and name in instructions.filled:
            values[name] = instructions.filled[name]
    return target.convert_job(_retyped(values, target.job))


def _renamed(values: Mapping[str, Any], instructions: Instructions) -> dict[str, Any]:
    return {
        instructions.renamed.get(name, name): value
        for name, value in values.items()
        if name not in instructions.removed
    }


def _retyped(values: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Numbers to text and text to numbers, where a conversion is more than a check."""
    converted = dict(values)
    for name, value in values.items():
        wanted = fields[name].type if name in fields else None
        if wanted == "str" and isinstance(value, int | float):
            converted[name] = str(value)
        elif wanted in ("int", "float") and isinstance(value, str | bool):
            try:
                converted[name] = int(value) if wanted == "int" else float(value)
            except ValueError:
                pass  # the schema's own check names study, key and value
    return converted


def _check_distinct(target: Schema, jobs: Mapping[int, Mapping[str, Any]]) -> None:
    seen: dict[bytes, int] = {}
    for job_id, values in jobs.items():
        first = seen.setdefault(_key(target, values), job_id)
        if first != job_id:
            raise SchemaChanged(
                target.study,
                "jobs",
                f"jobs {first} and {job_id} would become the same point",
                "keep a parameter that tells them apart",
            )


def _key(target: Schema, values: Mapping[str, Any]) -> bytes:
    return b"".join(ordered(values.get(name)) for name in target.job)


def _with_later(tables: Tables, target: Schema, instructions: Instructions) -> Schema:
    """The target with what runs have of entries that were declared after they were made."""
    names = {instructions.renamed.get(f.name, f.name): f for f in tables.schema.run.values()}
    entries = {}
    for name, declared in target.run.items():
        was = names.get(name)
        if was is None:
            entries[name] = declared_later(declared, tables.last_run_id)
        elif was.last_without:
            stored = {} if was.backfill is UNSET else {name: was.backfill}
            has = target.convert_run(_retyped(stored, target.run)).get(name, UNSET)
            entries[name] = replace(declared, backfill=has, last_without=was.last_without)
        else:
            entries[name] = declared
    return replace(target, run=entries)


def _write_jobs(tables: Tables, target: Schema, jobs: Mapping[int, Mapping[str, Any]]) -> None:
    trees = tables.trees
    trees["job_ids"].clear()
    tables.values.clear()
    for job_id, values in jobs.items():
        trees["jobs"][job_id] = encode([values.get(name) for name in target.job])
        trees["job_ids"][_key(target, values)] = job_id
        for name, declared in target.job.items():
            if declared.type not in ("list", "dict"):
                key = value_key(ordered(values.get(name)), job_id)
                tables.values.tree(name).insert(key)
    tables.replace_schema(target)


def _changed_runs(
    tables: Tables, target: Schema, instructions: Instructions
) -> Iterator[tuple[int, dict[str, Any]]]:
    declared = set(tables.schema.run)
    for run_id in tables.run_ids():
        row = dict(tables.run(run_id))
        row.pop("id")
        mine = {name: row.pop(name) for name in list(row) if name in declared}
        if not mine:
            continue  # what is not declared is not touched
        renamed = _retyped(_renamed(mine, instructions), target.run)
        converted = target.convert_run(renamed)
        is_same_set = converted.keys() == mine.keys()
        if not (is_same_set and all(is_same(converted[n], v) for n, v in mine.items())):
            yield run_id, {**row, **converted}


def _identities(
    tables: Tables,
    old: Schema,
    target: Schema,
    runs: Mapping[int, Mapping[str, Any]],
    instructions: Instructions,
) -> tuple[dict[bytes, tuple[bytes, int]], list[int]]:
    """New keys of the tasks whose declared entries changed, by their old keys; and the runs
    whose entries at their creation are no longer known, which keep the key they have."""
    keys = {run_id: key for key, run_id in tables.trees["tasks"].items() if run_id in runs}
    changed: dict[bytes, tuple[bytes, int]] = {}
    without: list[int] = []
    usual: dict[tuple[str, ...], None] = {}
    for run_id, new_row in runs.items():
        key = keys[run_id]
        found = _entries_at_creation(tables.run(run_id), old, key, usual)
        if found is None:
            without.append(run_id)
        elif found:
            names = {instructions.renamed.get(name, name) for name in found}
            names &= {*target.run, *UNDECLARED} & new_row.keys()
            kept = tuple((name, new_row[name]) for name in sorted(names))
            mark = digest(list(_identity(new_row, kept)))
            changed[key] = (key[:8] + mark, run_id)
    return changed, without


def _entries_at_creation(
    row: Mapping[str, Any], old: Schema, key: bytes, usual: dict[tuple[str, ...], None]
) -> tuple[str, ...] | None:
    """Which declared entries made the task, found by trying those that made others, which is
    kept in ``usual``, and then what is likely; None when none of them fits."""
    names = [name for name in sorted({*old.run, *UNDECLARED}) if name in row]
    likely = {name for name in names if name in old.run and old.run[name].has_default}
    others = islice(_around(likely, names), _MOST_TRIED)
    for chosen in chain((some for some in usual if row.keys() >= set(some)), others):
        mark = digest(list(_identity(row, tuple((n, row[n]) for n in chosen))))
        if key.endswith(mark):
            usual[chosen] = None
            return chosen
    return None


def _around(likely: set[str], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All sets of these names, the most likely one first, and then what differs least."""
    for size in range(len(names) + 1):
        for other in combinations(names, size):
            yield tuple(sorted(likely.symmetric_difference(other)))


def _identity(row: Mapping[str, Any], declared: tuple[tuple[str, Any], ...]) -> TaskIdentity:
    return TaskIdentity(
        row["run_name"], row.get("nproc", 1), row.get("machine_name", ""), declared
    )
