"""What `motoko run` has started itself does not outlive the workflow when it was killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, new_workflow

HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        (line.directory / "sample/launch.sh").write_text(HELD)
        yield line


@pytest.mark.slow
def test_server_and_launcher_of_a_killed_run_end_with_the_next_one(here: CommandLine) -> None:
    with here.started("run", "--n_samples", "2") as process:
        here.wait_for_script("sample")
        process.kill()
        process.wait()
    left = here.pid("server"), here.pid("launcher")
    (here.directory / "go").touch()

    here.run("run", "--n_samples", "2")

    assert None not in left
    assert (here.pid("server"), here.pid("launcher")) == (None, None)
    assert here.counts("sample") == {"FINISHED": 2}


@pytest.mark.slow
def test_those_that_were_there_before_go_on(here: CommandLine) -> None:
    here.run("launcher")
    before = here.pid("server"), here.pid("launcher")
    with here.started("run", "--n_samples", "2") as process:
        here.wait_for_script("sample")
        process.kill()
        process.wait()
    (here.directory / "go").touch()

    finished = here.run("run", "--n_samples", "2")

    assert (here.pid("server"), here.pid("launcher")) == before
    assert f"server (process {before[0]}) ran before and go on: `motoko kill" in finished.stderr
