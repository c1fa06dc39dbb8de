"""Taking runs out of a study's database, with everything that is kept of them."""

from __future__ import annotations

from collections.abc import Iterable

from motoko.store.codec import ordered
from motoko.store.index import value_key
from motoko.store.layout import DELETED_RUNS, HAS_DELETED, rest_on
from motoko.store.ranges import numbers, ranges
from motoko.store.tables import Tables


def delete_runs(tables: Tables, run_ids: Iterable[int]) -> None:
    """Remove runs, and the jobs on which no run is left. RunNotFound before anything is.

    Conflicts with whoever makes runs meanwhile: each sees what the other has done.
    """
    ids = sorted(set(run_ids))
    rows = {run_id: tables.run(run_id) for run_id in ids}
    for run_id, row in rows.items():
        tables.groups.remove(run_id, tables.groups.of(row))
        del tables.trees["runs"][run_id]
        for name in ("attempts", "quantities"):
            tables.trees[name].pop(run_id, None)
        tables.changed.add(run_id)
    by_job: dict[int, set[int]] = {}
    for run_id, row in rows.items():
        by_job.setdefault(row["job_id"], set()).add(run_id)
    for job_id, gone in by_job.items():
        _forget_tasks(tables, job_id, gone)
        if not tables.runs_of(job_id):
            rest_on(tables.trees["last"])  # of whoever makes a run, perhaps on this job
            _delete_job(tables, job_id)
    if ids:
        tables.set_fact(HAS_DELETED, True)
        tables.set_fact(DELETED_RUNS, ranges({*deleted_runs(tables), *ids}))


def deleted_runs(tables: Tables) -> list[int]:
    """The runs that were deleted, as far as the database knows which."""
    return numbers(tables.fact(DELETED_RUNS) or [])


def _forget_tasks(tables: Tables, job_id: int, run_ids: set[int]) -> None:
    tasks = tables.trees["tasks"]
    low = job_id.to_bytes(8, "big")
    found = [key for key, i in tasks.items(low, low + b"\xff" * 13) if i in run_ids]
    for key in found:
        del tasks[key]


def _delete_job(tables: Tables, job_id: int) -> None:
    values = tables.job(job_id)
    keys = {name: ordered(values.get(name)) for name in tables.schema.job}
    for name, key in keys.items():
        if tables.values.is_indexed(name):
            tree = tables.values.tree(name)
            member = value_key(key, job_id)
            if member in tree:
                tree.remove(member)
    del tables.trees["job_ids"][b"".join(keys.values())]
    del tables.trees["jobs"][job_id]
