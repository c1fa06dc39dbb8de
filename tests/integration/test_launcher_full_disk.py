"""Runs on a disk that becomes full: what ended well is told so, and work goes on afterwards."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from motoko.daemon import Office
from motoko.launch import starter
from motoko.launch.trouble import Trouble
from tests.support.launch_session import (
    ONCE,
    YAML,
    attempts,
    create,
    launching,
    make_gate,
    new_study,
    open_gate,
    reap,
    row,
    wait_for_attempts,
    wait_for_file,
    wait_for_state,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    options = "size=512k,nr_inodes=200"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", directory], check=True)
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def fill_blocks(disk: Path) -> None:
    with open(disk / "filler", "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"0" * 4096)


def fill(disk: Path) -> None:
    fill_blocks(disk)
    with suppress(OSError):
        for i in count():
            (disk / f"filler-{i}").touch()


def free(disk: Path) -> None:
    for file in disk.glob("filler*"):
        file.unlink()


def test_runs_that_end_on_a_full_disk_are_finished_and_get_their_sentinels_later(
    tmp_path: Path, disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    gates = [tmp_path / "gate-1", tmp_path / "gate-2"]
    for gate in gates:
        os.mkfifo(gate)
    yaml = f"{YAML}outpath: {disk}\n"
    script = f"read _ < {tmp_path}/gate-$MOTOKO_RUN_ID\n"
    told: list[list[Trouble]] = []
    with (
        new_study(tmp_path / "s", script, yaml) as study,
        launching(study, poll_s=0.05, tell=lambda now: told.append(list(now))),
    ):
        create(study, 2)
        wait_for_state(study, "RUNNING", 1, 2)
        fill(disk)
        for gate in gates:
            open_gate(gate)
        wait_for_state(study, "FINISHED", 1, 2)
        sentinels = [study.run_dir(i) / "FINISHED" for i in (1, 2)]
        were_there = [sentinel.exists() for sentinel in sentinels]
        free(disk)
        wait_until(lambda: all(sentinel.exists() for sentinel in sentinels))
        wait_until(lambda: told[-1] == [])

    what = f"cannot write in {study.runs_dir}"
    assert were_there == [False, False]
    assert [[one.what for one in now] for now in told] == [[what], []]
    assert caplog.text.count(f"{what}: No space left on device; trying again") == 1
    assert caplog.text.count(f"over: {what} since ") == 1


@pytest.mark.parametrize("filling", [fill, fill_blocks])
def test_a_run_that_ended_well_on_a_full_disk_is_known_to_the_next_launcher(
    tmp_path: Path, disk: Path, filling: Callable[[Path], None]
) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $$ >> {tmp_path}/pids; read _ < {gate}\n"
    with new_study(tmp_path / "s", script, f"{YAML}outpath: {disk}\n") as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
            wait_for_state(study, "RUNNING")
        filling(disk)
        open_gate(gate)
        reap(pid)
        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FINISHED"
        assert attempt["exit_code"] == 0


def test_an_end_that_could_not_be_written_is_no_matter_of_a_host_that_went_down(
    tmp_path: Path,
) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $$ >> {tmp_path}/pids; read _ < {gate}\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
            wait_for_state(study, "RUNNING")
        open_gate(gate)
        reap(pid)
        (study.run_dir(1) / ".motoko-outcome-1").write_text("")
        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "infrastructure"
        assert attempt["cause"] == "it ended, and no space was left to write how"


def test_a_program_that_fails_on_a_full_disk_is_not_blamed_for_it(
    tmp_path: Path, disk: Path
) -> None:
    gate = make_gate(tmp_path)
    script = f"echo > {tmp_path}/ran; read _ < {gate}; echo result > result || exit 3\n"
    yaml = f"{YAML}outpath: {disk}\n"
    with new_study(tmp_path / "s", script, yaml) as study, launching(study):
        create(study)
        wait_for_file(tmp_path / "ran")
        fill(disk)
        open_gate(gate)
        (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "infrastructure"
        assert attempt["cause"] == "exit code 3, with no space left on its disk"


def test_runs_made_while_the_disk_is_full_start_when_it_is_not(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "PAUSE_S", 0.02)
    told: list[list[Trouble]] = []
    yaml = f"{YAML}outpath: {disk}\n"
    with (
        new_study(tmp_path / "s", "true\n", yaml) as study,
        launching(study, tell=lambda now: told.append(list(now))),
    ):
        fill(disk)
        create(study, 5)
        wait_until(lambda: bool(told))
        free(disk)
        wait_for_state(study, "FINISHED", 1, 2, 3, 4, 5)

        assert all(len(attempts(study, run_id)) == 1 for run_id in range(1, 6))
    assert str(told[0][0]).startswith(f"cannot start runs in {study.runs_dir} since ")
    assert told[-1] == []


def test_what_an_office_says_of_itself_can_change_on_a_full_disk(disk: Path) -> None:
    office = Office(disk / "launcher.lock", "the launcher")
    office.take({"generator": "bash"})
    began = office.last_owner()
    fill(disk)
    trouble = Trouble("cannot write in /there", "No space left on device", 7.0)

    office.update({"generator": "bash", "troubles": [trouble._asdict()]})
    owner = office.owner()
    office.leave()

    assert began is not None and owner is not None
    assert owner.facts["troubles"] == [trouble._asdict()]
    assert owner.began == began.began


SCRIPT = """\
import motoko
with motoko.running() as (run, job):
    open("GATE").read()
    WORK
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize("filling", [fill, fill_blocks])
@pytest.mark.parametrize(
    "work",
    [
        "open('result', 'wb').write(b'0' * 900_000)",
        "open('/dev/full', 'w').write('0' * 900_000)",  # which is no disk of its own
        "run.push_quantity(list(range(60_000)), list(range(60_000)), 'u')",
    ],
)
def test_a_script_that_meets_a_full_disk_has_failed_for_that(
    tmp_path: Path,
    disk: Path,
    work: str,
    filling: Callable[[Path], None],
    is_watched: bool,
) -> None:
    gate = make_gate(tmp_path)
    program = tmp_path / "doIt.py"
    program.write_text(SCRIPT.replace("GATE", str(gate)).replace("WORK", work))
    script = f"echo $$ >> {tmp_path}/pids; {sys.executable} {program}\n"
    with new_study(tmp_path / "s", script, f"{ONCE}outpath: {disk}\n") as study:
        with launching(study):
            create(study)
            pid = int(wait_for_file(tmp_path / "pids"))
            wait_until(lambda: list(study.run_dir(1).glob(".motoko-journal-*")))
            if is_watched:
                filling(disk)
                open_gate(gate)
                wait_for_attempts(study, 1)
        if not is_watched:
            filling(disk)
            open_gate(gate)
            reap(pid)
        free(disk)
        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "infrastructure", attempt
