"""One job, done by a worker: a record of it in any case, unless the process ends."""

from __future__ import annotations

import os
import shutil
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError

from motoko.batch.kinds import RunStatus
from motoko.batch.models import BatchJob, BatchRunRecord, UtcTime, now

BatchWorker = Callable[[BatchJob], Mapping[str, Any] | None]
#: What may be half done is beside the place of the output.
PARTIAL = ".partial"
#: In the provenance of what was skipped: another input than its own, as it was written down.
MADE_OF = "made_of"
_PATHS = ("motion", "output", "config_path")
_LAST_MODIFIED = tuple[int, int, int]


def do(job: BatchJob, worker: BatchWorker, place: Path) -> bytes:
    """Do a job whose relative paths are meant from a directory; its record in JSON.

    The worker gets them absolute: it, and those of the jobs that were done here before, may
    have gone to another directory. Whatever it raises is a failure of the job, but for
    KeyboardInterrupt, and what asks this process to end.
    """
    begun = now()
    here = located(job, place)
    try:
        here.output.parent.mkdir(parents=True, exist_ok=True)
        returned = worker(here)
        if returned is not None and not isinstance(returned, Mapping):
            kind = type(returned).__name__
            raise TypeError(f"the worker returned a {kind}, expected a mapping or None")
        if not here.output.exists():
            raise FileNotFoundError(2, "the worker has left no output", str(job.output))
        record = _record(job, RunStatus.SUCCESS, begun, provenance=dict(returned or {}))
        return record.model_dump_json().encode()
    except (Exception, SystemExit, CancelledError) as error:
        return failed(job, begun, error).model_dump_json().encode()


def located(job: BatchJob, place: Path) -> BatchJob:
    """The job with absolute paths; itself if it has them."""
    given = {name: getattr(job, name) for name in _PATHS}
    paths = {name: place / path for name, path in given.items() if path is not None}
    changed = {name: path for name, path in paths.items() if path != given[name]}
    return job.model_copy(update=changed) if changed else job


def failed(job: BatchJob, begun: UtcTime, error: BaseException) -> BatchRunRecord:
    """The record of a job that ended with an exception."""
    lines = "".join(traceback.format_exception(error))
    message = str(error) or type(error).__name__
    if isinstance(error, PydanticSerializationError):
        message = f"what the worker returned cannot be written as JSON: {error}"
    return _record(
        job,
        RunStatus.FAILED,
        begun,
        message=_printable(message),
        error_type=type(error).__name__,
        provenance={"traceback": _printable(lines)},
    )


def died(job: BatchJob, begun: UtcTime, how: str) -> BatchRunRecord:
    """The record of a job whose process ended."""
    message = f"the process of the worker ended: {how}"
    return _record(job, RunStatus.FAILED, begun, message=message, error_type="WorkerDied")


def is_done(output: Path, before: BatchRunRecord | None) -> bool:
    """Whether a job's output is there, and was made, or put there, after the last failure."""
    try:
        found = output.stat()
    except OSError:
        return False
    if before is None or before.status is not RunStatus.FAILED:
        return True
    return max(found.st_mtime, found.st_ctime) > before.finished_at.timestamp()


def skipped(
    job: BatchJob, before: BatchRunRecord | None, gone_input: Path | None = None
) -> BatchRunRecord:
    """The record of a job whose output is there, with what an earlier one says of it; that it
    was made of another input, if one that is gone says so."""
    provenance: dict[str, Any] = {"resumed": True}
    if before is not None and before.status is not RunStatus.FAILED:
        provenance = {
            "previous_status": before.status.value,
            "previous_finished_at": before.finished_at.isoformat(),
            **before.provenance,
            **provenance,
        }
    message = "the output exists"
    if gone_input is not None:
        message += f", made of {gone_input}, which is not there any more"
        provenance[MADE_OF] = str(gone_input)
    return _record(job, RunStatus.SKIPPED, now(), message=message, provenance=provenance)


def set_aside(output: Path) -> None:
    """Take an output that may be half done out of the way, to ``NAME.partial``."""
    if not os.path.lexists(output):
        return
    aside = output.with_name(f"{output.name}{PARTIAL}")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    elif output.is_dir():
        aside.unlink(missing_ok=True)
    output.replace(aside)


def mark(output: Path) -> _LAST_MODIFIED | None:
    """What tells whether an output is still the same; None when there is none."""
    try:
        found = output.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _record(job: BatchJob, status: RunStatus, begun: UtcTime, **more: Any) -> BatchRunRecord:
    return BatchRunRecord(
        job_id=job.id,
        motion=job.motion,
        output=job.output,
        status=status,
        started_at=begun,
        finished_at=now(),
        **more,
    )
