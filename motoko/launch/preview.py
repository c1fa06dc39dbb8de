"""The scripts that a batch system would be given, of runs that were not handed to it yet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from motoko.errors import LaunchError
from motoko.job import layout
from motoko.launch.attempt import Attempt
from motoko.launch.batch_executor import job_script, render, shape_of
from motoko.launch.batch_generator import BatchGenerator, Shape
from motoko.launch.environment import Environment
from motoko.launch.generator import Generator
from motoko.launch.ticket import job_name
from motoko.model import states
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


def previews(study: Study, generator: Generator, python_dir: Path) -> list[Preview]:
    """One for each shape among the runs that wait to begin; none for processes.

    ValueError, ReservedOption for what cannot be asked for.
    """
    if not isinstance(generator, BatchGenerator):
        return []
    found: dict[Shape, list[int]] = {}
    with study.database.read() as tables:
        rows = {
            run_id: dict(tables.run(run_id))
            for run_id in tables.first(states.CREATED, _MOST_LOOKED_AT)
        }
    for run_id, row in rows.items():
        shape = shape_of(study, generator, _attempt(study, row))
        found.setdefault(shape, []).append(run_id)
    command = " ".join(generator.submit_command(layout.job_script(1)))
    return [
        Preview(
            f"{study.name}.{ids[0]}",
            len(ids),
            command,
            rendered(study, generator, rows[ids[0]], python_dir),
        )
        for ids in found.values()
    ]


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
        return file.read_text()
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
    attempt = _attempt(study, row)
    environment = Environment(study, python_dir, os.environ)
    name = job_name(study.name, attempt.run_id, attempt.number, attempt.nonce)
    script = job_script(study, environment, attempt, "")
    return render(generator, script, name, shape_of(study, generator, attempt))


def _attempt(study: Study, row: Mapping[str, object]) -> Attempt:
    number = row.get("attempt", 0)
    assert isinstance(number, int) and isinstance(row["id"], int)
    return Attempt(
        study.schema,
        {**row, "attempt": number + 1, "nonce": _NONCE},
        {},
        str(study.run_dir(row["id"])),
        manifest=None,
        default_walltime=study.config.walltime,
    )
