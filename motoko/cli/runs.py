"""What ``motoko runs`` shows: lists of runs, and the card of one."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.cli import words
from motoko.errors import WorkflowError
from motoko.job import layout
from motoko.model import states
from motoko.model.schema import RUN_ENTRIES
from motoko.study.waiting import failed_run

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

_WHOLE_CONSTRAINT = re.compile(r"\s*[\w.]+\s*(=|!|<|>|~).*\S", re.DOTALL)
_HIDDEN = frozenset({"nonce", "files", "has_finished"})
_FIRST_COLUMNS = ("id", "run_name", "state")


def as_constraints(texts: Sequence[str]) -> list[str]:
    """Constraints from a command line: one an argument, or one split by the shell."""
    if all(_WHOLE_CONSTRAINT.fullmatch(text) for text in texts):
        return list(texts)
    return [" ".join(texts)]


@dataclass
class Listed:
    """Runs as JSON has them, the declared names, and how many runs there are in all."""

    rows: list[dict[str, Any]]
    declared: tuple[list[str], list[str]]
    n_runs: int

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Headers and cells for people."""
        job, run = self.declared
        headers = [*_FIRST_COLUMNS, *job, *(f"run.{n}" if n in job else n for n in run)]
        cells = [
            [
                *(row[name] for name in _FIRST_COLUMNS),
                *(row["job"].get(name) for name in job),
                *(row["entries"].get(name) for name in run),
                "" if row["elapsed_s"] is None else words.duration(row["elapsed_s"]),
                row["cause"],
            ]
            for row in self.rows
        ]
        if all(row["cause"] is None for row in self.rows):
            cells = [line[:-1] for line in cells]
            return [*headers, "took"], cells
        return [*headers, "took", "cause"], cells


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
    run = tables.run(run_id)
    job = {k: v for k, v in tables.job(run["job_id"]).items() if k != "id"}
    is_bad = states.is_bad(run["state"])
    return {
        "run": f"{study.name}.{run_id}",
        **{name: run.get(name) for name in _FIRST_COLUMNS},
        "job": job,
        "entries": {k: v for k, v in run.items() if k not in _HIDDEN},
        "elapsed_s": _elapsed(run),
        "cause": failed_run(study, tables, run_id).cause if is_bad else None,
    }


def _elapsed(run: Any) -> float | None:
    start = run.get("start_time")
    if start is None:
        return None
    end = run.get("end_time")
    if end is None and run["state"] in states.ACTIVE:
        end = time.time()
    return None if end is None else max(0.0, end - start)


@dataclass
class Card:
    """Everything that is known of one run."""

    title: str
    study: str
    run: dict[str, Any]
    job: dict[str, Any]
    attempts: list[dict[str, Any]]
    quantities: dict[str, tuple[Any, Any]]
    paths: dict[str, str]
    cause: str | None
    next_command: str | None

    def as_json(self) -> dict[str, Any]:
        """The documented keys of ``motoko runs show --json``."""
        last = self.attempts[-1] if self.attempts else {}
        failure = None
        if self.cause is not None:
            keys = ("class", "exit_code", "signal", "host", "stderr")
            failure = {"cause": self.cause, **{key: last.get(key) for key in keys}}
        return {
            "run": f"{self.study}.{self.run['id']}",
            "state": self.run["state"],
            "job": self.job,
            "entries": self.run,
            "attempts": self.attempts,
            "quantities": {k: {"step": s, "value": v} for k, (s, v) in self.quantities.items()},
            "paths": self.paths,
            "failure": failure,
        }

    def sections(self) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
        """Headings, with names and values below them."""
        if self.cause is not None:
            yield "failure", self._failure()
        yield "job", [(k, v) for k, v in self.job.items() if k != "id"]
        own = [(k, v) for k, v in self.run.items() if k not in RUN_ENTRIES]
        yield "entries", own
        last = [(k, f"{words.value(v)} (step {s})") for k, (s, v) in self.quantities.items()]
        yield "quantities", last
        yield "run", self._run()
        earlier = self.attempts[:-1]
        yield (
            "earlier attempts",
            [(str(a["number"]), words.Whole(_in_words(a))) for a in earlier],
        )
        yield "paths", [(k, words.Whole(v)) for k, v in self.paths.items()]

    def _failure(self) -> list[tuple[str, Any]]:
        last = self.attempts[-1] if self.attempts else {}
        warnings = last.get("warnings") or ()
        return [
            ("class", last.get("class")),
            ("cause", words.Whole(self.cause or "")),
            ("exit code", _exit_code(last)),
            ("host", last.get("host")),
            ("last lines", words.Whole(last.get("stderr") or "")),
            ("warnings", words.Whole("\n".join(warnings))),
            ("look further", words.Whole(self.next_command or "")),
        ]

    def _run(self) -> list[tuple[str, Any]]:
        run = self.run
        elapsed = _elapsed(run)
        return [
            ("run name", words.Whole(run["run_name"])),
            ("created by", run.get("event_name")),
            ("job", run["job_id"]),
            ("cores", run.get("nproc")),
            ("attempt", run.get("attempt")),
            ("created", words.moment(run.get("create_time"))),
            ("started", words.moment(run.get("start_time"))),
            ("ended", words.moment(run.get("end_time"))),
            ("took", None if elapsed is None else words.duration(elapsed)),
            ("last step", run.get("last_step")),
        ]


def _exit_code(attempt: dict[str, Any]) -> str | None:
    code = attempt.get("exit_code")
    if attempt.get("signal"):
        return f"none: ended by {attempt['signal']}"
    if code is None:
        return None
    if code > 128 and code - 128 in {s.value for s in signal.Signals}:
        return f"{code} (a program was ended by {signal.Signals(code - 128).name})"
    return str(code)


def _in_words(attempt: dict[str, Any]) -> str:
    parts = [str(attempt.get("state", "")), str(attempt.get("cause") or "")]
    parts.append(words.moment(attempt.get("start_time")))
    return ", ".join(part for part in parts if part)


def card(workflow: Workflow, name: str) -> Card:
    """The card of the run ``study.id``. RunNotFound, UnknownTaskManager, WorkflowError."""
    manager, _, number = name.rpartition(".")
    if not manager or not number.isdigit():
        raise WorkflowError(f"{name!r} does not name a run; write study.id, as in mult.3")
    study = workflow.task_manager(manager).base
    run_id = int(number)
    with study.database.read() as tables:
        row = tables.run(run_id)
        run = {k: v for k, v in row.items() if k not in _HIDDEN}
        job = dict(tables.job(row["job_id"]))
        attempts = [
            {k: v for k, v in a.items() if k != "nonce"} for a in tables.attempts(run_id)
        ]
        quantities = tables.quantities(run_id)
        is_bad = states.is_bad(row["state"])
        cause = failed_run(study, tables, run_id).cause if is_bad else None
    paths = _paths(study, run)
    log = paths.get("standard error")
    return Card(
        title=f"{study.name}.{run_id}  {run['state']}",
        study=study.name,
        run={"id": run_id, **run},
        job=job,
        attempts=attempts,
        quantities=quantities,
        paths=paths,
        cause=cause,
        next_command=f"less {log}" if cause is not None and log else None,
    )


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
