"""Making a sound database of what was salvaged: indexes, groups and counters are made anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from motoko.columns import UNDECLARED
from motoko.model.schema import UNSET, Schema
from motoko.store.codec import decode, decode_run, digest, encode, encode_run, ordered
from motoko.store.index import value_key
from motoko.store.ledger import HAS_LOST_RUN_NAMES, Ledger
from motoko.store.salvage import Salvage
from motoko.store.tables import Tables, TaskIdentity

#: The fact which runs a repair could not bring back, as ranges.
LOST_RUNS = "lost_runs"
#: The fact which of them nobody was told of, or so that it is known, as ranges.
UNTOLD_RUNS = "untold_runs"
_AS_THEY_ARE = ("manifests", "entries", "attempts", "quantities")
_LEDGER_TREES = ("variables", "run_names", "firings", "fired", "commits", "meta")


@dataclass
class Filled:
    """What could not be put into a new database."""

    #: Runs whose job is lost, with their entries.
    without_job: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: Runs of which is not known which task they are.
    without_task: list[int] = field(default_factory=list)


def fill_study(tables: Tables, found: Salvage) -> Filled:
    """Put what was salvaged of a study into its new database."""
    content = found.trees
    filled = Filled()
    for name, raw in content["meta"].items():
        if name != "schema" or _is_schema(raw):
            tables.trees["meta"][name] = raw
    if "schema" in content["meta"] and _is_schema(content["meta"]["schema"]):
        tables.replace_schema(Schema.from_json(decode(content["meta"]["schema"])))
    fields = list(tables.schema.job)
    same_as: dict[int, int] = {}
    for job_id, raw in sorted(content["jobs"].items()):
        stored = decode(raw)
        if isinstance(stored, list) and len(stored) <= len(fields):
            values = {k: v for k, v in zip(fields, stored, strict=False) if v is not None}
            added = [tables.schema.job[name] for name in fields[len(stored) :]]
            values |= {f.name: f.backfill for f in added if f.backfill is not UNSET}
            same_as[job_id] = insert_job(tables, job_id, values)
    marks = {run_id: key for key, run_id in content["tasks"].items()}
    for run_id, raw in sorted(content["runs"].items()):
        row = _row(raw)
        if row is None:
            continue
        if row["job_id"] not in same_as:
            filled.without_job[run_id] = row
            continue
        row["job_id"] = same_as[row["job_id"]]
        known = marks.get(run_id, b"")[8:]
        if not insert_run(tables, run_id, row, known):
            filled.without_task.append(run_id)
    for name in _AS_THEY_ARE:
        is_of_runs = name in ("attempts", "quantities")
        tables.trees[name].update(
            {k: v for k, v in content[name].items() if not is_of_runs or tables.has_run(k)}
        )
    for mark in content["applied"]:
        if mark:
            tables.set_applied(mark)
    for name, last in content["last"].items():
        tables.trees["last"][name] = max(last, int(tables.trees["last"].get(name, 0)))
    return filled


def insert_job(tables: Tables, job_id: int, values: Mapping[str, Any]) -> int:
    """Put in a job under this id; the id of the job that has these values already, if any."""
    known = tables.find_job(values)
    if known is not None:
        return known
    if tables.has_job(job_id):
        return tables.create_job(values)
    trees = tables.trees
    trees["jobs"][job_id] = encode([values.get(name) for name in tables.schema.job])
    keys = {name: ordered(values.get(name)) for name in tables.schema.job}
    trees["job_ids"][b"".join(keys.values())] = job_id
    for name, declared in tables.schema.job.items():
        if declared.type not in ("list", "dict"):
            tables.values.tree(name).insert(value_key(keys[name], job_id))
    trees["last"]["job"] = max(job_id, tables.n_jobs)
    return job_id


def insert_run(tables: Tables, run_id: int, row: Mapping[str, Any], mark: bytes) -> bool:
    """Put in a run under its own id; whether it is known which task it is.

    ``mark`` is what makes the task together with the job; if it is lost, the entries that the
    run has now are taken for those that it was created with.
    """
    entries = {name: value for name, value in row.items() if name != "id"}
    job = int(entries["job_id"]).to_bytes(8, "big")
    tasks = tables.trees["tasks"]
    key = job + (mark or task_mark(tables.schema, entries))
    is_known = key not in tasks
    if not is_known:
        key = job + digest(["another run is this task", run_id])
    tasks[key] = run_id
    tables.trees["runs"][run_id] = encode_run(entries)
    tables.groups.add_many(tables.groups.of(entries), [run_id])
    tables.remember_entries(entries)
    tables.trees["last"]["run"] = max(run_id, tables.last_run_id)
    tables.changed.add(run_id)
    return is_known


def task_mark(schema: Schema, row: Mapping[str, Any]) -> bytes:
    """What makes a run a task of its job, if its declared entries are those of its creation."""
    declared = tuple((n, row[n]) for n in sorted({*schema.run, *UNDECLARED}) if n in row)
    identity = TaskIdentity(
        row["run_name"], row.get("nproc", 1), row.get("machine_name", ""), declared
    )
    return digest(list(identity))


def missing_runs(tables: Tables) -> list[int]:
    """Ids up to the last one that no run has."""
    present = set(tables.run_ids())
    return [run_id for run_id in range(1, tables.last_run_id + 1) if run_id not in present]


def fill_ledger(ledger: Ledger, found: Salvage) -> None:
    """Put what was salvaged of the workflow's own database into a new one."""
    for name in _LEDGER_TREES:
        ledger.trees[name].update(found.trees[name])
    firings = ledger.firings()
    for key, record in firings.items():
        if record["ended"] is None:
            ledger.trees["open"].insert(key)
    for where, key in found.trees["fired"].items():
        if key not in firings:
            del ledger.trees["fired"][where]
    if any(ledger.run_name(record["run_name"]) is None for record in firings.values()):
        ledger.set_fact(HAS_LOST_RUN_NAMES, True)


def forget_firings_of(ledger: Ledger, study: str, lost: Iterable[tuple[int, int]]) -> int:
    """Let actions that fire once fire again where the runs that they made are lost (ranges of
    ids); how many firings that concerns."""
    ranges = list(lost)
    keys = {
        key
        for key, record in ledger.firings().items()
        if record["once"]
        for first, last in record["created"].get(study, ())
        if any(first <= to and since <= last for since, to in ranges)
    }
    fired = ledger.trees["fired"]
    for where in [where for where, key in fired.items() if key in keys]:
        del fired[where]
    return len(keys)


def _row(raw: bytes) -> dict[str, Any] | None:
    """A run's entries; None if they lack what every run has."""
    try:
        row = decode_run(raw)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    kinds = {"job_id": int, "state": str, "run_name": str}
    is_run = all(isinstance(row.get(name), kind) for name, kind in kinds.items())
    return row if is_run else None


def _is_schema(raw: bytes) -> bool:
    try:
        Schema.from_json(decode(raw))
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return True
