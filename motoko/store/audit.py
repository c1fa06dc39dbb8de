"""Comparing what a database keeps in several places: rows, indexes and counters."""

from __future__ import annotations

from typing import Any

from BTrees.check import check

from motoko.store.codec import ordered
from motoko.store.index import value_key
from motoko.store.layout import HAS_DELETED
from motoko.store.ledger import Ledger
from motoko.store.tables import Tables


def problems(tables: Tables) -> list[str]:
    """What in the database contradicts itself, in words; nothing, if all is well.

    Reads everything: seconds at a hundred thousand runs.
    """
    rows = {run_id: tables.run(run_id) for run_id in tables.run_ids()}
    found = tables.groups.differences(rows)
    found += [
        f"run {run_id} is on job {row['job_id']}, which is not there"
        for run_id, row in rows.items()
        if not tables.has_job(row["job_id"])
    ]
    manifests = tables.manifests()
    found += [
        f"run {run_id} has files that nothing is known of"
        for run_id, row in rows.items()
        if row.get("files") is not None and row["files"] not in manifests
    ]
    found += [
        f"the {name} of run {run_id} are kept, and there is no such run"
        for name in ("attempts", "quantities")
        for run_id in tables.trees[name]
        if run_id not in rows
    ]
    if rows and tables.last_run_id < max(rows):
        found.append(f"the last id is said to be {tables.last_run_id}, not {max(rows)}")
    tasks = tables.task_index()
    jobs_of_tasks = {run_id: job_id for job_id, run_id in tasks}
    if jobs_of_tasks != {run_id: row["job_id"] for run_id, row in rows.items()}:
        found.append("the index of tasks differs from the runs")
    if len(jobs_of_tasks) != len(tasks):
        found.append("a run stands for two tasks")
    if list(rows) != list(range(1, len(rows) + 1)) and not tables.fact(HAS_DELETED):
        found.append("ids of runs are not consecutive")
    job_ids = list(tables.job_ids())
    for job_id in job_ids:
        values = {k: v for k, v in tables.job(job_id).items() if k != "id"}
        if tables.find_job(values) != job_id:
            found.append(f"job {job_id} is not found by its values")
    if len(tables.trees["job_ids"]) != len(job_ids):
        found.append("the index of jobs has others than there are")
    if job_ids and tables.n_jobs < max(job_ids):
        found.append(f"the last job is said to be {tables.n_jobs}, not {max(job_ids)}")
    for name, field in tables.schema.job.items():
        if field.type in ("list", "dict") or not tables.values.is_indexed(name):
            continue
        expected = [value_key(ordered(tables.job(i).get(name)), i) for i in job_ids]
        if sorted(expected) != list(tables.values.tree(name)):
            found.append(f"the index of job value {name!r} differs from the jobs")
    return found


def structure(view: Tables | Ledger) -> list[str]:
    """Which trees of a database cannot be read or are inconsistent in themselves, in words."""
    found = []
    for name, tree in view.trees.items():
        if not hasattr(tree, "keys"):
            continue
        try:
            check(tree)
            for _ in tree.items() if hasattr(tree, "items") else tree:
                pass
        except Exception as error:  # whatever damaged bytes are taken for
            found.append(f"the tree {name!r} is damaged: {type(error).__name__}: {error}")
    return found


def ledger_problems(ledger: Ledger) -> list[str]:
    """What in the workflow's database contradicts itself, in words."""
    found = structure(ledger)
    if found:
        return found
    firings: dict[str, dict[str, Any]] = ledger.firings()
    still_open = {key for key, record in firings.items() if record["ended"] is None}
    if still_open != set(ledger.trees["open"]):
        found.append("the index of open firings differs from the firings")
    found += [
        f"an action is said to have fired ({where}), and there is no record of it"
        for where, key in ledger.trees["fired"].items()
        if key not in firings
    ]
    return found
