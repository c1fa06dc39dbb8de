"""Arrays of jobs: submitted whole, with a throttle that the batch system keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.launch.work import LIMITS
from motoko.study.study import Study
from tests.support.launch_session import (
    ONCE,
    attempts,
    create,
    launching,
    new_study,
    wait_for,
    wait_for_state,
)
from tests.support.overlap import WAITS, executing, most_at_once
from tests.support.systems import System, fake_of, fake_system, fault
from tests.support.waiting import wait_until

ARRAY = ONCE + "array: true\n"
SUBMIT = {"slurm": "sbatch", "sge": "qsub", "pbs": "qsub"}


@pytest.fixture(
    params=["slurm", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sge", "pbs"))]
)
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    with fake_system(tmp_path / "fake", request.param) as found:
        yield found


def limit(study: Study, **limits: int) -> None:
    """Set limits, as `motoko launcher set` does."""
    found = {name.replace("__", "."): value for name, value in limits.items()}
    study.database.write(lambda tables: tables.set_fact(LIMITS, found))


def throttle(system: System) -> int:
    """That of the first array."""
    return int((fake_of(system).place / "throttle-1").read_text())


def n_submissions(system: System) -> int:
    return fake_of(system).count(SUBMIT[system.name])


def test_many_runs_are_one_array_of_which_as_many_execute_as_may(
    system: System, tmp_path: Path
) -> None:
    with new_study(tmp_path / "s", WAITS.format(tmp_path), ARRAY) as study:
        with launching(study, **system.settings | {"max_concurrent": 2}):
            ids = create(study, 7)
            wait_until(lambda: len(executing(tmp_path)) == 2)
            assert len(system.jobs()) == 7
            (tmp_path / "go").touch()
            wait_for_state(study, "FINISHED", *ids)

        assert n_submissions(system) == 1
        assert most_at_once(tmp_path) == 2


@pytest.mark.slow
def test_the_throttle_of_an_array_follows_the_limit(system: System, tmp_path: Path) -> None:
    yaml = ARRAY + "max_concurrent: 1\n"
    with new_study(tmp_path / "s", WAITS.format(tmp_path), yaml) as study:
        with launching(study, **system.settings):
            ids = create(study, 8)
            wait_until(lambda: len(executing(tmp_path)) == 1)
            limit(study, max_concurrent=3)
            wait_until(lambda: len(executing(tmp_path)) == 3)
            limit(study, max_concurrent=2)
            wait_until(lambda: throttle(system) == 2)
            for run_id in executing(tmp_path):
                (tmp_path / f"go-{run_id}").touch()
            wait_until(lambda: sorted(executing(tmp_path)) == [4, 5])
            limit(study)
            wait_until(lambda: throttle(system) == 1)
            for run_id in (4, 5):
                (tmp_path / f"go-{run_id}").touch()
            wait_until(lambda: executing(tmp_path) == [6])
            (tmp_path / "go").touch()
            wait_for_state(study, "FINISHED", *ids)

        assert n_submissions(system) == 1
        assert most_at_once(tmp_path) == 3


def test_the_next_launcher_lets_an_array_have_the_throttle_that_holds_by_then(
    system: System, tmp_path: Path
) -> None:
    yaml = ARRAY + "max_concurrent: 1\n"
    with new_study(tmp_path / "s", WAITS.format(tmp_path), yaml) as study:
        with launching(study, **system.settings):
            ids = create(study, 4)
            wait_until(lambda: len(executing(tmp_path)) == 1)
            wait_for(study, lambda: all("batch" in a for r in ids for a in attempts(study, r)))
        limit(study, max_concurrent=2)
        with launching(study, **system.settings):
            wait_until(lambda: len(executing(tmp_path)) == 2)
            (tmp_path / "go").touch()
            wait_for_state(study, "FINISHED", *ids)

        assert n_submissions(system) == 1


@pytest.mark.slow
def test_a_throttle_that_cannot_be_changed_is_tried_again(
    system: System, tmp_path: Path
) -> None:
    yaml = ARRAY + "max_concurrent: 1\n"
    with new_study(tmp_path / "s", WAITS.format(tmp_path), yaml) as study:
        told: list[str] = []
        with launching(study, **system.settings, tell=lambda t: told.extend(map(str, t))):
            ids = create(study, 4)
            wait_until(lambda: len(executing(tmp_path)) == 1)
            fault(system, "stubborn", 2)
            limit(study, max_concurrent=2)
            wait_until(lambda: len(executing(tmp_path)) == 2)
            (tmp_path / "go").touch()
            wait_for_state(study, "FINISHED", *ids)

        assert any("cannot change the throttles" in text for text in told)


@pytest.mark.slow
def test_arrays_of_two_studies_share_the_limit_of_the_workflow(
    system: System, tmp_path: Path
) -> None:
    script = WAITS.format(tmp_path)
    other_script = script.replace("$MOTOKO_RUN_ID", "100$MOTOKO_RUN_ID")
    other_yaml = ARRAY.replace("study: s", "study: t")
    with (
        new_study(tmp_path / "s", script, ARRAY) as first,
        new_study(tmp_path / "t", other_script, other_yaml) as second,
    ):
        with launching(first, second, **system.settings | {"max_concurrent": 4}):
            ids = create(first, 12)
            wait_until(lambda: len(executing(tmp_path)) == 4)
            others = create(second, 6)
            wait_until(lambda: throttle(system) == 2)
            for run_id in ids[:4]:
                (tmp_path / f"go-{run_id}").touch()
            wait_until(lambda: sorted(executing(tmp_path)) == [5, 6, 1001, 1002])
            (tmp_path / "go").touch()
            wait_for_state(first, "FINISHED", *ids)
            wait_for_state(second, "FINISHED", *others)

        assert most_at_once(tmp_path) == 4
