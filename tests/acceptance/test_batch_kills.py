"""A batch of a thousand jobs, killed again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from motoko.batch import BatchManifest
from tests.support.batch_workers import jobs_in, run
from tests.support.command_line import ROOT
from tests.support.waiting import wait_until

N_JOBS, N_KILLS, MAX_WORKERS = 1000, 10, 2


@pytest.mark.parametrize("max_workers", [pytest.param(1, marks=pytest.mark.slow), MAX_WORKERS])
def test_thousand_jobs_killed_ten_times_leave_every_output_once(
    tmp_path: Path, max_workers: int
) -> None:
    manifest, told = tmp_path / "manifest.json", tmp_path / "told"
    dice = random.Random(f"{max_workers} workers")
    moments = sorted(dice.sample(range(1, N_JOBS - 30), N_KILLS))
    print(f"killed after {moments} jobs")
    n_seen = []

    def has_come_to(moment: int) -> bool:
        if manifest.exists():
            n_seen.append(len(BatchManifest.load(manifest).records))  # valid at all times
        return told.exists() and told.read_bytes().count(b"\n") >= moment

    for moment in moments:
        command = [sys.executable, "-m", "tests.support.batch_workers", str(tmp_path)]
        command += [str(N_JOBS), str(max_workers)]
        environment = {**os.environ, "STAY_AT": str(moment + 15)}  # it cannot end before
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, start_new_session=True
        ) as process:
            wait_until(lambda moment=moment: has_come_to(moment), f"{moment} jobs", 60)
            os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        n_seen.append(len(BatchManifest.load(manifest).records))
    made = run(tmp_path, N_JOBS, max_workers)

    jobs = jobs_in(tmp_path, N_JOBS)
    assert Counter(job.output.read_text() for job in jobs) == {"once\n": N_JOBS}
    assert [record.job_id for record in made.records] == [job.id for job in jobs]
    assert made.success_count + made.skipped_count == made.total == N_JOBS
    n_done = Counter(told.read_text().split())
    assert len(n_done) == N_JOBS
    assert n_done.total() - N_JOBS <= N_KILLS * max_workers  # those that were under way
    assert n_seen == sorted(n_seen)
    assert BatchManifest.load(manifest) == made
