"""A job that is submitted or launched a second time, and tickets that cannot be written."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from motoko.launch.ticket import add_ids, write_tickets
from tests.support.launch_session import (
    RAN,
    YAML,
    attempts,
    create,
    launching,
    make_gate,
    new_study,
    open_gate,
    ran,
    wait_for,
    wait_for_state,
)
from tests.support.systems import System, fake_of, fault
from tests.support.waiting import wait_until


class FullOnce:
    """Writing meets a full disk, the first time."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self.was_met = False

    def __call__(self, path: str, content: Sequence[Any]) -> None:
        if not self.was_met:
            self.was_met = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        self._write(path, content)


SCONTROL = """#!/bin/sh
echo "JobId=$4 JobName=$(sed 's/.*"name": "\\([^"]*\\)".*/\\1/' {0}/job-$4.json)"\\
  "JobState=CANCELLED ExitCode=0:0 NodeList=n1"
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", ["", "pack: 2\n"])
def test_a_job_that_the_system_launches_twice_and_cancels_is_tried_again(
    slurm: System, tmp_path: Path, options: str
) -> None:
    place = fake_of(slurm).place
    (place / "bin" / "sacct").unlink()
    again = SCONTROL.replace("NodeList", "StartTime=2100-01-01T00:00:00 NodeList")
    (place / "bin" / "scontrol").write_text(again.format(place))
    (place / "bin" / "scontrol").chmod(0o755)
    gate = make_gate(tmp_path)
    waits = f"if [[ $MOTOKO_RUN_ID$MOTOKO_ATTEMPT == 11 ]]; then read <> {gate}; fi\n"
    with new_study(tmp_path / "s", RAN.format(tmp_path) + waits, YAML + options) as study:
        with launching(study, **slurm.settings):
            create(study, 2)
            wait_for(study, lambda: any(a.get("pid") for a in attempts(study)))
            fake_of(slurm).cancel([attempts(study)[0]["batch"]["id"]])
            wait_for_state(study, "FINISHED", 1, 2)

        first, second = attempts(study)
        assert (first["class"], second["state"]) == ("infrastructure", "FINISHED"), first
        assert ran(tmp_path) == [1, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("is_here", [True, False])
def test_a_refused_job_does_not_end_an_attempt_that_another_job_executes(
    slurm: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_here: bool
) -> None:
    if not is_here:  # as on a node, whose locks nobody sees here
        monkeypatch.setattr("motoko.launch.batch_watch.holders.is_held", lambda *_: False)
    gate = make_gate(tmp_path)
    place = fake_of(slurm).place
    with new_study(tmp_path / "s", RAN.format(tmp_path) + f"read -r _ < {gate}\n") as study:
        with launching(study, **slurm.settings):
            fault(slurm, "held")
            create(study)
            wait_for(study, lambda: any("batch" in a for a in attempts(study)))
            (place / "held").unlink()
            [script] = study.run_dir(1).glob(".motoko-job-1.sh")
            first = subprocess.run(
                [place / "bin" / "sbatch", script.name], cwd=script.parent, check=True
            )
            assert first.returncode == 0
            wait_until(lambda: (tmp_path / "ran").exists())
            fake_of(slurm).again("1")
            wait_until(lambda: list(study.run_dir(1).glob(".motoko-refused-1-*")))
            wait_until(lambda: ("1", 75) in [(j[0], j[3]) for j in fake_of(slurm).jobs()])
            n_asked = fake_of(slurm).count("squeue")
            wait_until(lambda: fake_of(slurm).count("squeue") > n_asked + 5)
            assert attempts(study)[0]["state"] == "RUNNING"
            open_gate(gate)
            wait_for_state(study, "FINISHED")

        assert ran(tmp_path) == [1]
        assert len(attempts(study)) == 1


def test_a_full_disk_after_a_submission_does_not_submit_again(
    slurm: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = FullOnce(add_ids)
    monkeypatch.setattr("motoko.launch.batch_executor.add_ids", full)
    with new_study(tmp_path / "s", RAN.format(tmp_path)) as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_for_state(study, "FINISHED")

        assert full.was_met
        assert fake_of(slurm).count("sbatch") == 1
        assert ran(tmp_path) == [1]


def test_a_full_disk_when_a_job_is_found_again_ends_nothing(
    slurm: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = FullOnce(write_tickets)
    monkeypatch.setattr("motoko.launch.batch_watch.write_tickets", full)
    fault(slurm, "mute")
    with new_study(tmp_path / "s", RAN.format(tmp_path)) as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_for_state(study, "FINISHED")

        assert full.was_met
        assert ran(tmp_path) == [1]
