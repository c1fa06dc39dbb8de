"""The scripts that a batch system would be given, of runs that were not handed to it yet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from motoko.errors import LaunchError
from motoko.job import layout
from motoko.launch.allowance import allow
from motoko.launch.attempt import Attempt
from motoko.launch.batch_generator import BatchGenerator, Shape
from motoko.launch.environment import Environment
from motoko.launch.generator import Generator
from motoko.launch.grouping import Grouped, group_script
from motoko.launch.rendering import asked_walltime_s, job_script, render, shape_of
from motoko.launch.room import MOST_SUBMITTED
from motoko.launch.starter import least
from motoko.launch.ticket import Tickets, group_script_file, job_name
from motoko.launch.work import LIMITS
from motoko.study.study import Study

#: Stands where an attempt that has begun has a word of its own.
_NONCE = "not-submitted"
_MOST_LOOKED_AT = 1000


class Preview(NamedTuple):
    """What would be submitted for runs that ask for the same."""

    run: str
    n_runs: int
    command: str
    script: str


class _Most(NamedTuple):
    """How many jobs of a study there may be, and how many of them may execute at once."""

    submitted: int
    at_once: int | None


def previews(
    study: Study,
    generator: Generator,
    python_dir: Path,
    shared: Mapping[str, int | None] = MappingProxyType({}),
) -> list[Preview]:
    """One for each shape among the runs that wait to begin; none for processes.

    ``shared`` are the limits of the whole workflow, as its file has them. ValueError,
    ReservedOption for what cannot be asked for.
    """
    if not isinstance(generator, BatchGenerator):
        return []
    found: dict[Shape, list[int]] = {}
    with study.database.read() as tables:
        rows = {run_id: dict(tables.run(run_id)) for run_id in tables.ready(_MOST_LOOKED_AT)}
        most = _most(study, shared, tables.fact(LIMITS) or {})
    for run_id, row in rows.items():
        shape = shape_of(study, generator, _attempt(study, generator, row))
        found.setdefault(shape, []).append(run_id)
    return [
        _preview(study, generator, shape, [rows[i] for i in ids], most, python_dir)
        for shape, ids in found.items()
    ]


def _most(study: Study, shared: Mapping[str, int | None], changed: Mapping[str, int]) -> _Most:
    """By the files, and by what was ``changed`` since."""

    def own(name: str) -> int | None:
        found: int | None = changed.get(name, getattr(study.config, name))
        return found

    def all_together(name: str) -> int | None:
        return changed.get(f"workflow.{name}", shared.get(name))

    at_once = all_together("max_concurrent")
    submitted = all_together("max_submitted") or max(MOST_SUBMITTED, at_once or 0)
    return _Most(
        min(submitted, own("max_submitted") or submitted), least(own("max_concurrent"), at_once)
    )


def _preview(
    study: Study,
    generator: BatchGenerator,
    shape: Shape,
    rows: Sequence[Mapping[str, object]],
    limits: _Most,
    python_dir: Path,
) -> Preview:
    config = study.config
    at_once = limits.at_once
    grouped = Grouped(config.array and generator.has_arrays, config.pack or 1)
    most = grouped.most
    if grouped.pack == 1:
        is_whole = bool(generator.throttle_command("", 1))
        most = min(most, limits.submitted)
        most = most if is_whole else least(most, at_once) or most
    attempts = [_attempt(study, generator, row) for row in rows[:most]]
    if grouped.has_array and at_once is not None and at_once < len(attempts):
        grouped = grouped._replace(most_at_once=at_once)
    first, file = attempts[0], layout.job_script(attempts[0].number)
    script = rendered(study, generator, rows[0], python_dir)
    if len(attempts) > 1:
        name = job_name(study.name, first.run_id, first.number, first.nonce)
        files = [f"{Path(a.run_dir).name}/{layout.job_script(a.number)}" for a in attempts]
        place = str(study.runs_dir)
        whole = group_script(generator, name, shape, place, files, grouped)
        script, file = _with_own(whole, first.title, script), group_script_file(name)
    command = " ".join(generator.submit_command(file))
    return Preview(first.title, len(rows), command, script)


def _with_own(whole: str, title: str, own: str) -> str:
    """What several runs are submitted by, and what one of them executes then."""
    return (
        f"{whole}\n# What run {title} executes, where its own directives mean nothing:\n{own}"
    )


def script_of(
    study: Study, generator: Generator, row: Mapping[str, object], python_dir: Path
) -> str:
    """The script of a run: as it was submitted, or as it would be.

    LaunchError when its generator submits none.
    """
    number = row.get("attempt", 0)
    assert isinstance(number, int) and isinstance(row["id"], int)
    file = Path(study.run_dir(row["id"]), layout.job_script(number))
    if file.is_file():
        own = file.read_text()
        ticket = Tickets(study.runs_dir).of(str(file.parent), number, str(row.get("nonce")))
        if ticket is not None:
            whole = study.runs_dir / group_script_file(ticket.name)
            if whole.is_file():
                return _with_own(whole.read_text(), f"{study.name}.{row['id']}", own)
        return own
    if not isinstance(generator, BatchGenerator):
        raise LaunchError(
            f"run {study.name}.{row['id']} has no script of a batch system:"
            f" {generator.name} executes {study.config.exec_file} as it is"
        )
    return rendered(study, generator, row, python_dir)


def rendered(
    study: Study, generator: BatchGenerator, row: Mapping[str, object], python_dir: Path
) -> str:
    """The script that a run would get now."""
    attempt = _attempt(study, generator, row)
    environment = Environment(study, python_dir, os.environ)
    name = job_name(study.name, attempt.run_id, attempt.number, attempt.nonce)
    script = job_script(study, environment, attempt, "")
    return render(generator, script, name, shape_of(study, generator, attempt))


def _attempt(study: Study, generator: BatchGenerator, row: Mapping[str, object]) -> Attempt:
    number = row.get("attempt", 0)
    assert isinstance(number, int) and isinstance(row["id"], int)
    attempt = Attempt(
        study.schema,
        {**row, "attempt": number + 1, "nonce": _NONCE},
        {},
        str(study.run_dir(row["id"])),
        manifest=None,
        default_walltime=study.config.walltime,
    )
    allow(attempt, study.config, asked_walltime_s(study.config, generator, row))
    return attempt
