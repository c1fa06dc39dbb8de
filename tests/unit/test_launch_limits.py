"""How many runs execute at once, and classes of failure."""

from __future__ import annotations

import errno
import logging
import os
import signal
from pathlib import Path

import pytest

from motoko.config import GENERATORS, retry
from motoko.errors import UnknownGenerator, WorkflowError
from motoko.job.outcome import Outcome
from motoko.launch import slots
from motoko.launch.failure import MemoryKills, classify, is_transient
from motoko.launch.generator import find_generator, generator_names
from motoko.launch.limits import Walltime
from motoko.launch.slots import Slots, available_cores, cgroup_quota
from motoko.workflow.limits import read_limit


def test_runs_take_as_many_cores_as_they_say() -> None:
    room = Slots(4)
    room.take(3, "s.1")

    assert room.fits(1) and not room.fits(2)
    assert room.n_free == 1
    room.release(3)
    assert room.fits(4)


def test_a_run_that_asks_for_more_than_there_is_executes_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Slots(2)
    room.take(1, "s.1")
    assert not room.fits(8)
    room.release(1)

    with caplog.at_level(logging.WARNING):
        room.take(8, "s.2")
        room.release(8)
        room.take(8, "s.3")

    assert not room.fits(1)
    assert caplog.text.count("execute alone") == 1
    assert "s.2 asks for 8 cores, and there are 2" in caplog.text
    room.release(8)
    assert room.n_free == 2


def test_a_number_of_runs_counts_runs_and_not_cores() -> None:
    room = Slots(1, max_concurrent=2)
    room.take(16, "s.1")

    assert room.fits(16)
    room.take(16, "s.2")
    assert not room.fits(1)


def test_cores_are_those_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "cgroup_quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 5})
    assert available_cores() == 3

    monkeypatch.setattr(slots, "cgroup_quota", lambda: 1.5)
    assert available_cores() == 2
    monkeypatch.setattr(slots, "cgroup_quota", lambda: 0.2)
    assert available_cores() == 1


def test_the_tightest_quota_of_all_groups_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "own_group", lambda name: "/a/b" if name == "" else None)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cgroup_quota(tmp_path) is None

    (tmp_path / "a" / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "a" / "b" / "cpu.max").write_text("800000 100000\n")
    assert cgroup_quota(tmp_path) == 1.5


def test_quotas_of_version_1_groups_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "own_group", lambda name: "/" if name == "cpu" else None)
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cgroup_quota(tmp_path) is None

    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("250000\n")
    assert cgroup_quota(tmp_path) == 2.5


@pytest.mark.parametrize(
    ("exit_code", "timed_out", "out_of_memory", "expected"),
    [
        (1, False, False, "application"),
        (-signal.SIGTERM, True, False, "walltime"),
        (-signal.SIGKILL, False, True, "out of memory"),
        (137, False, True, "out of memory"),
        (-signal.SIGKILL, False, False, "infrastructure"),
        (-signal.SIGTERM, False, False, "infrastructure"),
        (-signal.SIGHUP, False, False, "infrastructure"),
        (-signal.SIGSEGV, False, False, "application"),
        (137, False, False, "application"),
        (2, False, True, "application"),
        (None, False, False, "infrastructure"),
        (None, True, False, "walltime"),
    ],
)
def test_failures_have_classes(
    exit_code: int | None, timed_out: bool, out_of_memory: bool, expected: str
) -> None:
    found = classify(exit_code, timed_out=timed_out, out_of_memory=out_of_memory)

    assert found == expected
    assert found in retry.CLASSES


def test_kills_for_want_of_memory_are_told_once(tmp_path: Path) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 3\noom_kill 2\n")
    kills = MemoryKills(counter)

    assert not kills.has_new()
    counter.write_text("low 0\noom 4\noom_kill 3\n")
    assert kills.has_new()
    assert not kills.has_new()


def test_errors_that_may_pass_are_known() -> None:
    assert is_transient(OSError(errno.ENOSPC, "full"))
    assert not is_transient(OSError(errno.ENOENT, "none"))


def test_generators_are_found_by_both_spellings() -> None:
    assert find_generator("bash").name == "bash"
    assert find_generator("bashCoat", ["a=1"]).options == ("a=1",)


def test_an_unknown_generator_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(
        UnknownGenerator,
        match=r"'bush'; did you mean 'bash'\? \(known: bash, dask, pbs, sge, slurm\)",
    ):
        find_generator("bush")


def test_configuration_names_the_generators_that_there_are() -> None:
    assert list(GENERATORS) == generator_names()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_concurent=3", "'max_concurent' is no limit that can be set; did you mean"),
        ("solve.walltime=3", "'walltime' is no limit that can be set"),
        ("max_submitted=0", "'max_submitted=0' sets no limit: expected [STUDY.]NAME=NUMBER"),
        ("solve", "'solve' sets no limit"),
    ],
)
def test_what_is_no_limit_is_said_in_words_about_limits(text: str, said: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        read_limit(None, text)  # type: ignore[arg-type]

    assert said in str(caught.value) and "study" not in str(caught.value)


@pytest.mark.parametrize(
    ("ended", "now", "left", "took"),
    [
        (None, 1010.0, None, None),  # all clocks agree
        (None, 1010.0, Outcome(0, 1000.0, 1010.0, "h", 1, 10.0), None),
        (None, -2590.0, None, 10.0),
        (None, 4610.0, Outcome(0, 1000.0, 4610.0, "h", 1, 9.9), 9.9),
        (4608.0, 4610.0, None, 8.0),  # it had said so two seconds before
        (9000.0, 4610.0, None, 10.0),
        (None, 1004.0, Outcome(0, 1000.0, 1004.0, "h", 1, 4.0), None),  # long ago
        (None, 4604.0, Outcome(0, 1000.0, 4604.0, "h", 1, 4.0), 4.0),
        (None, 4604.0, Outcome(0, 1000.0, 4604.0, "h", 1), None),  # nobody knows better
        (1009.0, 1012.0, Outcome(0, 1000.0, 1010.0, "h", 1, 10.0), None),  # it was seen late
        (4608.0, 4612.0, Outcome(0, 1000.0, 4610.0, "h", 1, 10.0), 8.0),
    ],
)
def test_how_long_an_attempt_took_is_told_where_times_of_day_do_not(
    ended: float | None, now: float, left: Outcome | None, took: float | None
) -> None:
    walltime = Walltime(None)
    walltime.begin(1000.0, 0.0, iter([50.0, 60.0]).__next__)

    found = walltime.took_s(1000.0, ended, now, lambda: left)

    assert found == (None if took is None else pytest.approx(took))
