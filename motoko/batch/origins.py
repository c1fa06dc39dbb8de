"""Which input an output was made of, as far as its record tells: names alone are no proof."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from motoko.batch.kinds import RunStatus
from motoko.batch.models import BatchJob, BatchRunRecord
from motoko.errors import BatchMistake
from motoko.phrases import counted

_MADE = (RunStatus.SUCCESS, RunStatus.PARTIAL)


def is_about(record: BatchRunRecord, job: BatchJob) -> bool:
    """Whether it speaks of the output of this job, and not of one with another suffix, say."""
    return record.output.name == job.output.name


def gone_inputs(
    jobs: Iterable[BatchJob], place: Path, records: Mapping[str, BatchRunRecord]
) -> dict[str, Path]:
    """By the ids of jobs: inputs that their outputs were made of, other than theirs by their
    paths, of which nobody can say any more what they held.

    Relative paths are meant from ``place``. BatchMistake for outputs that were made of inputs
    which are there, and hold something else.
    """
    gone: dict[str, Path] = {}
    others: list[tuple[BatchJob, Path]] = []
    for job in jobs:
        record = records.get(job.id)
        if record is None or (record.motion, record.output) == (job.motion, job.output):
            continue
        if not _tells(record, job) or not (place / job.output).exists():
            continue
        places = _places(record, job, place)
        if any(_is_same(path, place / job.motion) for path in places):
            continue
        if there := next(filter(os.path.exists, places), None):
            others.append((job, Path(there)))
        else:
            gone[job.id] = record.motion
    if others:
        job, made_of = others[0]
        more = f" (and {counted(len(others) - 1, 'more output')} likewise)" * (len(others) > 1)
        raise BatchMistake(
            f"{job.output} was made of {made_of}, not of {job.motion}{more}: have another"
            " directory for outputs, or force them to be made again"
        )
    return gone


def _tells(record: BatchRunRecord, job: BatchJob) -> bool:
    """Whether a record says that the output is there, and was made of its input."""
    made = record.status in _MADE or record.provenance.get("previous_status") in _MADE
    return made and record.status is not RunStatus.FAILED and is_about(record, job)


def _places(record: BatchRunRecord, job: BatchJob, place: Path) -> list[str]:
    """Where a recorded input may be by now: as seen from its output, since both may have been
    renamed or copied, or recorded from another directory; and as it was written down."""
    return list(dict.fromkeys(_found_places(record, job, place)))


def _found_places(record: BatchRunRecord, job: BatchJob, place: Path) -> Iterator[str]:
    if record.motion.is_absolute() == record.output.is_absolute():
        way = os.path.relpath(record.motion, record.output.parent)
        yield os.path.normpath(place / job.output.parent / way)
    yield os.path.normpath(place / record.motion)


def _is_same(path: str, motion: Path) -> bool:
    """Whether two inputs are one, or hold the same."""
    if path == os.path.normpath(motion):
        return True
    try:
        if Path(path).samefile(motion):
            return True
        return Path(path).is_file() and filecmp.cmp(path, motion, shallow=False)
    except OSError:
        return False
