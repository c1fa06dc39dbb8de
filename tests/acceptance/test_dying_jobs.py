"""Launchers and jobs of a batch system die between their steps; nobody can tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from motoko.crashpoints import VARIABLE
from motoko.other_crashpoints import OTHER_POINTS
from tests.acceptance.test_crash_points import drive
from tests.support.command_line import ROOT
from tests.support.dying_jobs import OUTLIVING
from tests.support.launch_session import (
    ONCE,
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for_state,
)
from tests.support.systems import System, fake_system
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

_PROGRAM = """\
import sys
import threading
from pathlib import Path

from tests.support.launch_session import launching
from tests.support.studies import open_study
from tests.support.systems import QUICK

settings = {"generator": "slurm", "pace": QUICK, "max_concurrent": None}
with launching(open_study(Path(sys.argv[1])), **settings):
    threading.Event().wait()
"""
_SCRIPT = "echo $MOTOKO_RUN_ID.$MOTOKO_ATTEMPT >>{0}/executed\n"
_HANDS_ON = """\
cat >sub.sh <<'END'
#!/bin/bash
#SBATCH --job-name=mine-motoko
echo $PWD >>{0}/handed
END
sbatch sub.sh >"$MOTOKO_HANDED_ON"
"""


@contextmanager
def dying_launcher(directory: Path, point: str) -> Iterator[subprocess.Popen[bytes]]:
    """A launcher in a process of its own; it, or a job of it, dies at a point."""
    crash_at = {VARIABLE: f"{point}:{directory / 'died'}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _PROGRAM, str(directory)]
    with subprocess.Popen(command, env={**os.environ, **crash_at}) as process:
        try:
            yield process
        finally:
            process.kill()


def _fake(system: System) -> int:
    assert system.fake is not None
    return system.fake.count("sbatch")


@pytest.mark.parametrize(
    "point",
    [
        *("job.described", "job.submitted", "job.known", "job.handed"),
        *("job.entered", "job.aside", "job.taken"),
    ],
)
def test_nobody_can_tell_that_a_launcher_or_a_job_has_died(point: str, tmp_path: Path) -> None:
    is_handing = point == "job.handed"
    is_of_job = OTHER_POINTS[point].process == "a batch job"
    yaml = ONCE.replace("retry: 0", "completion: explicit") if is_handing else ""
    yaml = yaml or ONCE.replace("retry: 0", "retry: 1")
    script = _SCRIPT + _HANDS_ON * is_handing
    with (
        fake_system(tmp_path / "fake", "slurm") as slurm,
        new_study(tmp_path / "s", script.format(tmp_path), yaml) as study,
    ):
        ids = create(study, 2)
        with dying_launcher(tmp_path / "s", point) as process:
            wait_until((tmp_path / "s" / "died").exists)
            if not is_of_job:
                assert process.wait(30) == -signal.SIGKILL
            process.kill()
        with launching(study, **slurm.settings):
            wait_for_state(study, "FINISHED", *ids)

        known = {(r, a["number"]): a for r in ids for a in attempts(study, r)}
        ran = (tmp_path / "executed").read_text().split()
        lost = [key for key, a in known.items() if a["state"] == "FAILED"]
        assert len(lost) == is_of_job
        assert all(known[key]["class"] == "infrastructure" for key in lost)
        assert sorted(ran) == sorted(f"{r}.{n}" for r, n in known if (r, n) not in lost)
        assert [row(study, r)["attempt"] for r in ids].count(2) == is_of_job
        assert _fake(slurm) == len(known) + len(ids) * is_handing
        if is_handing:
            assert len(set((tmp_path / "handed").read_text().split())) == len(ids)
            assert len((tmp_path / "handed").read_text().split()) == len(ids)


def test_what_outlives_its_attempt_is_ended_by_the_next_launcher(tmp_path: Path) -> None:
    undisturbed = drive(tmp_path / "w", workflow=OUTLIVING).ended
    assert undisturbed is not None and undisturbed.wrong == []

    driven = drive(tmp_path / "v", ["holders.ended"], OUTLIVING)

    assert driven.differences(undisturbed) == []
