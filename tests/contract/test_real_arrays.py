"""Arrays of jobs on real batch systems, which keep their throttles."""

from __future__ import annotations

from pathlib import Path

import pytest

from motoko.launch.work import LIMITS
from tests.support.launch_session import (
    ONCE,
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for,
)
from tests.support.overlap import WAITS, executing, most_at_once
from tests.support.processes import wait_for as wait_for_condition
from tests.support.systems import System

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Grid Engine looks for what it may start every few seconds.
LONGEST_S = 100


@pytest.mark.parametrize("name", ["slurm", "sge"])
def test_one_array_holds_all_runs_and_its_throttle_follows_the_limit(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    system: System = request.getfixturevalue(f"real_{name}")
    yaml = ONCE + "array: true\nmax_concurrent: 1\n"
    with new_study(tmp_path / "s", WAITS.format(tmp_path), yaml) as study:
        with launching(study, **system.settings):
            ids = create(study, 6)
            wait_for_condition(lambda: len(executing(tmp_path)) == 1, LONGEST_S)
            for limit in ({"max_concurrent": 2}, {"max_concurrent": 1}):
                study.database.write(lambda tables, to=limit: tables.set_fact(LIMITS, to))
                if limit["max_concurrent"] == 2:
                    wait_for_condition(lambda: len(executing(tmp_path)) == 2, LONGEST_S)
        with launching(study, **system.settings):  # which lowers it, if the first one has not
            wait_for(study, lambda: all("batch" in a for r in ids for a in attempts(study, r)))
            (tmp_path / "go").touch()
            wait_for(study, lambda: all("end_time" in row(study, r) for r in ids), LONGEST_S)

        jobs = {attempts(study, r)[0]["batch"]["id"].partition("_")[0] for r in ids}
        assert {row(study, r)["state"] for r in ids} == {"FINISHED"}
        assert len(jobs) == 1, jobs
        assert most_at_once(tmp_path) == 2
    wait_for_condition(lambda: system.jobs() == [], LONGEST_S)
