"""Each measurement works: run at a tiny size, without peers, so that none rots."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import table
from tests.bench.__main__ import TINY
from tests.bench.growth import PANELS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TINY)
@pytest.mark.slow
def test_a_measurement_gives_figures(name: str, tmp_path: Path) -> None:
    options = ["--tiny", "--peers", str(tmp_path), "--json", str(tmp_path / "figures")]
    command = [sys.executable, "-m", "tests.bench", *options, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stderr
    assert "median" in done.stdout
    found = json.loads((tmp_path / "figures").read_text())
    assert found["versions"]["ZODB"]
    if name == "old":
        assert "motoko 0.1.4: not there" in done.stdout
    else:
        assert {row["what"] for row in found["rows"]}


@pytest.mark.slow
def test_growth_is_drawn(tmp_path: Path) -> None:
    options = ["--tiny", "--growth", str(tmp_path / "growth.png")]
    command = [sys.executable, "-m", "tests.bench", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "growth.json").read_text())
    assert all(found["10"][key] > 0 for _, _, lines in PANELS for key in lines.values())


@pytest.mark.slow
def test_commands_on_many_directories_are_measured() -> None:
    command = [sys.executable, "-m", "tests.bench.directories", "12", "--packed", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    named = {"du", "dataframe", "archive of 4", "archive --unpack of 4", "runs delete"}
    assert named <= found.keys() and min(found.values()) > 0


def test_a_bar_is_reached_by_the_median() -> None:
    samples = {"fan_out": [300.0, 90.0, 500.0], "fan_out of loop": [400.0, 400.0, 1000.0]}

    ours, loop = table.lines(samples)

    assert (ours.median, ours.least, ours.greatest) == (300.0, 90.0, 500.0)
    assert (loop.peer, loop.ratio, loop.is_reached) == ("loop", 0.75, True)
    samples["ratio loop: fan_out"] = [0.5, 0.7, 0.55]
    assert table.lines(samples)[1].is_reached is False


def test_less_is_better_where_the_bar_says_so() -> None:
    ours, peer = table.lines({"chain": [31.0], "chain of dask": [62.0]})

    assert ours.is_reached is False
    assert peer.ratio == 2.0
    assert "31.0" in table.text([ours, peer])
    assert "NO" in table.text([ours, peer])


def test_what_was_too_short_to_be_measured_makes_no_ratio_fail() -> None:
    for ours, other in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        found = table.lines({"chain": [ours], "chain of dask": [other]})

        assert "dask" in table.text(found)
