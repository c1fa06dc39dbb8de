"""The log of firings, as `motoko info --events` shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


@pytest.mark.slow
def test_firings_are_listed_with_what_they_did(here: CommandLine) -> None:
    here.run("run", "--run_name", "first")
    here.run("run", "--run_name", "second")

    done = here.run("info", "--events")
    latest = here.json("info", "--events", "--limit", "1")
    of_first = here.json("info", "--run_name", "first")["events"]

    assert [line.split()[4:] for line in done.stdout.splitlines()[1:]] == [
        ["first", "all_drawn", "mean.1", "mean"],
        ["second", "all_drawn", "mean.2", "mean"],
    ]
    assert [(e["run_name"], e["event"], e["created"]) for e in latest] == [
        ("second", "all_drawn", {"mean": [[2, 2]]})
    ]
    assert [(e["state"], e["variables"]) for e in of_first] == [("ended", ["mean"])]


@pytest.mark.slow
def test_firing_without_end_is_open_and_then_interrupted(here: CommandLine) -> None:
    (here.directory / "mean" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "--run_name", "first", "--detach")
    here.wait_for_script("mean")

    [is_open] = here.json("info", "--events")
    here.run("orchestrator", "stop")
    [left] = here.json("info", "--events")

    assert (is_open["state"], is_open["ended"]) == ("open", None)
    assert left == {**is_open, "state": "interrupted"}
    (here.directory / "go").touch()
    wait_until(lambda: here.counts("mean") == {"FINISHED": 1}, "the mean")
    here.run("run", "--run_name", "first")
    [ended] = here.json("info", "--events")
    assert (ended["key"], ended["state"]) == (left["key"], "ended")


@pytest.mark.slow
def test_workflow_without_firings_says_so(here: CommandLine) -> None:
    here.run("create")

    assert here.run("info", "--events").stdout == "no firing has changed anything yet\n"
    assert here.json("info", "--events") == []
