"""Rows of runs, and everything that is known of one run."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.columns import HIDDEN
from motoko.job import layout
from motoko.model import states
from motoko.study.records import split_run_name
from motoko.study.system_dirs import placed
from motoko.study.waiting import failed_run
from motoko.workflow.views.elapsed import elapsed_s

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

#: What comes first of a run.
FIRST_ENTRIES = ("id", "run_name", "state")


@dataclass
class Listed:
    """Runs as JSON has them, the declared names, and how many runs there are in all."""

    rows: list[dict[str, Any]]
    declared: tuple[list[str], list[str]]
    n_runs: int


def listed(
    study: Study, constraints: list[str], *, run_name: str | None, limit: int | None
) -> Listed:
    """The runs that constraints hold for; the latest of them, up to a limit."""
    with study.database.read() as tables:
        constraint = tables.parse(constraints)
        if run_name is not None:
            constraint = constraint.restricted_to(run_name)
        ids = tables.select(constraint)
        chosen = ids if limit is None else ids[-limit:]
        rows = [_row(study, tables, run_id) for run_id in chosen]
        declared = (list(tables.schema.job), list(tables.schema.run))
    return Listed(rows, declared, len(ids))


def _row(study: Study, tables: Tables, run_id: int) -> dict[str, Any]:
    run = placed(tables.run(run_id), study.directory)
    job = {k: v for k, v in tables.job(run["job_id"]).items() if k != "id"}
    is_bad = states.is_bad(run["state"])
    return {
        "run": f"{study.name}.{run_id}",
        **{name: run.get(name) for name in FIRST_ENTRIES},
        "job": job,
        "entries": {k: v for k, v in run.items() if k not in HIDDEN},
        "elapsed_s": elapsed_s(study, run, tables.attempts(run_id)),
        "cause": failed_run(study, tables, run_id).cause if is_bad else None,
    }


@dataclass
class Card:
    """Everything that is known of one run."""

    study: str
    run: dict[str, Any]
    job: dict[str, Any]
    attempts: list[dict[str, Any]]
    quantities: dict[str, tuple[Any, Any]]
    paths: dict[str, str]
    cause: str | None
    #: Which code it was made with: what is known of that.
    code: dict[str, Any]
    #: How long it took, or has taken until now.
    elapsed_s: float | None

    @property
    def warnings(self) -> list[str]:
        """What was odd about the present attempt."""
        last = self.attempts[-1] if self.attempts else {}
        return list(last.get("warnings") or ())

    @property
    def earlier_attempts(self) -> list[dict[str, Any]]:
        """Those before the present one; all of them when the next one has not begun."""
        if self.run["state"] == states.CREATED:
            return self.attempts
        present = self.run.get("attempt", 0)
        return [attempt for attempt in self.attempts if attempt["number"] < present]

    @property
    def next_commands(self) -> list[str]:
        """What a user types to look further, and to try a failed run again."""
        name = f"{self.study}.{self.run['id']}"
        log = self.paths.get("standard error") or self.paths.get("standard output")
        look = [shlex.join(["less", log])] if log else []
        return [*look, f"motoko why {name} -v", f"motoko runs retry {name}"]

    def as_json(self) -> dict[str, Any]:
        """The documented keys of ``motoko runs show --json``."""
        last = self.attempts[-1] if self.attempts else {}
        failure = None
        if self.cause is not None:
            keys = ("class", "exit_code", "signal", "host", "pid", "start_time", "end_time")
            failure = {
                "cause": self.cause,
                **{key: last.get(key) for key in (*keys, "stderr", "warnings")},
                "n_attempts": len(self.attempts),
                "next_commands": self.next_commands,
            }
        return {
            "run": f"{self.study}.{self.run['id']}",
            "state": self.run["state"],
            "job": self.job,
            "entries": self.run,
            "attempts": self.attempts,
            "quantities": {k: {"step": s, "value": v} for k, (s, v) in self.quantities.items()},
            "paths": self.paths,
            "code": self.code,
            "failure": failure,
        }


def card(workflow: Workflow, name: str) -> Card:
    """The card of the run ``study.id``. RunNotFound, UnknownTaskManager, WorkflowError."""
    manager, run_id = split_run_name(name)
    study = workflow.task_manager(manager).base
    with study.database.read() as tables:
        row = placed(tables.run(run_id), study.directory)
        run = {k: v for k, v in row.items() if k not in HIDDEN}
        job = dict(tables.job(row["job_id"]))
        attempts = [
            {k: v for k, v in a.items() if k != "nonce"} for a in tables.attempts(run_id)
        ]
        quantities = tables.quantities(run_id)
        is_bad = states.is_bad(row["state"])
        cause = failed_run(study, tables, run_id).cause if is_bad else None
        manifest = tables.manifest(row.get("files")) or {}
    paths = _paths(study, run)
    return Card(
        study=study.name,
        run={"id": run_id, **run},
        job=job,
        attempts=attempts,
        quantities=quantities,
        paths=paths,
        cause=cause,
        code=_code(study, manifest),
        elapsed_s=elapsed_s(study, row, attempts),
    )


def _code(study: Study, manifest: dict[str, Any]) -> dict[str, Any]:
    """What a run was made with, as far as it is known, and what of it is other now."""
    if not manifest:
        return {}
    code = manifest.get("code", {})
    return {
        "given": {entry["name"]: entry["hash"] for entry in manifest["files"]},
        "commit": code.get("commit"),
        "is_changed": code.get("is_changed"),
        "python": study.versions.stored(code, "python"),
        "files": study.versions.stored(code, "files"),
        "changed_since": study.versions.changed_since(code),
    }


def _paths(study: Study, run: dict[str, Any]) -> dict[str, str]:
    directory = study.run_dir(run["id"])
    if not directory.is_dir():
        return {}
    name = str(run["run_name"])
    found = {
        "directory": str(directory),
        "standard output": layout.output_file(str(directory), name, run["id"]),
        "standard error": layout.error_file(str(directory), name, run["id"]),
    }
    return {what: path for what, path in found.items() if Path(os.fspath(path)).exists()}
