"""Commands in forks are what ``python -m motoko`` would be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.processes import processes_of
from tests.support.waiting import wait_until


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("check", "--json"), ("rnu",), ("new", "there")], ids=lambda words: words[0]
)
def test_a_fork_says_and_does_what_a_new_python_does(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "1", tmp_path / "2"
    ours.mkdir()
    theirs.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(warm.ROOT), "COLUMNS": "100"}

    forked = warm.run(arguments, ours, environment, 60)

    new = subprocess.run(
        [sys.executable, "-m", "motoko", *arguments],
        cwd=theirs,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert forked.args == new.args
    assert forked.returncode == new.returncode
    assert forked.stdout == new.stdout.replace(str(theirs), str(ours))
    assert forked.stderr == new.stderr.replace(str(theirs), str(ours))
    assert [p.relative_to(ours) for p in sorted(ours.rglob("*"))] == [
        p.relative_to(theirs) for p in sorted(theirs.rglob("*"))
    ]


def test_a_fork_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    warm.run(("new", "demo"), tmp_path, os.environ, 60)
    orchestrator = tmp_path / "demo" / "orchestrator.py"
    orchestrator.write_text("import time\ntime.sleep(1000)\n")

    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(("run", "demo"), tmp_path, os.environ, 0.5)

    wait_until(lambda: not processes_of(tmp_path), "its end")
    assert warm.run(("--version",), tmp_path, os.environ, 60).returncode == 0
