"""A whole workflow within one job of a real batch system, where no daemons are allowed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from motoko.cli import scaffold
from tests.support.command_line import CommandLine
from tests.support.processes import kill_processes_of, wait_for
from tests.support.systems import System

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LONGEST_S = 200
#: The least limit that Slurm knows is a minute; a third of that is kept for the end. What the
#: job asks for is said on the command line, and its script knows nothing of it.
SUBMIT = {
    "slurm": "sbatch --time=1 --mem=300M",
    "sge": "qsub -l h_rt=60,h_vmem=1G -p -7",
}
DIRECTIVES = {
    "slurm": "#SBATCH --output=log-%j",
    "sge": "#$ -cwd -j y -o log-$JOB_ID -S /bin/bash",
}
#: What tells of a job, and how it says what was asked for.
ASKED = {
    "slurm": ("scontrol show job $SLURM_JOB_ID", ["TimeLimit=00:01:00", "MinMemoryNode=300M"]),
    "sge": ("qstat -j $JOB_ID", ["h_rt=60", "h_vmem=1", "priority: *-7"]),
}
JOB = """#!/bin/bash
{directives}
{ask}
exec {python} -m motoko run --foreground --run_name a --generator bash
"""


@pytest.mark.parametrize("name", DIRECTIVES)
def test_one_job_holds_a_whole_workflow_and_submits_itself_again(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    system: System = request.getfixturevalue(f"real_{name}")
    ask, asked = ASKED[name]
    directory = tmp_path / "demo"
    scaffold.make(directory)
    held = "until [[ -e ../../../go ]]; do sleep 0.1; done\n"
    script = directory / "sample" / "launch.sh"
    script.write_text(held + script.read_text())
    job = JOB.format(directives=DIRECTIVES[name], ask=ask, python=sys.executable)
    (directory / "job.sh").write_text(job)

    def logs() -> list[str]:
        by_job = sorted(directory.glob("log-*"), key=lambda file: int(file.name[len("log-") :]))
        return [file.read_text() for file in by_job]

    try:
        subprocess.run([*SUBMIT[name].split(), "job.sh"], cwd=directory, check=True)
        wait_for(lambda: len(logs()) == 2, LONGEST_S)
        (directory / "go").touch()
        wait_for(lambda: "finished after" in logs()[1], LONGEST_S)
        wait_for(lambda: system.jobs() == [], LONGEST_S)
    finally:
        kill_processes_of(directory)

    first, second = logs()
    assert "CREATED again" in first and "submitted again: " in first
    assert "sample 5 runs, mean 1 run" in second
    for text in asked:
        assert re.search(text, first) and re.search(text, second), (text, first, second)
    assert CommandLine(directory).counts("sample") == {"FINISHED": 5}
