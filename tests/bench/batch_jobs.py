"""Handing runs to a real Slurm on this machine, beside its own commands."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from motoko.job import layout
from motoko.job.outcome import read_outcome
from motoko.study.study import Study
from motoko.workflow import Workflow
from tests.bench.harness import NO_OP, Figures, execute, measured_workflow, timed
from tests.bench.peers import NotThere
from tests.support.systems import Daemons
from tests.support.waiting import wait_until

_OWN = "#!/bin/bash\n#SBATCH --hold --output=/dev/null\n" + NO_OP
_LONGEST_S = 300.0
#: One array takes so little time that the next moment's is another.
_N_ARRAYS = 5


@contextmanager
def slurm() -> Iterator[None]:
    """A Slurm without accounts for the time of the block."""
    if os.geteuid() != 0 or not shutil.which("slurmctld"):
        raise NotThere("Slurm's daemons, and to be root")
    daemons = Daemons()
    try:
        with daemons.slurm("none"):
            yield
    finally:
        daemons.stop()


def measure(n_jobs: int, n_rounds: int) -> list[Figures]:
    """Submissions a second, ours and Slurm's own; and from a job's end to FINISHED."""
    with slurm():
        found = [_submissions(n_jobs) for _ in range(n_rounds)]
        return found + _ends(max(3, n_jobs // 10))


def _submissions(n_jobs: int) -> Figures:
    single, array = _own(n_jobs)
    found = {"submit of sbatch in a loop": single, "submit array of sbatch --array": array}
    with _ours(n_jobs, "slurm_options: [hold]\n") as study:
        since = _first_script(study)
        found["submit"] = n_jobs / (_last_ticket(study, "run-*/.motoko-job-1.json") - since)
    arrays = [_array(n_jobs) for _ in range(_N_ARRAYS)]
    for key in ("submit array", "submit array, all"):
        found[key] = n_jobs / statistics.median(taken[key] for taken, _ in arrays)
    files = arrays[0][1]
    found["submit array by hand"] = n_jobs / _by_hand(n_jobs, files)
    for key, own in (
        ("submit", "sbatch in a loop"),
        ("submit array", "sbatch --array"),
    ):
        found[f"ratio {own}: {key}"] = found[key] / found[f"{key} of {own}"]
    whole = found["submit array, all"]
    found["ratio sbatch --array: submit array, all"] = whole / array
    found["ratio the same by hand: submit array, all"] = whole / found["submit array by hand"]
    return found


def _own(n_jobs: int) -> tuple[float, float]:
    """Jobs a second by `sbatch` in a loop, and by one array."""
    with TemporaryDirectory(prefix="motoko-bench-") as place:
        Path(place, "job.sh").write_text(_OWN)
        with timed() as single_s:
            for _ in range(n_jobs):
                _sbatch(place)
        arrays_s = []
        for _ in range(_N_ARRAYS):
            with timed() as array_s:
                _sbatch(place, f"--array=0-{n_jobs - 1}")
            arrays_s += array_s
        _cancel_all()
    return n_jobs / single_s[0], n_jobs / statistics.median(arrays_s)


def _by_hand(n_jobs: int, files: Mapping[str, bytes]) -> float:
    """Seconds for as many directories with these files, and one array."""
    with TemporaryDirectory(prefix="motoko-bench-") as place, timed() as taken_s:
        for i in range(n_jobs):
            directory = Path(place, f"run-{i}")
            directory.mkdir()
            for name, content in files.items():
                Path(directory, name).write_bytes(content)
        Path(place, "job.sh").write_text(_OWN)
        _sbatch(place, f"--array=0-{n_jobs - 1}")
    _cancel_all()
    return taken_s[0]


def _sbatch(place: str, *options: str) -> None:
    command = ["sbatch", "--parsable", *options, "job.sh"]
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)


def _cancel_all() -> None:
    subprocess.run(["scancel", "--user", str(os.getuid())], check=True)


def _array(n_jobs: int) -> tuple[Figures, dict[str, bytes]]:
    """Seconds that one array of runs takes, its request and all; and the files of a run."""
    with _ours(n_jobs, "slurm_options: [hold]\narray: true\n") as study:
        until = _last_ticket(study, ".motoko-*.json")
        asked = min(file.stat().st_mtime for file in study.runs_dir.glob(".motoko-*.sh"))
        taken = {
            "submit array": until - asked,
            "submit array, all": until - _first_script(study),
        }
        return taken, {file.name: file.read_bytes() for file in study.run_dir(1).iterdir()}


@contextmanager
def _ours(n_jobs: int, options: str) -> Iterator[Study]:
    """A study all of whose runs have been submitted."""
    more = f"generator: slurm\nmax_submitted: {n_jobs}\n{options}"
    with measured_workflow({"work": NO_OP}, more=more) as workflow:
        study = workflow.work.base
        workflow.work.createTask(x=[float(i) for i in range(n_jobs)])

        def is_submitted() -> bool:
            with study.database.read() as tables:  # the last one first: looking costs time too
                histories = map(tables.attempts, range(n_jobs, 0, -1))
                return all(any("batch" in one for one in history) for history in histories)

        wait_until(is_submitted, "submissions", _LONGEST_S)
        yield study
        _cancel_all()


def _first_script(study: Study) -> float:
    scripts = study.runs_dir.glob(f"run-*/{layout.job_script(1)}")
    return min(file.stat().st_mtime for file in scripts)


def _last_ticket(study: Study, pattern: str) -> float:
    """When the last id was written down."""
    return max(file.stat().st_mtime for file in study.runs_dir.glob(pattern))


def _ends(n_jobs: int) -> list[Figures]:
    """Seconds from the end of a job's script to who awaits its run, one job at a time."""
    found: list[Figures] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        for i in range(n_jobs):
            [(run, _)] = await workflow.work.createTask(x=float(i))
            now = time.time()
            with workflow.work.base.database.read() as tables:
                nonce = str(tables.run(run.id)["nonce"])
            left = read_outcome(workflow.work.base.run_dir(run.id), 1, nonce)
            assert left is not None
            found.append({"job to FINISHED": now - left.end})
        workflow.finished = True

    with measured_workflow({"work": NO_OP}, more="generator: slurm\n") as workflow:
        execute(workflow, main)
    return found
