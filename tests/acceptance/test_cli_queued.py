"""Jobs that wait in a batch system while no launcher is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.cli import exit_codes
from tests.support import systems
from tests.support.command_line import CommandLine, new_workflow
from tests.support.fake_scheduler import put
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

HANDS_ON = """
printf '%s\\n' '#!/bin/bash' "#SBATCH --job-name=mine-motoko" > sub.sh
echo "slurm $(sbatch sub.sh)" > "$MOTOKO_HANDED_ON"
"""
SUBMIT = ("run", "--once", "--run_name", "a", "--generator", "slurm")


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[systems.System]:
    with systems.fake_system(tmp_path / "fake", "slurm") as found:
        yield found


@pytest.fixture
def here(tmp_path: Path, slurm: systems.System) -> Iterator[CommandLine]:
    """A workflow whose five jobs wait, and nothing else."""
    assert slurm.fake is not None
    with new_workflow(tmp_path / "demo") as line:
        line = CommandLine(line.directory)
        put(slurm.fake.place / "held", "1")
        line.run(*SUBMIT, code=exit_codes.GOES_ON)
        assert len(slurm.jobs()) == 5
        yield line


def test_a_reset_cancels_the_jobs_of_runs_that_wait_before_these_are_put_back(
    here: CommandLine, slurm: systems.System
) -> None:
    done = here.run("kill", "--reset")

    assert "5 runs back to CREATED" in done.stdout
    assert slurm.jobs() == []
    assert here.counts("sample") == {"CREATED": 5}


def test_a_reset_cancels_the_jobs_that_scripts_have_handed_their_work_on_to(
    tmp_path: Path, slurm: systems.System
) -> None:
    assert slurm.fake is not None
    put(slurm.fake.place / "held", "1")
    with new_workflow(tmp_path / "demo") as here:
        sample = here.directory / "sample"
        with (sample / "bd.yaml").open("a") as file:
            file.write("completion: explicit\n")
        (sample / "launch.sh").write_text(HANDS_ON)
        here.run("orchestrator", "start", "--run_name", "a", "--detach")
        wait_until(lambda: why(here) == {"handed on"}, "five jobs", 60)

        done = here.run("kill", "--reset")

        assert "5 runs back to CREATED" in done.stdout
        assert slurm.jobs() == []
        assert here.counts("sample") == {"CREATED": 5}
        [one] = here.json("runs", "show", "sample.1")["attempts"]
        assert one["cause"] == "its job was cancelled by `motoko kill --reset`"


def why(here: CommandLine) -> set[str]:
    """Why the five runs are in their states."""
    return {here.json("why", f"sample.{n}")[0]["reason"] for n in range(1, 6)}


def test_a_reset_leaves_runs_whose_jobs_may_be_there(
    here: CommandLine, slurm: systems.System
) -> None:
    assert slurm.fake is not None
    put(slurm.fake.place / "blind", "1")

    done = here.run("kill", "--reset")

    assert "0 runs back to CREATED" in done.stdout
    assert "left alone: sample.1; it may have a job of slurm: " in done.stdout
    assert here.counts("sample") == {"SUBMITTED": 5}


def test_runs_are_cancelled_at_the_system_although_no_launcher_is_there(
    here: CommandLine, slurm: systems.System
) -> None:
    done = here.run("runs", "cancel", "sample.1", "sample.2")

    assert done.stdout.startswith("2 runs CANCELLED") and not done.stderr
    assert len(slurm.jobs()) == 3
    assert slurm.fake is not None
    put(slurm.fake.place / "blind", "1")
    told = here.run("runs", "cancel", "sample.3").stderr
    assert "sample.3 " in told and "no launcher is there to end it" in told


def test_who_holds_runs_back_hears_that_jobs_are_there_already(here: CommandLine) -> None:
    done = here.run("launcher", "hold")

    assert "5 runs of sample are jobs already, and may begin\n" in done.stdout
    assert here.run("launcher", "hold").stdout == "they were held already\n"
