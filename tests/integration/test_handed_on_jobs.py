"""Jobs that scripts have submitted themselves and that are lost, or are arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.study.study import Study
from tests.support.fake_scheduler import Fake, put
from tests.support.launch_session import (
    YAML,
    attempts,
    create,
    launching,
    new_study,
    ran,
    row,
    wait_for,
    wait_for_state,
)
from tests.support.systems import System, fake_system
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

#: Hands its work on to a job, or to an array of so many.
SCRIPT = """
cat > sub.sh <<'END'
#!/bin/bash
#SBATCH --job-name=mine-motoko
{1}
echo $MOTOKO_RUN_ID >> {0}/ran
until [[ -e {0}/go ]]; do read -t 0.05 <> <(:); done
{2}
END
echo "slurm $(sbatch sub.sh)" > "$MOTOKO_HANDED_ON"
"""


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    with fake_system(tmp_path / "fake", "slurm") as found:
        assert found.fake is not None
        yield found.fake


def settings_of(tmp_path: Path) -> dict[str, object]:
    return {**System("slurm", directory=tmp_path).settings, "generator": "bash"}


def job_of(study: Study, number: int = 1) -> str | None:
    """The job that an attempt of the run has named."""
    found = {one["number"]: one.get("batch", {}).get("id") for one in attempts(study)}
    return found.get(number)


def lose(fake: Fake) -> None:
    """Have the system forget its jobs."""
    for file in fake.place.glob("job-*"):
        file.unlink()


def test_a_run_whose_job_is_lost_has_failed_also_for_the_next_launcher(
    tmp_path: Path, fake: Fake
) -> None:
    put(fake.place / "held", "1")
    yaml = YAML + "completion: explicit\nretry: 0\n"
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path, "", ""), yaml) as study:
        with launching(study, **settings_of(tmp_path)):
            create(study)
            wait_for(study, lambda: job_of(study) is not None)
            lose(fake)
            wait_for_state(study, "FAILED")
        with launching(study, **settings_of(tmp_path), poll_s=0.1):
            study.database.write(lambda tables: tables.update_run(1, {"norm": 1.0}))
            wait_for(study, lambda: row(study)["norm"] == 1.0)

        [attempt] = attempts(study)
        assert row(study)["state"] == "FAILED"
        assert "is gone from slurm, without an outcome" in attempt["cause"]


def test_a_run_whose_job_is_lost_is_tried_again(tmp_path: Path, fake: Fake) -> None:
    put(fake.place / "held", "1")
    yaml = YAML + "completion: explicit\n"
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path, "", ""), yaml) as study:
        with launching(study, **settings_of(tmp_path)):
            create(study)
            wait_for(study, lambda: job_of(study) is not None)
            lose(fake)
            (fake.place / "held").unlink()
            (tmp_path / "go").touch()
            wait_for_state(study, "FINISHED")

        assert ran(tmp_path) == [1]
        assert [one["state"] for one in attempts(study)] == ["FAILED", "FINISHED"]


@pytest.mark.parametrize("bad", [None, 2])
def test_an_array_that_a_script_has_named_goes_on_until_its_last_job_has_ended(
    tmp_path: Path, fake: Fake, bad: int | None
) -> None:
    array = "#SBATCH --array=0-3"
    end = f"[[ $SLURM_ARRAY_TASK_ID != {bad} ]]"
    yaml = YAML + "completion: explicit\nretry: 0\n"
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path, array, end), yaml) as study:
        with launching(study, **settings_of(tmp_path)):
            create(study)
            wait_for(study, lambda: job_of(study) is not None)
            wait_until(lambda: (tmp_path / "ran").exists() and len(ran(tmp_path)) == 4)
            asked = fake.count("squeue")
            wait_until(lambda: fake.count("squeue") >= asked + 8, deadline_s=60)
            assert row(study)["state"] == "RUNNING"
            (tmp_path / "go").touch()
            wait_for_state(study, "FINISHED" if bad is None else "FAILED")

        [attempt] = attempts(study)
        assert attempt.get("class") == (None if bad is None else "application"), attempt
        assert len(ran(tmp_path)) == 4


def test_an_array_that_a_script_has_named_is_cancelled_with_its_run(
    tmp_path: Path, fake: Fake
) -> None:
    script = SCRIPT.format(tmp_path, "#SBATCH --array=0-3", "")
    with (
        new_study(tmp_path / "s", script, YAML + "completion: explicit\n") as study,
        launching(study, **settings_of(tmp_path)),
    ):
        create(study)
        wait_for(study, lambda: job_of(study) is not None)
        wait_until(lambda: (tmp_path / "ran").exists() and len(ran(tmp_path)) == 4)
        study.database.write(lambda tables: tables.update_run(1, {"state": "CANCELLED"}))
        wait_for(study, lambda: "end_time" in attempts(study)[0])

    wait_until(lambda: {state for _, _, state, _ in fake.jobs()} == {"CANCELLED"})
