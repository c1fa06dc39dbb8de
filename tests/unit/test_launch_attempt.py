"""An attempt in the launcher's hands: what it hands over to be recorded, and when."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from motoko.job import facts as job_facts
from motoko.job import layout, outcome
from motoko.job.journal import Journal
from motoko.job.outcome import Outcome
from motoko.launch.attempt import Attempt
from motoko.model.schema import Schema

NONCE = "abc"


def attempt_in(
    run_dir: Path, state: str = "SUBMITTED", known: Any = None, **more: Any
) -> Attempt:
    row = {
        "id": 1,
        "attempt": 1,
        "nonce": NONCE,
        "state": state,
        "run_name": "r",
        "job_id": 1,
    }
    schema = Schema("s", {}, {})
    return Attempt(schema, row, {}, str(run_dir), manifest=None, known=known, **more)


def test_a_record_stays_as_it_is_while_the_attempt_goes_on(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), 1, NONCE)
    attempt = attempt_in(tmp_path)
    attempt.begin(1, 1.0)
    journal.append("set", name="y", value=1)
    attempt.fold()

    record = attempt.take_record()
    journal.append("set", name="z", value=2)
    attempt.fold()

    assert record.entries == {"start_time": 1.0, "y": 1}
    next_one = attempt_in(tmp_path, "RUNNING", known=record.facts)
    next_one.fold()
    assert next_one.take_record().entries == {"z": 2}


@pytest.mark.parametrize("is_at_home", [True, False])
def test_an_attempt_writes_into_its_own_run_directory_alone(
    tmp_path: Path, is_at_home: bool
) -> None:
    attempt = attempt_in(tmp_path)
    nonce = NONCE if is_at_home else "of the next attempt"
    facts = {name: kind() for name, kind in job_facts._NEEDED.items()}
    facts |= {"format": job_facts.FORMAT, "nonce": nonce}
    Path(layout.run_file(str(tmp_path))).parent.mkdir(exist_ok=True)
    Path(layout.run_file(str(tmp_path))).write_text(json.dumps(facts))
    attempt.unwritten = OSError("the disk was full")
    attempt._outcome = Outcome(0, 1.0, 2.0, "here", 1)
    attempt._sentinel = "FINISHED"

    attempt.write_files()

    assert (tmp_path / "FINISHED").exists() is is_at_home
    assert attempt.unwritten is None


def test_an_attempt_that_is_found_as_it_was_has_no_news(tmp_path: Path) -> None:
    attempt = attempt_in(tmp_path)
    attempt.begin(7, 1.0, "here")
    attempt.take_record()

    attempt.begin(7, 1.0, "here")
    has_news_of_the_same = attempt.has_news
    attempt.begin(8, 1.0, "here")

    assert not has_news_of_the_same
    assert attempt.has_news


@pytest.mark.parametrize(("left", "state"), [(0, "FINISHED"), (3, "FAILED"), (None, "FAILED")])
def test_a_shell_that_is_killed_may_have_written_how_its_script_ended(
    tmp_path: Path, left: int | None, state: str
) -> None:
    attempt = attempt_in(tmp_path)
    if left is not None:
        outcome.write_outcome(tmp_path, 1, NONCE, Outcome(left, 1.0, 2.0, "here", 5))

    attempt.end(-signal.SIGKILL, 3.0)

    assert attempt.state == state
    assert attempt.take_record().facts["exit_code"] == (-9 if left is None else left)


def test_a_walltime_on_another_host_is_told_by_a_clock_that_nobody_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    attempt = attempt_in(tmp_path, default_walltime=60.0)
    attempt.begin(1, now - 10, "elsewhere")

    left = []
    for shift in (-18000, 18000):
        monkeypatch.setattr(time, "time", lambda shift=shift: now + shift)
        left.append(attempt.left_s)

    assert left == [pytest.approx(50, abs=5)] * 2
