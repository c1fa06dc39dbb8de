"""Comparing indexes and counters of a study's database with a full scan."""

from __future__ import annotations

from motoko.store.codec import ordered
from motoko.store.index import value_key
from motoko.store.tables import Tables


def problems(tables: Tables) -> list[str]:
    """What in the database contradicts itself, in words; nothing, if all is well.

    Reads everything: seconds at a hundred thousand runs.
    """
    rows = {run_id: tables.run(run_id) for run_id in tables.run_ids()}
    found = tables.groups.rebuilt(
        {run_id: (row["run_name"], row["state"]) for run_id, row in rows.items()}
    )
    tasks = tables.task_index()
    jobs_of_tasks = {run_id: job_id for job_id, run_id in tasks}
    if jobs_of_tasks != {run_id: row["job_id"] for run_id, row in rows.items()}:
        found.append("the index of tasks differs from the runs")
    if len(jobs_of_tasks) != len(tasks):
        found.append("a run stands for two tasks")
    if list(rows) != list(range(1, len(rows) + 1)) and not tables.fact("has_deleted"):
        found.append("ids of runs are not consecutive")
    job_ids = list(tables.job_ids())
    for job_id in job_ids:
        values = {k: v for k, v in tables.job(job_id).items() if k != "id"}
        if tables.find_job(values) != job_id:
            found.append(f"job {job_id} is not found by its values")
    for name, field in tables.schema.job.items():
        if field.type in ("list", "dict") or not tables.values.is_indexed(name):
            continue
        expected = [value_key(ordered(tables.job(i).get(name)), i) for i in job_ids]
        if sorted(expected) != list(tables.values.tree(name)):
            found.append(f"the index of job value {name!r} differs from the jobs")
    return found
