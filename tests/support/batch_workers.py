"""Workers of batches, and a program that runs one: ``... PLACE N_JOBS MAX_WORKERS``."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from motoko.batch import BatchJob, BatchManifest, BatchRunner
from tests.support.waiting import wait_until


def copy(job: BatchJob) -> dict[str, Any]:
    """Write the input into the output, in capitals."""
    text = job.motion.read_text()
    job.output.write_text(text.upper())
    return {"n": len(text)}


def tell(job: BatchJob) -> None:
    """Add a line to the output, in two steps, and one to a file of all that was done.

    Once there are as many as ``$STAY_AT`` says, stay to be killed.
    """
    told_file = job.motion.parent / "told"
    stay_at = int(os.environ.get("STAY_AT", "0"))
    if stay_at and told_file.exists() and told_file.read_bytes().count(b"\n") >= stay_at:
        signal.pause()
    with open(job.output, "a", buffering=1) as output:
        output.write("on")
        output.flush()
        output.write("ce\n")
    told = os.open(told_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(told, f"{job.id}\n".encode())
    os.close(told)


def half_while_told(job: BatchJob) -> None:
    """Add to the output; as long as a file ``stay`` is beside the inputs' directory, but a
    half."""
    with open(job.output, "a", buffering=1) as output:
        output.write("half")
        output.flush()
        if (job.motion.parents[1] / "stay").exists():
            signal.pause()
        output.write(" whole")


def fail(job: BatchJob) -> None:
    """Fail as the job's name says, half done."""
    if job.name == "silent":
        return
    job.output.write_text("half")
    if job.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.name == "exit":
        os._exit(3)
    if job.name == "sys.exit":
        sys.exit("gone")
    if job.name == "raises":
        raise ValueError(f"no {job.id}")
    job.output.write_text("whole")


def meet(job: BatchJob) -> None:
    """Wait until as many jobs as its name says have begun; how many are at work then."""
    place = job.output.parent / "begun"
    place.mkdir(exist_ok=True)
    (place / job.id).touch()
    wait_until(lambda: len(list(place.iterdir())) >= int(job.name or 1), "others", 60)
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_bytes())
    own = Path("/proc/self/cmdline").read_bytes()
    job.output.write_text(f"{lines.count(own)}")


def jobs_in(place: Path, n_jobs: int) -> list[BatchJob]:
    """Jobs with outputs in a directory."""
    return [
        BatchJob(id=f"j{i}", motion=place / f"{i}.in", output=place / "out" / f"{i}.out")
        for i in range(n_jobs)
    ]


def run(place: Path, n_jobs: int, max_workers: int) -> BatchManifest:
    """A batch of `tell`."""
    jobs = jobs_in(place, n_jobs)
    return BatchRunner.run(
        jobs, tell, manifest_path=place / "manifest.json", max_workers=max_workers
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
