"""An attempt in the launcher's hands: what it hands over to be recorded, and when."""

from __future__ import annotations

import builtins
import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from motoko.job import facts as job_facts
from motoko.job import layout, outcome, token
from motoko.job.journal import Journal
from motoko.job.outcome import Outcome
from motoko.job.phases import Look
from motoko.launch.attempt import Attempt
from motoko.model.schema import Schema

NONCE = "abc"


LOST = {"number": 1, "nonce": "lost", "class": "infrastructure"}


def attempt_in(
    run_dir: Path,
    state: str = "SUBMITTED",
    known: Any = None,
    attempt: int = 1,
    **more: Any,
) -> Attempt:
    row = {
        "id": 1,
        "attempt": attempt,
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


def test_a_newer_value_is_not_overwritten_by_one_that_could_not_be_recorded(
    tmp_path: Path,
) -> None:
    journal = Journal(str(tmp_path), 1, NONCE)
    attempt = attempt_in(tmp_path)
    for name, value in (("y", "old"), ("z", "only")):
        journal.append("set", name=name, value=value)
    attempt.fold()
    refused = attempt.take_record()
    journal.append("set", name="y", value="new")
    attempt.fold()

    attempt.put_back(refused)

    assert attempt.take_record().entries == {"y": "new", "z": "only"}


@pytest.mark.parametrize("is_taken_over", [False, True])
@pytest.mark.parametrize("is_folded_before", [False, True])
def test_nothing_that_a_script_said_is_lost_whichever_file_cannot_be_opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_folded_before: bool,
    is_taken_over: bool,
) -> None:
    n_opened, n_refused = 0, -1
    real = builtins.open

    def opened(*args: Any, **more: Any) -> Any:
        nonlocal n_opened
        n_opened += 1
        if n_opened == n_refused:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*args, **more)

    def ended(run_dir: Path) -> Any:
        """What is recorded of an attempt that says this and that and ends."""
        nonlocal n_opened
        run_dir.mkdir()
        journals = [Journal(str(run_dir), 2, NONCE, lambda at=at: at) for at in (1.0, 2.0)]
        attempt = attempt_in(run_dir, attempt=2, before=LOST)
        attempt.begin(1, 1.0)
        for i, journal in enumerate(journals):
            journal.append("set", name="before", value=i)
        told = {}
        if is_folded_before:
            attempt.fold()
            record = attempt.take_record()
            told = record.entries
            if is_taken_over:
                attempt = attempt_in(run_dir, "RUNNING", record.facts, attempt=2, before=LOST)
        for i, journal in enumerate(journals):
            journal.append("set", name=f"said_{i}", value=i)
            journal.append("quantity", name=f"q{i}")
            (run_dir / f"q{i}.csv").write_text(f"step[int],q{i}[float]\n3,{i}\n")
        journals[0].append("fail", reason="diverged")
        (run_dir / "own.csv").write_text("step[int],own[float]\n2,7\n")
        outcome.write_outcome(run_dir, 1, "lost", Outcome(0, 1.0, 2.0, "here", 1))
        n_opened = 0
        for look in (attempt.fold, lambda: attempt.end(0, 3.0)):
            while True:
                try:
                    look()
                except OSError as error:
                    if error.errno != errno.EMFILE:
                        raise
                else:
                    break
        n_done = n_opened
        record = attempt.take_record()
        said = {**told, **record.entries}
        facts = {k: v for k, v in record.facts.items() if k != "folded"}
        return n_done, (said, record.quantities, record.late, attempt.state, facts)

    monkeypatch.setattr(builtins, "open", opened)
    n_needed, expected = ended(tmp_path / "undisturbed")
    assert expected[0].keys() >= {"before", "said_0", "said_1"}
    assert expected[1].keys() == {"q0", "q1", "own"}
    assert expected[2] is not None and expected[3] == "FAILED"
    assert n_needed >= 8
    for n_refused in range(1, n_needed + 1):
        assert ended(tmp_path / str(n_refused))[1] == expected


@pytest.mark.parametrize(("exit_code", "before"), [(0, ""), (1, "exit code 1; ")])
def test_removed_directory_is_the_cause_of_a_failure(
    tmp_path: Path, exit_code: int, before: str
) -> None:
    run_dir = tmp_path / "run-1"
    run_dir.mkdir()
    Journal(str(run_dir), 1, NONCE).append("start")
    attempt = attempt_in(run_dir)
    attempt.begin(1, 1.0)
    attempt.fold()
    shutil.rmtree(run_dir)

    attempt.end(exit_code, 3.0)

    cause = f"{before}its directory {run_dir} was removed or renamed while it executed"
    assert attempt.take_record().facts["cause"] == cause


def test_an_attempt_whose_sentinels_cannot_be_read_has_not_ended(tmp_path: Path) -> None:
    looks: list[Exception | Look] = [
        OSError(errno.EIO, "Input/output error"),
        Look("FAILED", {}, {("", ""): ["diverged.flag"]}),
    ]
    attempt = attempt_in(tmp_path)

    def look() -> Look:
        found = looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    attempt.files = cast(Any, SimpleNamespace(look=look))
    attempt.begin(1, 1.0)

    with pytest.raises(OSError):
        attempt.end(0, 3.0)
    was_over = attempt.is_over
    attempt.end(0, 4.0)

    assert not was_over
    assert attempt.state == "FAILED" and "diverged.flag" in str(attempt.take_record().facts)


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
    attempt._leaving.unwritten = OSError("the disk was full")
    attempt._leaving._outcome = Outcome(0, 1.0, 2.0, "here", 1)
    attempt._leaving._sentinel = "FINISHED"

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
        left.append(attempt.walltime.left_s)

    assert left == [pytest.approx(50, abs=5)] * 2


FAIL = {"reason": "OSError: full", "error": "OSError", "message": "full", "traceback": ""}


@pytest.mark.parametrize(
    ("said", "is_full", "is_told", "expected"),
    [
        ({**FAIL, "no_space": True}, False, False, ("infrastructure", "OSError: full")),
        (
            FAIL,
            True,
            False,
            ("infrastructure", "OSError: full, with no space left on its disk"),
        ),
        (
            FAIL,
            False,
            True,
            ("infrastructure", "OSError: full, with no space left on its disk"),
        ),
        (FAIL, False, False, ("application", "OSError: full")),
        ({"reason": "diverged"}, True, True, ("application", "diverged")),
        (None, False, True, ("infrastructure", "exit code 1, with no space left on its disk")),
        (None, False, False, ("application", "exit code 1")),
    ],
)
def test_a_full_disk_is_a_matter_of_infrastructure_as_long_as_it_is_known(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, Any] | None,
    is_full: bool,
    is_told: bool,
    expected: tuple[str, str],
) -> None:
    monkeypatch.setattr("motoko.launch.space.is_full", lambda directory: is_full)
    if is_told:  # by a shell that had no space for its outcome
        line = '{"nonce":"abc","exit":1,"begin":1.0,"end":2.0,"host":"h","pid":7}'
        Path(layout.token_file(str(tmp_path), 1)).write_text(f"{{}}\nfull {line}\n")
    attempt = attempt_in(tmp_path)
    attempt.begin(7, 1.0)
    if said is not None:
        Journal(str(tmp_path), 1, NONCE).append("fail", **said)
        attempt.fold()

    attempt.end(1, 2.0)

    facts = attempt.take_record().facts
    assert (facts["class"], facts["cause"]) == expected


def test_only_what_executes_here_has_its_walltime_stand_still_while_the_machine_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, slept_s = time.clock_gettime, 0.0

    def clock_gettime(clock: int) -> float:
        return real(clock) + (slept_s if clock == time.CLOCK_BOOTTIME else 0.0)

    monkeypatch.setattr(time, "clock_gettime", clock_gettime)
    of_job = {"batch": {"generator": "slurm", "id": "1"}}
    here = attempt_in(tmp_path, default_walltime=3600.0)
    in_batch = attempt_in(tmp_path, known=of_job, default_walltime=3600.0)
    fd = token.take_token(tmp_path, 1, token.token_facts(NONCE, "g"))
    assert fd is not None
    os.close(fd)
    for attempt in (here, in_batch):
        attempt.begin(1, time.time(), age_s=0.0)
    slept_s = 7200.0
    taken = token.read_token(tmp_path, 1)
    adopted = attempt_in(tmp_path, default_walltime=3600.0)
    assert taken is not None
    adopted.begin(1, time.time() - slept_s, age_s=taken.age_s)

    assert [one.walltime.is_over for one in (here, adopted, in_batch)] == [False, False, True]
    by_batch = taken._replace(
        facts={**taken.facts, "awake": None, "clock": real(time.CLOCK_BOOTTIME)}
    )
    assert by_batch.age_s is not None and by_batch.age_s >= 7200
