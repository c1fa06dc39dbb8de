"""A pile of inputs, each worked through once: jobs, their records, and who does them."""

from __future__ import annotations

from motoko.batch.inputs import find_jobs, load_worker
from motoko.batch.kinds import MotionFormatKind, RobotKind, RunStatus
from motoko.batch.models import BatchJob, BatchManifest, BatchRunRecord
from motoko.batch.runner import BatchRunner, BatchWorker

__all__ = [
    "BatchJob",
    "BatchManifest",
    "BatchRunRecord",
    "BatchRunner",
    "BatchWorker",
    "MotionFormatKind",
    "RobotKind",
    "RunStatus",
    "find_jobs",
    "load_worker",
]
