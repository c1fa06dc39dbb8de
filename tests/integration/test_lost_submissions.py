"""Submissions that a batch system has no room for, or of which it says nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_scheduler import Fake, put
from tests.support.launch_session import (
    YAML,
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for,
    wait_for_attempts,
    wait_for_state,
)
from tests.support.systems import System, fake_system
from tests.support.waiting import wait_until

SCRIPT = "echo $MOTOKO_RUN_ID >> {0}/executed\n"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with fake_system(tmp_path / "fake", "slurm") as found:
        yield found


def stand_in(system: System) -> Fake:
    assert system.fake is not None
    return system.fake


def executed(tmp_path: Path) -> list[int]:
    return sorted(map(int, (tmp_path / "executed").read_text().split()))


@pytest.mark.slow
def test_an_array_for_which_there_is_no_room_is_submitted_in_parts(
    system: System, tmp_path: Path
) -> None:
    put(stand_in(system).place / "room", "3")
    yaml = YAML + "array: true\n"
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path), yaml) as study:
        with launching(study, **system.settings):
            ids = create(study, 8)
            wait_for_state(study, "FINISHED", *ids)

        assert executed(tmp_path) == ids
        assert stand_in(system).count("sbatch") < len(ids)


@pytest.mark.slow
def test_a_job_that_is_ended_before_its_script_begins_is_tried_again(
    system: System, tmp_path: Path
) -> None:
    fake = stand_in(system)
    put(fake.place / "held", "1")
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path)) as study:
        with launching(study, **system.settings):
            create(study)
            wait_for(study, lambda: any("batch" in one for one in attempts(study)))
            (fake.place / "held").unlink()
            facts = json.loads((fake.place / "job-1.json").read_text())
            put(fake.place / "job-1.exit", str(128 + 53))
            put(fake.place / "job-1.json", json.dumps({**facts, "pid": 2**22 + 1}))
            wait_for_state(study, "FINISHED")

        first, _ = attempts(study)
        assert first["class"] == "infrastructure"
        assert first["cause"] == (
            "its job ended before its script began: slurm says FAILED, killed by signal 53"
        )
        assert executed(tmp_path) == [1]


@pytest.mark.slow
def test_a_job_whose_submission_timed_out_is_looked_for_and_not_submitted_again(
    system: System, tmp_path: Path
) -> None:
    place = stand_in(system).place
    put(place / "late", "1")
    put(place / "held", "1")
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path)) as study:
        with launching(study, **system.settings):
            create(study)
            wait_for(study, lambda: any("id" in a.get("batch", {}) for a in attempts(study)))
            study.database.write(lambda tables: tables.update_run(1, {"state": "CANCELLED"}))
            wait_for_attempts(study, 1)

        assert stand_in(system).count("sbatch") == 1
        assert row(study)["state"] == "CANCELLED"
    wait_until(lambda: system.jobs() == [])


@pytest.mark.slow
def test_a_command_that_is_not_there_has_submitted_nothing(
    system: System, tmp_path: Path
) -> None:
    place = stand_in(system).place
    sbatch = place / "bin" / "sbatch"
    sbatch.rename(place / "sbatch")
    sbatch.write_text("#!/bin/sh\necho sbatch: not found >&2; exit 127\n")
    sbatch.chmod(0o755)
    told: list[str] = []
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path)) as study:
        with launching(study, **system.settings, tell=lambda t: told.extend(map(str, t))):
            create(study)
            wait_until(lambda: any("sbatch: not found" in text for text in told))
            (place / "sbatch").rename(sbatch)
            wait_for_state(study, "FINISHED")

        assert executed(tmp_path) == [1]


def test_one_run_alone_is_no_array(tmp_path: Path) -> None:
    yaml = YAML + "array: true\n"
    with (
        fake_system(tmp_path / "fake", "pbs") as system,
        new_study(tmp_path / "s", SCRIPT.format(tmp_path), yaml) as study,
        launching(study, **system.settings),
    ):
        create(study)
        wait_for_state(study, "FINISHED")
