"""Selections as scripts for analysis make them: lists of runs with their jobs, and of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from motoko.compat.base import Base
from motoko.errors import ConditionError, ConstraintError

if TYPE_CHECKING:
    from motoko.study.records import Job, Run
    from motoko.study.study import Study

Constraints = str | Sequence[str] | Mapping[str, Any] | None


class _Selector:
    def __init__(self, base: Any) -> None:
        """``base`` is a `Base`, or the ``base`` of a task manager."""
        self.base = base
        self._study: Study = base.study if isinstance(base, Base) else base


class RunSelector(_Selector):
    """Selects runs of a study."""

    def selectRuns(
        self, constraints: Constraints = None, sort_by: Any = None, quiet: bool = False
    ) -> list[tuple[Run, Job]]:
        """The runs that constraints hold for, with their jobs, by id or as ``sort_by`` says.

        Constraints are a text, a list of texts, or a mapping that may have ``constraints``,
        ``run_id`` and ``job_id`` (what `BDParser` gives). ``sort_by`` names entries; runs that
        lack one come last. ``quiet`` is accepted: nothing is printed anyway.
        """
        ids = self._study.select(self._study.parse(_texts(constraints, "run_id", "job_id")))
        return _ordered(self._study.pairs(ids), sort_by)


class JobSelector(_Selector):
    """Selects jobs of a study."""

    def selectJobs(
        self, constraints: Constraints = None, sort_by: Any = None, quiet: bool = False
    ) -> list[Job]:
        """The jobs that constraints hold for, by id or as ``sort_by`` says.

        As in `RunSelector.selectRuns`, but on parameters of jobs alone; ``id`` is the job's.
        """
        if isinstance(constraints, Mapping):
            constraints = {**constraints, "run_id": None}
        constraint = self._study.parse(_texts(constraints, "run_id", "jobs.id"))
        on_runs = sorted(f for f in constraint.fields if f.startswith("runs.") and f != _JOB_ID)
        if on_runs:
            why = (
                f"{on_runs[0]} is an entry of runs, and jobs are selected (jobs.id is a job's)"
            )
            raise ConstraintError(constraint.text, 0, why)
        jobs = [self._study.job(i) for i in self._study.jobs]
        found = [j for j in jobs if constraint.matches({"job_id": j.id}, j.entries)]
        return [job for _, job in _ordered([(job, job) for job in found], sort_by)]


#: What a constraint on the id of a job reads.
_JOB_ID = "runs.job_id"


def _texts(constraints: Constraints, run_id: str, job_id: str) -> list[str]:
    if constraints is None:
        return []
    if isinstance(constraints, str):
        return [constraints]
    if isinstance(constraints, Mapping):
        found = _texts(constraints.get("constraints"), run_id, job_id)
        for key, name in (("run_id", "runs.id"), ("job_id", job_id)):
            if constraints.get(key) is not None:
                found.append(f"{name} = {constraints[key]}")
        return found
    if isinstance(constraints, Sequence):
        return list(constraints)
    kind = type(constraints).__name__
    why = f"constraints are text, a list of texts or a mapping, not {kind}"
    raise ConditionError("a selection", why)


def _ordered(pairs: list[Any], sort_by: Any) -> list[Any]:
    if not sort_by:
        return pairs
    names = [sort_by] if isinstance(sort_by, str) else list(sort_by)

    def key(pair: Any) -> list[tuple[bool, str, Any]]:
        return [_rank(_value(pair, name)) for name in names]

    return sorted(pairs, key=key)


def _value(pair: Any, name: str) -> Any:
    of, _, entry = name.rpartition(".")
    run, job = pair
    if of in ("jobs", "job"):
        return job[entry]
    if of in ("runs", "run") or entry.lower() not in job.types:
        return run[entry]
    return job[entry]


def _rank(value: Any) -> tuple[bool, str, Any]:
    """Numbers in their order, texts in theirs, anything else as it is written."""
    if isinstance(value, int | float):
        return (False, "", value)
    return (value is None, type(value).__name__, str(value))
