"""Leaving a workflow before its end: for the next call of cron, or for the next batch job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.cli import exit_codes
from tests.support import systems
from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

#: A script that goes on until the test lets it.
HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        (line.directory / "sample" / "launch.sh").write_text(HELD)
        yield line


def outcomes(here: CommandLine, study: str) -> int:
    return len(list(here.directory.glob(f"{study}/BD-{study}-runs/*/.motoko-outcome-*")))


def test_once_submits_records_and_leaves_and_the_next_calls_go_on(
    here: CommandLine, tmp_path: Path
) -> None:
    script = here.directory / "mean" / "launch.sh"
    script.write_text(HELD.replace("go ", "go-on "))
    with systems.fake_system(tmp_path / "fake", "slurm") as slurm:
        here = CommandLine(here.directory)  # which finds it
        command = ("run", "--once", "--run_name", "a", "--generator", "slurm")

        first = here.run(*command, code=exit_codes.GOES_ON)
        assert "a is not finished: sample 5 " in first.stdout
        assert (here.pid("server"), here.pid("launcher")) == (None, None)
        assert len(slurm.jobs()) == 5
        (here.directory / "go").touch()
        wait_until(lambda: outcomes(here, "sample") == 5)

        here.run(*command, code=exit_codes.GOES_ON)  # its action awaits a run
        assert len(slurm.jobs()) == 1
        (here.directory / "go-on").touch()
        wait_until(lambda: outcomes(here, "mean") == 1)
        last = here.run(*command)

    assert "finished after" in last.stdout
    assert here.counts("mean") == {"FINISHED": 1}


def test_foreground_leaves_nothing_running_and_submits_itself_again_in_time(
    here: CommandLine,
) -> None:
    command = ("run", "--foreground", "--run_name", "a", "--resubmit", "echo job 7")

    first = here.run(*command, "--walltime", "40s")
    assert "that executed here: CREATED again" in first.stdout
    assert "submitted again: job 7" in first.stdout
    assert (here.pid("server"), here.pid("launcher")) == (None, None)
    assert here.counts("sample") == {"CREATED": 5}
    (here.directory / "go").touch()
    last = here.run(*command)

    assert "finished after" in last.stdout and "job 7" not in last.stdout


def test_what_others_use_goes_on_when_who_has_begun_beside_them_leaves(
    here: CommandLine,
) -> None:
    with here.started("run", "--run_name", "a") as run:
        here.wait_for_script("sample")
        pids = here.pid("server"), here.pid("launcher")
        command = ("run", "--foreground", "--walltime", "6s", "--run_name", "b")
        said = here.run(*command, code=exit_codes.GOES_ON)
        assert "CREATED again" not in said.stdout
        assert (here.pid("server"), here.pid("launcher")) == pids

        with here.started("orchestrator", "start", "--run_name", "c") as orchestrator:
            office = here.directory / ".wf" / "orchestrator-c.lock"
            wait_until(lambda: office.exists())
            (here.directory / "go").touch()
            assert run.wait(60) == 0
            assert orchestrator.wait(60) == 0

    assert (here.pid("server"), here.pid("launcher")) == pids


def test_options_that_do_not_go_together_are_refused(here: CommandLine) -> None:
    for wrong in (["--once", "--foreground"], ["--walltime", "1h"], ["--resubmit", "true"]):
        here.run("run", *wrong, code=exit_codes.USAGE)
    here.run("run", "--foreground", "--walltime", "soon", code=exit_codes.USAGE)
    assert here.pid("server") is None
