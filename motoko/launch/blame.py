"""Finding out what ended a batch job that did not end well."""

from __future__ import annotations

from motoko.config.retry import INFRASTRUCTURE
from motoko.job import layout, verdict
from motoko.launch.attempt import Attempt
from motoko.launch.batch_generator import BatchGenerator, JobStatus
from motoko.launch.reading import last_lines

#: A signal ended it, or a shell says so of a program of its own.
KILLED = 128
#: A job that ends so shortly before its walltime was ended for that.
COARSE_S = 2.0


def blame(
    generator: BatchGenerator, attempt: Attempt, code: int | None, status: JobStatus | None
) -> None:
    """Judge an attempt by what its batch system says of its end, where that says anything."""
    is_killed = code is None or code < 0 or code > KILLED
    left_s = attempt.walltime.left_s
    said = _said(generator, attempt) if is_killed else None
    if status is not None and status.failure is not None:
        why = status.reason or f"{generator.name} says {status.state}"
        attempt.judge(status.failure, why)
    elif said is not None:
        attempt.judge(*said)
    elif status is not None and status.is_cancelled:
        attempt.cancel(f"its job {status.id} was cancelled at {generator.name}")
    elif is_killed and left_s is not None and left_s < COARSE_S:
        attempt.time_out()
    elif status is not None and code is None:
        attempt.lose(f"{generator.name} says {status.state}, and it left no outcome")
    elif status is not None and code is not None and is_killed and attempt.pid is None:
        # As Slurm ends a job in whose directory it cannot write, since it was renamed.
        how = f"{generator.name} says {status.state}, {verdict.exit_cause(code)}"
        attempt.judge(INFRASTRUCTURE, f"its job ended before its script began: {how}")


def blame_loss(generator: BatchGenerator, attempt: Attempt) -> None:
    """Judge an attempt of whose job nobody knows any more."""
    if (said := _said(generator, attempt)) is not None:
        attempt.judge(*said)
    else:
        job_id = attempt.batch.get("id")
        attempt.lose(f"its job {job_id} is gone from {generator.name}, without an outcome")


def _said(generator: BatchGenerator, attempt: Attempt) -> tuple[str, str] | None:
    """The class of failure that the system has written into the log of a job, in words."""
    log_text = last_lines(f"{attempt.run_dir}/{layout.scheduler_log(attempt.number)}")
    failure = generator.failure_in(log_text)
    if failure is None:
        return None
    return failure, f"{generator.name} says: {log_text.splitlines()[-1]}"
