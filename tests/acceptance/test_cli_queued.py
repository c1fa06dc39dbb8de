"""Jobs that wait in a batch system while no launcher is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.cli import exit_codes
from tests.support import systems
from tests.support.command_line import CommandLine, new_workflow
from tests.support.fake_scheduler import put

pytestmark = pytest.mark.slow

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
