"""Why a run waits and why an event has not fired, asked from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"
STALLING = """\
async def main(workflow, **params):
    workflow.add_action("large", "sample", ["state = FINISHED", "value > 100"], f=act)
    workflow.add_action("never", event=lambda: False, f=act)
    workflow.sample.createTask(seed=[1, 2])


async def act(**params):
    pass
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


def why(here: CommandLine, what: str) -> tuple[str, str]:
    """Reason and sentence of one answer."""
    [found] = here.json("why", what)
    return found["reason"], found["sentence"]


@pytest.mark.slow
def test_runs_and_events_say_why(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    with (here.directory / "motoko.yaml").open("a") as file:
        file.write("max_concurrent: 2\n")
    here.run("orchestrator", "start", "--run_name", "first", "--detach")
    wait_until(lambda: here.counts("sample").get("RUNNING") == 2, "two runs")

    executing, waiting = why(here, "sample.1"), why(here, "sample.5")
    shown = here.run("why", "sample.5", "-v").stdout
    drawn = here.run("why", "all_drawn", "-v").stdout
    unknown = here.run("why", "all_drwn", code=4).stderr

    assert executing[0] == "executing"
    assert " as process " in executing[1]
    assert waiting[0] == "max_concurrent"
    assert "2 runs may execute at once" in waiting[1]
    assert waiting[1].endswith("which are sample.1, sample.2; 2 runs come before it")
    assert shown.startswith(waiting[1])
    assert "  n_executing  2\n  executing    sample.1\n               sample.2\n" in shown
    assert drawn.startswith("all_drawn@sample does not fire: all_are_drawn (orchestrator.py:")
    assert "gave False for sample" in drawn
    assert "  gave        sample: False\n" in drawn
    assert "did you mean 'all_drawn'" in unknown


@pytest.mark.slow
def test_without_launcher_or_orchestrator_that_is_said(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "--run_name", "first", "--detach")
    here.wait_for_script("sample")
    wait_until(lambda: here.counts("sample").get("RUNNING", 0) > 0, "a run")
    here.run("launcher", "hold")
    here.run("launcher", "stop")

    assert "not recorded" in why(here, "sample.1")[1]
    here.run("launcher", "release")
    assert why(here, "sample.5")[0] == "no launcher"

    here.run("launcher")
    (here.directory / "go").touch()
    wait_until(lambda: here.counts("mean") == {"FINISHED": 1}, "the mean")

    assert why(here, "mean.1")[0] == "finished"
    wait_until(lambda: why(here, "all_drawn")[0] == "no orchestrator", "the end")
    assert "all_drawn has fired once" in why(here, "all_drawn")[1]


@pytest.mark.slow
def test_failed_run_names_cause_and_next_command(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text("echo no such luck >&2; exit 3\n")
    here.run("run", "--n_samples", "1", code=5)

    reason, sentence = why(here, "sample.1")

    assert reason == "application"
    assert "(application): exit code 3" in sentence
    assert "`motoko runs show sample.1`" in sentence


@pytest.mark.slow
def test_stall_is_told_with_what_each_condition_lacks(here: CommandLine) -> None:
    (here.directory / "orchestrator.py").write_text(STALLING)
    with here.started("run", "--run_name", "first") as process:
        wait_until(lambda: bool(here.json("info")["stalls"]), "the stall")
        info, status = here.run("info").stdout, here.run("orchestrator", "status").stdout
        [stall] = here.json("info")["stalls"]
        process.terminate()
        shown, _ = process.communicate(timeout=60)

    large = "large@sample: no run of sample (2 FINISHED) matches `value > 100`"
    assert stall["run_name"] == "first"
    assert stall["lacks"][0] == large
    assert stall["lacks"][1].startswith("never: <lambda> (orchestrator.py:3) gave False")
    log = (here.directory / ".wf" / "wf.log").read_text()
    for text in (info, status, shown, log):
        assert "stalled" in text
        assert large in text


@pytest.mark.slow
def test_held_study_begins_no_run_until_it_is_released(here: CommandLine) -> None:
    here.run("launcher", "hold", "sample")
    here.run("orchestrator", "start", "--run_name", "first", "--detach")
    wait_until(lambda: here.counts("sample") == {"CREATED": 5}, "the runs")
    here.run("launcher", "stop")
    here.run("launcher")

    said = why(here, "sample.3")
    info = here.run("info").stdout

    assert said[0] == "held"
    assert "`motoko launcher release sample`" in said[1]
    assert "sample: no run begins, held since " in info
    assert here.counts("sample") == {"CREATED": 5}
    assert here.run("launcher", "hold", "sample").stdout == "they were held already\n"

    here.run("launcher", "release")

    wait_until(lambda: here.counts("mean") == {"FINISHED": 1}, "the mean")


@pytest.mark.slow
def test_holding_keeps_runs_that_the_launcher_has_taken_from_starting(
    here: CommandLine,
) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    with (here.directory / "motoko.yaml").open("a") as file:
        file.write("max_concurrent: 1\n")
    here.run("orchestrator", "start", "--run_name", "first", "--detach")
    wait_until(lambda: here.counts("sample").get("RUNNING") == 1, "a run")

    here.run("launcher", "hold")
    (here.directory / "go").touch()
    wait_until(lambda: here.counts("sample").get("FINISHED") == 1, "its end")

    assert why(here, "sample.2")[0] == "held"
    assert here.counts("sample").get("FINISHED") == 1
    here.run("launcher", "release", "sample")
    wait_until(lambda: here.counts("sample") == {"FINISHED": 5}, "all samples")
    assert why(here, "mean.1")[0] == "held"
