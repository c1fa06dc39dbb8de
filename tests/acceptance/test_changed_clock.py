"""The clock is set back and forth by hours while a workflow runs: nobody takes notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import HOUR_S, Clock
from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

BD = """\
study: sample
job: {seed: int}
run: {value: float}
"""
#: Runs that wait for the test, each with its own gate.
HELD = """\
echo $MOTOKO_RUN_ID $MOTOKO_ATTEMPT >>../../../executed
while [ ! -e ../../../go ] && [ ! -e ../../../go-$MOTOKO_RUN_ID ]; do sleep 0.02; done
python3 doIt.py
"""


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(tmp_path)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    return clock


@pytest.fixture
def here(tmp_path: Path, clock: Clock) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        (line.directory / "sample/launch.sh").write_text(HELD)
        try:
            yield line
        finally:
            clock.set(0)


def attempts(here: CommandLine, run: str = "sample.1") -> list[dict[str, Any]]:
    """What is known of the attempts of a run."""
    found: list[dict[str, Any]] = here.json("runs", "show", run)["attempts"]
    return found


def executed(here: CommandLine) -> list[str]:
    """Run and attempt of each execution."""
    file = here.directory / "executed"
    return sorted(file.read_text().splitlines()) if file.exists() else []


def begin(here: CommandLine, n_samples: int = 2) -> None:
    """Start everything in the background and wait until samples execute."""
    count = str(n_samples)
    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", count)
    wait_until(lambda: here.counts("sample").get("RUNNING", 0) > 0, "a sample")


def kill_launcher(here: CommandLine) -> None:
    """``kill -9``; wait until it is gone."""
    here.kill("launcher")
    wait_until(lambda: here.pid("launcher") is None, "its end")


def test_no_walltime_is_over_and_none_lasts_longer(here: CommandLine, clock: Clock) -> None:
    (here.directory / "sample/bd.yaml").write_text(BD + "walltime: 1h\n")
    begin(here)

    for shift in (5 * HOUR_S, -5 * HOUR_S, 10 * HOUR_S):
        clock.set(shift)
        kill_launcher(here)
        here.run("launcher")  # adopts what executes
        assert here.counts("sample") == {"RUNNING": 2}, shift
    clock.set(0)
    (here.directory / "go").touch()
    wait_until(lambda: here.counts("sample") == {"FINISHED": 2}, "the samples")

    assert executed(here) == ["1 1", "2 1"]


def test_a_walltime_ends_in_time_when_the_clock_was_set_back(
    here: CommandLine, clock: Clock
) -> None:
    (here.directory / "sample/bd.yaml").write_text(BD + "walltime: 3s\n")
    begin(here, 1)
    clock.set(-5 * HOUR_S)
    kill_launcher(here)
    here.run("launcher")

    wait_until(lambda: here.counts("sample") == {"FAILED": 1}, "the end of its walltime")

    assert attempts(here)[0]["class"] == "walltime"


def test_how_long_a_run_took_is_told_by_a_clock_that_nobody_sets(
    here: CommandLine, clock: Clock
) -> None:
    def elapsed(run_id: int) -> float:
        rows = here.json("runs", "list", "sample")
        [found] = [row["elapsed_s"] for row in rows if row["id"] == run_id]
        return float(found)

    begin(here)
    clock.set(5 * HOUR_S)
    assert 0 < elapsed(2) < 600
    (here.directory / "go-1").touch()  # the launcher sees it end
    wait_until(lambda: here.counts("sample").get("FINISHED") == 1, "the first sample")
    clock.set(-5 * HOUR_S)
    kill_launcher(here)
    (here.directory / "go-2").touch()  # nobody sees it end
    wait_until(lambda: any(here.directory.glob("sample/*/run-2/.motoko-outcome-1")))
    here.run("launcher")
    wait_until(lambda: here.counts("sample") == {"FINISHED": 2}, "the second sample")

    assert 0 < elapsed(1) < 600
    assert 0 < elapsed(2) < 600
    took = [a["took_s"] for run in ("sample.1", "sample.2") for a in attempts(here, run)]
    assert len(took) == 2


@pytest.mark.parametrize("shift", [5 * HOUR_S, -5 * HOUR_S])
def test_a_retry_comes_neither_early_nor_never(
    here: CommandLine, clock: Clock, shift: int
) -> None:
    (here.directory / "sample/bd.yaml").write_text(BD + "retry: {application: 1, delay: 6s}\n")
    (here.directory / "sample/launch.sh").write_text(
        "read up _ </proc/uptime; echo $up >>../../../executed; exit $((2 - MOTOKO_ATTEMPT))\n"
    )
    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "1")
    wait_until(lambda: executed(here), "the first attempt")
    wait_until(lambda: here.counts("sample") == {"CREATED": 1}, "its end")

    clock.set(shift)
    kill_launcher(here)
    here.run("launcher")
    wait_until(lambda: here.counts("sample") == {"FINISHED": 1}, "the second attempt")

    first, second = map(float, (here.directory / "executed").read_text().split())
    assert second - first >= 6


def test_what_a_script_says_last_counts(here: CommandLine, clock: Clock) -> None:
    (here.directory / "sample/launch.sh").write_text("python3 doIt.py\n")
    (here.directory / "sample/doIt.py").write_text(f"""\
import struct, motoko
run, job = motoko.get_run()
run.start()
run.value = 1.0
with open({clock.environment["MOTOKO_TEST_CLOCK"]!r}, "r+b") as file:
    file.write(struct.pack("q", {-5 * HOUR_S}))
run.value = 2.0
run.finish()
run.fail("too late")
""")

    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "1")
    wait_until(lambda: here.counts("sample") == {"FINISHED": 1}, "the sample")

    [row] = here.json("runs", "list", "sample")
    assert (row["state"], row["entries"]["value"]) == ("FINISHED", 2.0)


def test_a_workflow_comes_to_the_same_end_while_its_clock_jumps(
    here: CommandLine, clock: Clock
) -> None:
    with here.started("run", "-n", "first") as process:
        for i, shift in enumerate((3 * HOUR_S, -7 * HOUR_S, 11 * HOUR_S, -1 * HOUR_S, 0), 1):
            clock.set(shift)
            (here.directory / f"go-{i}").touch()
            wait_until(lambda i=i: here.counts("sample").get("FINISHED") == i, f"sample {i}")
            if i == 3:
                kill_launcher(here)
                here.kill("server")
        said, messages = process.communicate(timeout=60)

    assert process.returncode == 0, messages
    assert executed(here) == [f"{i} 1" for i in range(1, 6)]
    assert here.json("info")["variables"].keys() == {"mean"}
    assert "after 0." in said.splitlines()[-1] or "after -" not in said
    assert here.run("verify").stdout.endswith("no findings\n")


def test_a_process_that_keeps_dying_is_told_from_one_that_lived_long(
    here: CommandLine, clock: Clock
) -> None:
    for shift in (5 * HOUR_S, -5 * HOUR_S, 0):
        here.run("launcher")
        kill_launcher(here)
        clock.set(shift)
    here.run("launcher")

    assert "the launcher has died 3 times in a row" in here.run("info").stdout
