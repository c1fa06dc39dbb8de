"""What became of an attempt that another launcher began, told from its files."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from motoko.host import boot_id, host_name
from motoko.job import outcome
from motoko.job.outcome import Outcome
from motoko.job.token import take_token, token_facts
from motoko.launch.adoption import Fate, examine
from motoko.launch.attempt import Attempt

NONCE = "abc"


class Known:
    """What `examine` needs to know of an attempt."""

    number, nonce = 1, NONCE

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = str(run_dir)


def fate(run_dir: Path) -> Fate:
    return examine(cast("Attempt", Known(run_dir))).fate


def take(run_dir: Path, started: str = "", **facts: Any) -> int:
    """Take the token with other facts than this process's; the descriptor that holds it."""
    fd = take_token(run_dir, 1, {**token_facts(NONCE, "g"), **facts})
    assert fd is not None
    os.write(fd, started.encode())
    return fd


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_token_that_is_held_executes(tmp_path: Path, sleeper: Any) -> None:
    fd = take(tmp_path, f"started {sleeper.pid} 1.5\n")

    found = examine(cast("Attempt", Known(tmp_path)))
    sleeper.kill()
    sleeper.wait()

    assert found[:5] == (Fate.RUNNING, None, sleeper.pid, 1.5, host_name())
    assert found.age_s is not None
    assert fate(tmp_path) is Fate.HELD
    os.close(fd)
    assert fate(tmp_path) is Fate.VANISHED


def test_the_token_of_another_nonce_says_nothing(tmp_path: Path) -> None:
    assert fate(tmp_path) is Fate.UNSTARTED
    with open(take(tmp_path, nonce="another")):
        assert fate(tmp_path) is Fate.UNSTARTED


def test_a_damaged_token_is_taken_for_its_own(tmp_path: Path) -> None:
    with open(take(tmp_path)):
        (tmp_path / ".motoko-token-1").write_text("{half")
        assert fate(tmp_path) is Fate.HELD


def test_another_host_is_not_judged_by_what_is_here(tmp_path: Path) -> None:
    os.close(take(tmp_path, host="node17", boot="another"))

    found = examine(cast("Attempt", Known(tmp_path)))

    assert (found.fate, found.host) == (Fate.ELSEWHERE, "node17")


def test_the_start_of_a_host_ends_what_executed_on_it(tmp_path: Path, sleeper: Any) -> None:
    # Process numbers begin anew, and one of them is that of the script before.
    with open(take(tmp_path, f"started {sleeper.pid} 1.5\n", boot="before")):
        found = examine(cast("Attempt", Known(tmp_path)))

    assert (found.fate, found.host, found.started) == (Fate.REBOOTED, host_name(), 1.5)


@pytest.mark.parametrize("boot", ["", boot_id()])
def test_a_host_that_was_not_started_anew_decides_by_its_locks(
    tmp_path: Path, boot: str
) -> None:
    with open(take(tmp_path, boot=boot)):
        assert fate(tmp_path) is Fate.HELD


@pytest.mark.parametrize(
    ("facts", "nonce", "expected"),
    [
        ({}, NONCE, Fate.ENDED),
        ({"boot": "before"}, NONCE, Fate.ENDED),
        ({"host": "node17"}, NONCE, Fate.ENDED),
        ({}, "another", Fate.VANISHED),
        ({"nonce": "another"}, "another", Fate.UNSTARTED),
        ({"boot": "before"}, "another", Fate.REBOOTED),
        ({"host": "node17"}, "another", Fate.ELSEWHERE),
    ],
)
def test_an_outcome_of_its_own_tells_more_than_its_token(
    tmp_path: Path, facts: dict[str, str], nonce: str, expected: Fate
) -> None:
    os.close(take(tmp_path, **facts))
    outcome.write_outcome(tmp_path, 1, nonce, Outcome(0, 1.0, 2.0, "node17", 7))

    assert fate(tmp_path) is expected
    assert json.loads((tmp_path / ".motoko-outcome-1").read_text())["nonce"] == nonce


def test_a_later_process_of_the_same_number_is_not_taken_for_it(
    tmp_path: Path, sleeper: Any
) -> None:
    with open(take(tmp_path, f"started {sleeper.pid} 1.5 1\n")):
        assert fate(tmp_path) is Fate.HELD
