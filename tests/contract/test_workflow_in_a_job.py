"""A whole workflow within one job of a real batch system, where no daemons are allowed."""

from __future__ import annotations

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
#: The least limit that Slurm knows is a minute; a third of that is kept for the end.
DIRECTIVES = {
    "slurm": ("sbatch", "#SBATCH --time=1 --output=log-%j --mem=1G"),
    "sge": ("qsub", "#$ -l h_rt=60 -cwd -j y -o log-$JOB_ID -S /bin/bash"),
}
JOB = """#!/bin/bash
{directives}
exec {python} -m motoko run --foreground --run_name a --generator bash
"""


@pytest.mark.parametrize("name", DIRECTIVES)
def test_one_job_holds_a_whole_workflow_and_submits_itself_again(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    system: System = request.getfixturevalue(f"real_{name}")
    submit, directives = DIRECTIVES[name]
    directory = tmp_path / "demo"
    scaffold.make(directory)
    held = "until [[ -e ../../../go ]]; do sleep 0.1; done\n"
    script = directory / "sample" / "launch.sh"
    script.write_text(held + script.read_text())
    job = JOB.format(directives=directives, python=sys.executable)
    (directory / "job.sh").write_text(job)

    def logs() -> list[str]:
        by_job = sorted(directory.glob("log-*"), key=lambda file: int(file.name[len("log-") :]))
        return [file.read_text() for file in by_job]

    try:
        subprocess.run([submit, "job.sh"], cwd=directory, check=True)
        wait_for(lambda: len(logs()) == 2, LONGEST_S)
        (directory / "go").touch()
        wait_for(lambda: "finished after" in logs()[1], LONGEST_S)
        wait_for(lambda: system.jobs() == [], LONGEST_S)
    finally:
        kill_processes_of(directory)

    first, second = logs()
    assert "CREATED again" in first and "submitted again: " in first
    assert "sample 5 runs, mean 1 run" in second
    assert CommandLine(directory).counts("sample") == {"FINISHED": 5}
