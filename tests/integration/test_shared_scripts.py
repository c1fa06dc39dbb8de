"""The script of several runs that are submitted together, to look at before and after."""

from __future__ import annotations

from pathlib import Path

import pytest

from motoko.launch.preview import previews, script_of
from motoko.launch.slurm import Slurm
from motoko.launch.work import LIMITS
from tests.support.fake_scheduler import put
from tests.support.launch_session import (
    YAML,
    create,
    launching,
    new_study,
    row,
    wait_for_state,
)
from tests.support.systems import fake_system


@pytest.mark.parametrize(
    ("shape", "directive"),
    [
        ("pack: 3\n", "#SBATCH --time=00:30:00"),
        ("array: true\nmax_concurrent: 2\n", "#SBATCH --array=0-2%2"),
    ],
)
def test_the_script_that_is_shown_is_the_one_that_is_submitted(
    tmp_path: Path, shape: str, directive: str
) -> None:
    yaml = YAML + "walltime: 10m\n" + shape
    with (
        fake_system(tmp_path / "fake", "slurm") as system,
        new_study(tmp_path / "s", "true\n", yaml) as study,
    ):
        ids = create(study, 3)
        [before] = previews(study, Slurm(), tmp_path / "python")
        with launching(study, **system.settings):
            wait_for_state(study, "FINISHED", *ids)
        [submitted] = (tmp_path / "fake").glob("job-1*0.sh" if "array" in shape else "job-1.sh")
        after = script_of(study, Slurm(), row(study, 3), tmp_path / "python")

        text = submitted.read_text()
        assert directive in text and directive in before.script.splitlines()
        assert after.startswith(text)
        assert before.command == "sbatch --parsable .motoko-s-1-1-not-subm.sh"


def test_the_array_that_is_shown_is_as_large_as_limits_allow(tmp_path: Path) -> None:
    shared = {"max_submitted": 4, "max_concurrent": 3}
    with new_study(tmp_path / "s", "true\n", YAML + "array: true\n") as study:
        create(study, 6)
        [by_files] = previews(study, Slurm(), tmp_path / "python", shared)
        limits = {"workflow.max_submitted": 5, "max_concurrent": 2}
        study.database.write(lambda tables: tables.set_fact(LIMITS, limits))
        [changed] = previews(study, Slurm(), tmp_path / "python", shared)

    assert "#SBATCH --array=0-3%3" in by_files.script.splitlines()
    assert "#SBATCH --array=0-4%2" in changed.script.splitlines()


def test_a_system_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    with fake_system(tmp_path / "fake", "slurm"):
        put(tmp_path / "fake" / "blind", "1")

        told, then = Slurm().problem(), Slurm().problem()

    assert told is not None and "squeue does not tell of jobs: squeue: error: Unable" in told
    assert then is None
