"""Handing runs to a real Slurm on this machine, beside its own commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
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
    found = {
        "submit": _ours(n_jobs, "slurm_options: [hold]\n"),
        "submit of sbatch in a loop": single,
        "submit array": _ours(n_jobs, "slurm_options: [hold]\narray: true\n"),
        "submit array of sbatch --array": array,
    }
    for key, own in (
        ("submit", "sbatch in a loop"),
        ("submit array", "sbatch --array"),
    ):
        found[f"ratio {own}: {key}"] = found[key] / found[f"{key} of {own}"]
    return found


def _own(n_jobs: int) -> tuple[float, float]:
    """Jobs a second by `sbatch` in a loop, and by one array."""
    with TemporaryDirectory(prefix="motoko-bench-") as place:
        Path(place, "job.sh").write_text(_OWN)

        def sbatch(*options: str) -> None:
            command = ["sbatch", "--parsable", *options, "job.sh"]
            subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)

        with timed() as single_s:
            for _ in range(n_jobs):
                sbatch()
        with timed() as array_s:
            sbatch(f"--array=0-{n_jobs - 1}")
        _cancel_all()
    return n_jobs / single_s[0], n_jobs / array_s[0]


def _cancel_all() -> None:
    subprocess.run(["scancel", "--user", str(os.getuid())], check=True)


def _ours(n_jobs: int, options: str) -> float:
    """Jobs a second, from the first script that is written to the last id that is known."""
    more = f"generator: slurm\nmax_submitted: {n_jobs}\n{options}"
    with measured_workflow({"work": NO_OP}, more=more) as workflow:
        study = workflow.work.base
        workflow.work.createTask(x=[float(i) for i in range(n_jobs)])
        wait_until(lambda: len(_submitted(study)) == n_jobs, "submissions", _LONGEST_S)
        begun = min(
            Path(study.run_dir(run_id), layout.job_script(1)).stat().st_mtime
            for run_id in range(1, n_jobs + 1)
        )
        taken_s = max(_submitted(study)) - begun
        _cancel_all()
    return n_jobs / taken_s


def _submitted(study: Study) -> list[float]:
    """When the ids of jobs were written down."""
    tickets = Path(study.runs_dir).glob(f"run-*/{Path(layout.job_ticket('', 1)).name}")
    return [file.stat().st_mtime for file in tickets if '"id": null' not in file.read_text()]


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
