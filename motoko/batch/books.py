"""What is written down of a batch while it runs.

The manifest is rewritten after each job; one rewriting has those that ended at one moment. In a
batch of thousands it has also those that end so quickly that to rewrite it for each would take
most of the time. Beside it lies a journal, ``.NAME.journal``, while a batch runs and when one
was killed: the record of each job that has ended. It is locked while a batch runs. From it the
next call knows what the manifest could not be told any more. Which outputs may be half done is
known where these are, see `underway`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from motoko.batch.kinds import RunStatus
from motoko.batch.models import BatchJob, BatchManifest, BatchRunRecord, document, now
from motoko.crashpoints import reached
from motoko.daemon.forks import keep_from_children
from motoko.durable import locked, replace_file, write_all
from motoko.errors import BatchRunning

#: A killed batch leaves workers for an instant, and they may hold its lock.
_PATIENCE_S = 2.0
#: How often the manifest is forced to disk, which takes longer than many a job.
_FORCING_S = 1.0
#: A manifest of so many jobs is written in a fraction of a millisecond.
_MOST_ALWAYS = 2000
#: What rewriting a larger one may take, for each job and as a share of the time, before jobs
#: that end in quick succession share one: the journal has them anyway.
_ALLOWED_AT_FIRST_S, _ALLOWED_S, _ALLOWED_SHARE = 0.1, 0.0004, 0.02


class Books:
    """The manifest and the journal of a batch that runs."""

    def __init__(
        self,
        file: Path,
        journal: Path,
        fd: int,
        jobs: Sequence[BatchJob],
        head: _Manifest,
        before: dict[str, BatchRunRecord],
    ) -> None:
        self._file = file
        self._journal = journal
        #: The journal: what a worker forks does not hold the lock of the batch.
        self.own_fds = [fd]
        self._jobs = jobs
        self._head = head
        self._others = [record.model_dump_json().encode() for record in head.others]
        self.before = before
        self._records: list[bytes | None] = [None] * len(jobs)
        self._statuses: list[RunStatus | None] = [None] * len(jobs)
        self._counts: Counter[RunStatus | None] = Counter()
        self._is_stale = False
        self._forced_at = 0.0
        self._begun_at = time.monotonic()
        self._n_ended = 0
        self._spent_s = self._last_s = 0.0
        for index, job in enumerate(jobs):
            if job.id in before:
                record = before[job.id]
                self._keep(index, record.status, record.model_dump_json().encode())
        keep_from_children(self)

    def record(self, index: int, status: RunStatus, record: bytes) -> None:
        """A job has ended, or is skipped."""
        reached("batch.done")
        write_all(self.own_fds[0], record + b"\n")
        reached("batch.noted")
        self._keep(index, status, record)
        self._n_ended += 1

    def keep_up(self) -> None:
        """Have the manifest say what was recorded, which of a large one may wait for more."""
        if len(self._jobs) + len(self._others) <= _MOST_ALWAYS:
            self.save()
            return
        elapsed_s = time.monotonic() - self._begun_at
        allowed_s = _ALLOWED_AT_FIRST_S + _ALLOWED_S * self._n_ended
        if self._spent_s + self._last_s <= allowed_s + _ALLOWED_SHARE * elapsed_s:
            self.save()

    def skip(self, index: int, record: bytes) -> None:
        """A job is skipped; the manifest is told with the next one, or at the end."""
        self._keep(index, RunStatus.SKIPPED, record)

    def finish(self) -> BatchManifest:
        """Nothing is left to do: the manifest as it stands on disk."""
        self._forced_at = 0.0
        self._write()
        reached("batch.ended")
        self._journal.unlink()
        return BatchManifest.load(self._file)

    def save(self) -> None:
        """Have the manifest say all that is known."""
        if self._is_stale:
            self._write()

    def _keep(self, index: int, status: RunStatus, record: bytes) -> None:
        self._records[index] = record
        self._counts[self._statuses[index]] -= 1
        self._counts[status] += 1
        self._statuses[index] = status
        self._is_stale = True

    def _write(self) -> None:
        begun = time.monotonic()
        self._head.updated_at = now()
        self._head.success_count = self._counts[RunStatus.SUCCESS]
        self._head.skipped_count = self._counts[RunStatus.SKIPPED]
        self._head.failed_count = self._counts[RunStatus.FAILED]
        records = [record for record in self._records if record is not None]
        is_forced = begun - self._forced_at >= _FORCING_S
        replace_file(
            self._file,
            document(self._head, records, self._others),
            is_forced=is_forced,
            between=lambda: reached("batch.manifest"),
        )
        self._is_stale = False
        self._last_s = time.monotonic() - begun
        self._spent_s += self._last_s
        if is_forced:
            self._forced_at = begun


def journal_of(file: Path) -> Path:
    """The journal beside a manifest."""
    return file.with_name(f".{file.name}.journal")


def beside(manifest_path: str | os.PathLike[str]) -> Path:
    """Where the workflow lies whose runs are the jobs of a batch, if nobody says where."""
    return Path(manifest_path).with_suffix(".motoko")


@contextmanager
def opened(
    file: Path,
    jobs: Sequence[BatchJob],
    *,
    input_dir: Path | None,
    output_dir: Path | None,
    pattern: str,
    place: Path,
    prepare: Callable[[Mapping[str, BatchRunRecord]], object],
) -> Iterator[Books]:
    """The books of a batch, for nobody else meanwhile; relative paths are meant from ``place``.

    BatchRunning, BatchUnreadable, and what ``prepare`` raises, which gets the earlier records
    by their jobs before anything is changed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    journal = journal_of(file)
    with ExitStack() as stack:
        try:
            fd = stack.enter_context(locked(journal, _PATIENCE_S))
        except TimeoutError:
            raise BatchRunning(str(file)) from None
        try:
            earlier = _earlier(file)
            before = {one.job_id: one for one in earlier.others}
            before |= earlier.records_by_id() | _left(journal)
            before = {i: _seen_from(place, one, earlier.place) for i, one in before.items()}
            prepare(before)
        except BaseException:
            if not os.fstat(fd).st_size:
                journal.unlink()
            raise
        head = _Manifest(
            place=_encodable(place),
            others=_of_others(before, jobs, place),
            created_at=earlier.created_at,
            updated_at=now(),
            input_dir=input_dir,
            output_dir=output_dir,
            pattern=pattern,
            total=len(jobs),
        )
        books = Books(file, journal, fd, jobs, head, before)
        books.save()
        os.ftruncate(fd, 0)
        try:
            yield books
        finally:
            books.own_fds = []
            if journal.exists():
                books.save()


class _Manifest(BatchManifest):
    """One that knows from where the relative paths of its records lead, and what is known of
    outputs of jobs that the last call did not have: another one may have them again."""

    place: str | None = None
    others: tuple[BatchRunRecord, ...] = ()


def _earlier(file: Path) -> _Manifest:
    if file.exists():
        return _Manifest.load(file)
    return _Manifest(created_at=now(), updated_at=now())


def _of_others(
    before: Mapping[str, BatchRunRecord], jobs: Iterable[BatchJob], place: Path
) -> tuple[BatchRunRecord, ...]:
    """The earlier records of jobs that are none of these, but for outputs that are gone, or are
    those of these jobs now."""
    outputs = {job.id: _normal(place, job.output) for job in jobs}
    now_theirs = set(outputs.values())

    def is_kept(output: Path) -> bool:
        is_gone = not output.exists() and output.parent.is_dir()
        return output not in now_theirs and not is_gone  # all may have been renamed

    return tuple(
        record
        for job_id, record in before.items()
        if job_id not in outputs and is_kept(_normal(place, record.output))
    )


def _normal(place: Path, path: Path) -> Path:
    return Path(os.path.normpath(place / path))


def _encodable(place: Path) -> str | None:
    """As it can be written down; None for a name that is not UTF-8."""
    try:
        str(place).encode()
    except UnicodeEncodeError:
        return None
    return str(place)


def _seen_from(place: Path, record: BatchRunRecord, recorded_in: str | None) -> BatchRunRecord:
    """A record whose paths lead to the same from this directory, where it is known from which
    they did."""
    if recorded_in is None or recorded_in == str(place):
        return record
    paths = {"motion": record.motion, "output": record.output}
    return record.model_copy(
        update={name: Path(recorded_in, path) for name, path in paths.items()}
    )


def _left(journal: Path) -> dict[str, BatchRunRecord]:
    """The records in a journal, by their jobs."""
    records: dict[str, BatchRunRecord] = {}
    for line in journal.read_bytes().splitlines():
        try:
            record = BatchRunRecord.model_validate_json(line)
        except ValueError:  # the last one, torn by a kill
            continue
        records[record.job_id] = record
    return records
