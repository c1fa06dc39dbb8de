"""What runs are submitted with, and in how many steps they get there."""

from __future__ import annotations

from pathlib import Path

import pytest

from motoko.launch.allowance import UNTOLD
from motoko.launch.desk import Desk
from motoko.launch.preview import previews
from motoko.launch.slurm import Slurm
from motoko.launch.work import Done, Work
from motoko.study.study import Study
from tests.support.launch_session import (
    ONCE,
    YAML,
    attempts,
    create,
    launching,
    new_study,
    wait_for,
    wait_for_state,
)
from tests.support.systems import System, fault

SIGNAL = ONCE + "checkpoint_signal: USR1@60\nslurm_options: [--time=1:00:00]\n"


def test_runs_that_are_submitted_one_by_one_are_claimed_many_at_a_time(
    slurm: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motoko.launch.batch_executor._AHEAD", 6)
    claims: list[int] = []
    write = Desk._write

    def writing(desk: Desk, work: Work) -> Done:
        done = write(desk, work)
        claims.extend([len(done.claimed)] if done.claimed else [])
        return done

    monkeypatch.setattr(Desk, "_write", writing)
    with new_study(tmp_path / "s", "true\n", ONCE) as study:
        ids = create(study, 12)
        with launching(study, **slurm.settings):
            wait_for_state(study, "FINISHED", *ids)

    assert sum(claims) == 12
    assert all(n_runs >= 3 for n_runs in claims[:-1]), claims


def have_jobs(study: Study, ids: list[int]) -> bool:
    """Whether all these runs were submitted."""
    return all(any("batch" in one for one in attempts(study, run_id)) for run_id in ids)


@pytest.mark.parametrize("more", ["", "walltime: 4h\n"])
def test_a_walltime_in_the_words_of_the_batch_system_is_what_the_signal_comes_before(
    slurm: System, tmp_path: Path, more: str
) -> None:
    fault(slurm, "held")
    with new_study(tmp_path / "s", "true\n", SIGNAL + more) as study:
        ids = create(study)
        [preview] = previews(study, Slurm(), tmp_path / "python")
        with launching(study, **slurm.settings):
            wait_for(study, lambda: have_jobs(study, ids))

        script = (study.run_dir(1) / ".motoko-job-1.sh").read_text()
        assert script.count("--time=") == script.count("--time=1:00:00") == 1
        assert "read -r -t 3540.0 " in script
        assert "read -r -t 3540.0 " in preview.script
        assert "warnings" not in attempts(study)[0]


def test_packed_runs_are_told_that_the_time_of_their_job_is_not_theirs(
    slurm: System, tmp_path: Path
) -> None:
    fault(slurm, "held")
    with new_study(tmp_path / "s", "true\n", SIGNAL + "pack: 2\n") as study:
        with launching(study, **slurm.settings):
            ids = create(study, 2)
            wait_for(study, lambda: have_jobs(study, ids))

        assert all(attempts(study, run_id)[0]["warnings"] == [UNTOLD] for run_id in ids)


def test_a_run_without_a_limit_is_told_nothing_before_its_end(
    slurm: System, tmp_path: Path
) -> None:
    fault(slurm, "held")
    yaml = YAML + "walltime: 4h\ncheckpoint_signal: USR1@60\nslurm_options: [time=0]\n"
    with new_study(tmp_path / "s", "true\n", yaml) as study:
        with launching(study, **slurm.settings):
            ids = create(study)
            wait_for(study, lambda: have_jobs(study, ids))

        assert "_motoko_warn" not in (study.run_dir(1) / ".motoko-job-1.sh").read_text()
        assert "warnings" not in attempts(study)[0]
