"""What keeping the books of a batch costs, against a bare pool of processes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from motoko.batch import BatchJob, BatchRunner
from tests.bench.harness import Figures, timed, timed_processor

_MAX_WORKERS = 2


def overhead(n_jobs: int) -> Figures:
    """Milliseconds for a trivial job: with `concurrent.futures` alone, ours, what we add to the
    time and to that of the processor, of which noise changes less."""
    with TemporaryDirectory(prefix="motoko-bench-") as place:
        alone, ours = _jobs(Path(place, "alone"), n_jobs), _jobs(Path(place, "ours"), n_jobs)
        with (
            timed() as theirs,
            timed_processor() as their_cpu,
            ProcessPoolExecutor(_MAX_WORKERS) as pool,
        ):
            list(pool.map(touch, alone))
        manifest_path = Path(place, "manifest.json")
        with timed() as mine, timed_processor() as my_cpu:
            BatchRunner.run(ours, touch, manifest_path=manifest_path, max_workers=_MAX_WORKERS)
    return {
        "batch": 1e3 * mine[0] / n_jobs,
        "batch of concurrent.futures": 1e3 * theirs[0] / n_jobs,
        "batch, added": 1e3 * (mine[0] - theirs[0]) / n_jobs,
        "batch, added, cpu": 1e3 * (my_cpu[0] - their_cpu[0]) / n_jobs,
    }


def touch(job: BatchJob) -> None:
    """The trivial work."""
    job.output.touch()


def _jobs(place: Path, n_jobs: int) -> list[BatchJob]:
    place.mkdir()
    return [BatchJob(id=str(i), motion=place, output=place / f"{i}.npz") for i in range(n_jobs)]
