"""Durations as people and batch systems write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.config import parse_walltime


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1.5 H", 5400),
        ("1d 2h 3m 4s", 93784),
        ("10:30", 630),
        ("00:10:00", 600),
        ("10:00:00", 36000),
        ("100:00:00", 360000),
        ("90:00", 5400),
        ("1-00:00:00", 86400),
        ("1-12:30", 131400),
        ("2-12", 216000),
        (timedelta(minutes=3), 180),
    ],
)
def test_duration_is_understood(written, seconds):
    assert parse_walltime(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", " ", "soon", "-1", -1, 0, "0", "00:00:00", "1:2:3:4", "1h-2", "10 minutes", "1m2h",
     "1:99:00", "10:60", "1-24", "1-2:60",
     True, None, [1], float("nan"), float("inf"), 10**400, "1-", "1e3", "9" * 400],
)  # fmt: skip
def test_anything_else_is_refused(written):
    with pytest.raises(ValueError, match=r"^a duration: seconds, "):
        parse_walltime(written)


@given(st.integers(0, 50), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_clock_and_units_agree(days, hours, minutes, seconds):
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        return

    assert parse_walltime(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == total
    assert parse_walltime(f"{days}d{hours}h{minutes}m{seconds}s") == total
