"""Batches whose jobs are runs of a study: the same manifest, and the same promises."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from motoko.batch import BatchJob, BatchManifest, BatchRunner
from motoko.errors import BatchMistake
from tests.support.batch_workers import copy, fail, jobs_in, meet, tell
from tests.support.command_line import ROOT
from tests.support.processes import kill_processes_of, processes_of, wait_for

N_JOBS = 60
N_KILLS = 6
PROGRAM = """\
import sys
from pathlib import Path
from motoko.batch import BatchRunner
from tests.support.batch_workers import jobs_in, tell

place = Path(sys.argv[1])
jobs = jobs_in(place, int(sys.argv[2]))
options = {"manifest_path": place / "manifest.json", "executor": "motoko"}
BatchRunner.run(jobs, tell, max_workers=4, **options)
"""
#: In its current directory; as long as a file is there, jobs are half done.
PLACE_PROGRAM = """\
from pathlib import Path
from motoko.batch import BatchRunner, find_jobs
from tests.support.batch_workers import half_while_told

jobs = find_jobs("in", "out", "*")
options = {"manifest_path": "out/manifest.json", "executor": "motoko"}
made = BatchRunner.run(jobs, half_while_told, max_workers=2, output_dir=Path("out"), **options)
assert not made.failed_count, made
"""


def in_short(manifest: BatchManifest) -> list[tuple[Any, ...]]:
    """What a manifest says, but for times and processes."""
    return [
        (r.job_id, r.motion, r.output, r.status, r.error_type if r.error_type else r.message)
        for r in manifest.records
    ]


@pytest.mark.parametrize(
    ("worker", "options", "words"),
    [
        (tell, {"executor": "slurm"}, "executor 'slurm': expected 'processes' or 'motoko'"),
        (lambda job: None, {"executor": "motoko"}, "cannot be handed to another process"),
    ],
)
def test_what_cannot_be_done_as_runs_is_refused_before_anything_begins(
    tmp_path: Path, worker: Any, options: Any, words: str
) -> None:
    manifest = tmp_path / "manifest.json"

    with pytest.raises(BatchMistake, match=words):
        BatchRunner.run(jobs_in(tmp_path, 1), worker, manifest_path=manifest, **options)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_manifest_is_that_of_processes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    names = ["good", "raises", "silent", "exit", "killed", "sys.exit"]
    found = {}
    for executor in ("processes", "motoko"):
        place = tmp_path / executor
        place.mkdir()
        jobs = [
            BatchJob(id=name, name=name, motion=Path(name), output=place / f"{name}.out")
            for name in names
        ]
        manifest = BatchRunner.run(
            jobs,
            fail,
            manifest_path=place / "manifest.json",
            max_workers=2,
            executor=executor,  # type: ignore[arg-type]
        )
        found[executor] = [
            (job_id, motion, output.name, status, what)
            for job_id, motion, output, status, what in in_short(manifest)
        ]
        left = sorted(path.name for path in place.glob("*.out*"))
        found[executor].append(left)

    assert found["motoko"] == found["processes"]
    wait_for(lambda: not processes_of(tmp_path), 20)


@pytest.mark.slow
@pytest.mark.parametrize("word", ["motoko", ""])
def test_batch_that_is_killed_goes_on_and_makes_every_output_once(
    tmp_path: Path, word: str
) -> None:
    """With its server and its launcher, or with its runs, too."""
    dice = random.Random(7)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(N_JOBS)]
    for job in jobs_in(tmp_path, N_JOBS):
        job.motion.write_text("x")
    told = tmp_path / "told"

    def n_told() -> int:
        return told.read_bytes().count(b"\n") if told.exists() else 0

    for _ in range(N_KILLS):
        begun = subprocess.Popen(command, cwd=ROOT)
        wanted = n_told() + dice.randrange(1, 12)
        wait_for(lambda p=begun, n=wanted: n_told() >= n or p.poll() is not None, 60)
        begun.kill()
        kill_processes_of(tmp_path, word)
        begun.wait(timeout=20)
    subprocess.run(command, cwd=ROOT, timeout=120, check=True)

    manifest = BatchManifest.load(tmp_path / "manifest.json")
    assert manifest.success_count + manifest.skipped_count == manifest.total == N_JOBS
    assert {job.output.read_text() for job in jobs_in(tmp_path, N_JOBS)} == {"once\n"}
    n_done = Counter(told.read_text().split())
    assert sorted(n_done) == sorted(r.job_id for r in manifest.records)
    assert n_done.total() - N_JOBS <= (0 if word else N_KILLS * 4)  # those that were under way
    wait_for(lambda: not processes_of(tmp_path), 20)


@pytest.mark.slow
@pytest.mark.parametrize("is_copied", [False, True])
def test_batch_whose_directory_was_renamed_or_copied_goes_on(
    tmp_path: Path, is_copied: bool
) -> None:
    """After everything was killed, as when the machine fails."""
    place, other = tmp_path / "old", tmp_path / "new"
    (place / "in").mkdir(parents=True)
    for i in range(4):
        (place / "in" / f"{i}").write_text("x")
    (place / "stay").touch()
    command = [sys.executable, "-c", PLACE_PROGRAM]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=place, env=environment) as begun:
        wait_for(lambda: len(list(place.glob("out/[0-9]"))) == 2, 60)
        begun.kill()
        kill_processes_of(place)
    (place / "stay").unlink()
    if is_copied:
        shutil.copytree(place, other, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
    else:
        place.rename(other)

    for _ in range(2):
        subprocess.run(command, cwd=other, env=environment, timeout=120, check=True)

    made = BatchManifest.load(other / "out" / "manifest.json")
    assert (made.total, made.skipped_count) == (4, 4)
    assert {(other / "out" / f"{i}").read_text() for i in range(4)} == {"half whole"}
    if is_copied:
        halves = [file.read_text() for file in place.glob("out/[0-9]*")]
        assert halves == ["half"] * 2
    wait_for(lambda: not processes_of(tmp_path), 20)


@pytest.mark.slow
@pytest.mark.parametrize(("max_workers", "own", "most"), [(1, "", 1), (3, "", 3), (4, "2", 2)])
def test_so_many_jobs_execute_at_once_as_there_are_to_be_workers(
    tmp_path: Path, max_workers: int, own: str, most: int
) -> None:
    place = tmp_path / "manifest.motoko"
    if own:
        (place / "jobs").mkdir(parents=True)
        mine = f"study: jobs\njob: {{item: str}}\nrun: {{spec: str}}\nmax_concurrent: {own}\n"
        (place / "jobs" / "bd.yaml").write_text(mine)
    jobs = [job.model_copy(update={"name": str(most)}) for job in jobs_in(tmp_path, 6)]
    (tmp_path / "out").mkdir()

    BatchRunner.run(
        jobs,
        meet,
        manifest_path=tmp_path / "manifest.json",
        max_workers=max_workers,
        executor="motoko",
    )

    n_at_once = [int(job.output.read_text()) for job in jobs]
    assert max(n_at_once) == most


@pytest.mark.slow
def test_study_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    [job] = jobs_in(tmp_path, 1)
    job.motion.write_text("x")
    place = tmp_path / "manifest.motoko"
    (place / "jobs").mkdir(parents=True)
    mine = "study: mine\njob: {item: str}\nrun: {spec: str}\nwalltime: 1h\n"
    (place / "jobs" / "bd.yaml").write_text(mine)

    BatchRunner.run([job], copy, manifest_path=tmp_path / "manifest.json", executor="motoko")

    assert job.output.read_text() == "X"
    assert (place / "jobs" / "BD-mine-runs" / "run-1" / "record.json").exists()
