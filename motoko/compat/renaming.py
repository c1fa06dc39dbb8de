"""Names that entries have in a database of BlackDynamite and cannot have here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from motoko.columns import BUILT_IN, FIXED, NOTED, RUN_ENTRIES, TELLING, UNDECLARED

if TYPE_CHECKING:
    from motoko.store.foreign import ForeignStudy

T = TypeVar("T")

#: What every run has there, and has here under the same name.
SAME = frozenset(
    {"job_id", "run_name", "event_name", "start_time", "last_step", "last_step_time"}
)
#: What every run has there under a name that is Motoko's own here, or that says nothing here.
LEFT_OUT = frozenset({"id", "exec", "run_path", "workflow"})
_OF_JOBS = frozenset({"id", *RUN_ENTRIES, "self", "run_params", "commit"})


def rename(found: ForeignStudy) -> str:
    """Give the entries of jobs and runs names that they can have here; which these are."""
    of_jobs = _renamed({*found.job_types, *_used(found.jobs)} - {"id"}, _OF_JOBS)
    known = {*found.run_types, *_used(found.runs)} - SAME - LEFT_OUT
    of_runs = _renamed(known, (FIXED | TELLING) - _telling_apart(found.run_types))
    found.job_types = _with(of_jobs, found.job_types)
    found.run_types = _with(of_runs, found.run_types)
    found.jobs = {job_id: _with(of_jobs, values) for job_id, values in found.jobs.items()}
    found.runs = {run_id: _with(of_runs, entries) for run_id, entries in found.runs.items()}
    changed = {old: new for old, new in {**of_jobs, **of_runs}.items() if old != new}
    return ", ".join(f"{old} is {new}" for old, new in sorted(changed.items()))


def _telling_apart(declared: Collection[str]) -> set[str]:
    """Those of the declared entries of runs that tell tasks apart here as they do there."""
    return ({*UNDECLARED} - NOTED) & {*declared}


def _used(records: Mapping[int, Mapping[str, Any]]) -> set[str]:
    return {name for entries in records.values() for name in entries}


def _with(names: Mapping[str, str], values: Mapping[str, T]) -> dict[str, T]:
    return {names.get(name, name): value for name, value in values.items()}


def _renamed(names: Collection[str], taken: frozenset[str]) -> dict[str, str]:
    """A name for each of these, the same one where it can be, and no two alike."""
    names = sorted(names)
    found = {name: name for name in names if name.isidentifier() and name not in taken}
    used = {*found, *BUILT_IN, *taken}
    for name in names:
        if name not in found:
            new = re.sub(r"\W", "_", name)
            if not new.isidentifier():
                new = f"_{new}"
            while new in used:
                new += "_there" if new in taken else "_"
            found[name] = new
            used.add(new)
    return found
