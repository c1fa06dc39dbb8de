"""No attempt begins in a directory in which processes execute that are not its run's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from motoko.job.token import take_token, token_facts
from motoko.launch import aside
from motoko.launch.trouble import Trouble
from motoko.study.study import Study
from tests.support.launch_session import (
    ONCE,
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for,
    wait_for_attempts,
    wait_for_state,
)
from tests.support.systems import fake_system
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_LOOK_S", 0.02)


@contextmanager
def stranger(study: Study, number: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A script in the directory of run 1 that no database knows, until it is killed."""
    run_dir = study.run_dir(1)
    run_dir.mkdir(parents=True)
    (run_dir / ".motoko-run.json").write_text(json.dumps({"nonce": "strange"}))
    fd = take_token(run_dir, number, token_facts("strange", "another"))
    assert fd is not None
    with subprocess.Popen(["sleep", "600"], pass_fds=[fd]) as process:
        os.close(fd)
        try:
            yield process
        finally:
            process.kill()


class Told:
    """What a launcher says does not work."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.current: Sequence[Trouble] = ()

    def __call__(self, current: Sequence[Trouble]) -> None:
        self.current = current
        self.all += map(str, current)

    def wait(self) -> None:
        """Until there is something."""
        wait_until(lambda: self.current)


def ran(directory: Path) -> list[str]:
    file = directory / "ran"
    return file.read_text().split() if file.exists() else []


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_waits_for_processes_that_no_database_knows(tmp_path: Path, number: int) -> None:
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran\n"
    told = Told()
    with new_study(tmp_path / "s", script, ONCE) as study, stranger(study, number) as process:
        run_dir = study.run_dir(1)
        create(study, 3)
        with launching(study, tell=told, max_concurrent=1):
            told.wait()
            wait_for_state(study, "FINISHED", 2, 3)  # which it keeps from nothing
            waiting = row(study)["state"]
            files = sorted(os.listdir(run_dir))
            before = ran(tmp_path)
            is_there = process.poll() is None

            process.kill()
            wait_for_state(study, "FINISHED")
            wait_until(lambda: not told.current)

    assert waiting == "SUBMITTED"
    assert files == [".motoko-run.json", f".motoko-token-{number}"]
    assert sorted(before) == ["2", "3"] and ran(tmp_path)[2:] == ["1"]
    assert is_there
    assert any(
        "cannot start run s.1" in text and f"still there in {run_dir}" in text
        for text in told.all
    )
    assert (run_dir / "attempt-0" / f".motoko-token-{number}").exists()


def test_no_job_is_submitted_before_they_are_gone(tmp_path: Path) -> None:
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran\n"
    told = Told()
    with (
        fake_system(tmp_path / "fake", "slurm") as slurm,
        new_study(tmp_path / "s", script, ONCE) as study,
        stranger(study) as process,
    ):
        create(study, 2)
        with launching(study, tell=told, **slurm.settings):
            told.wait()
            wait_for_state(study, "FINISHED", 2)
            assert slurm.fake is not None and slurm.fake.count("sbatch") == 1

            process.kill()
            wait_for_state(study, "FINISHED")

    assert ran(tmp_path) == ["2", "1"]


def test_a_later_attempt_does_not_end_them(tmp_path: Path) -> None:
    script = f"echo $MOTOKO_ATTEMPT >> {tmp_path}/ran\n"
    told = Told()
    with new_study(tmp_path / "s", script, ONCE) as study, stranger(study) as process:
        create(study)
        with launching(study, tell=told):
            told.wait()
            study.update_run(1, {"state": "CREATED"})
            wait_for(study, lambda: row(study)["attempt"] == 2)
            wait_until(lambda: len(told.all) > 1)
            ended = process.poll()

            process.kill()
            wait_for_state(study, "FINISHED")

    assert ended is None
    assert ran(tmp_path) == ["2"]


@pytest.mark.parametrize("state", ["CANCELLED", "CREATED", "mine"])
def test_a_run_that_waits_for_them_can_be_withdrawn(tmp_path: Path, state: str) -> None:
    told = Told()
    with new_study(tmp_path / "s", f"echo >> {tmp_path}/ran\n", ONCE) as study:
        with stranger(study):
            create(study)
            with launching(study, tell=told) as launcher:
                told.wait()
                study.update_run(1, {"state": state})
                if state == "CREATED":
                    wait_for(study, lambda: row(study)["attempt"] == 2)
                else:
                    wait_until(lambda: not told.current)
                assert launcher.error is None
        if state != "CREATED":
            with launching(study):
                create(study, 2)
                wait_for_state(study, "FINISHED", 2)
            assert row(study)["state"] == state

    assert ran(tmp_path) == []


def test_the_next_launcher_does_not_end_them_for_a_run_that_was_cancelled(
    tmp_path: Path,
) -> None:
    told = Told()
    with new_study(tmp_path / "s", "true\n", ONCE) as study, stranger(study) as process:
        create(study, 2)
        with launching(study, tell=told):
            told.wait()
            study.update_run(1, {"state": "CANCELLED"})
            wait_for_attempts(study, 1)

        with launching(study):
            create(study, 3)
            wait_for_state(study, "FINISHED", 3)

        assert process.poll() is None


def test_the_next_launcher_waits_for_them_too(tmp_path: Path) -> None:
    script = f"echo $MOTOKO_ATTEMPT >> {tmp_path}/ran\n"
    with new_study(tmp_path / "s", script, ONCE) as study, stranger(study) as process:
        create(study)
        for told in (Told(), Told()):
            with launching(study, tell=told):
                told.wait()
        with launching(study):
            os.kill(process.pid, signal.SIGKILL)
            wait_for_state(study, "FINISHED")

        assert ran(tmp_path) == ["1"]
        assert [one["state"] for one in attempts(study)] == ["FINISHED"]
