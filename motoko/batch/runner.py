"""Working through a batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from motoko.batch.books import Books, opened
from motoko.batch.crew import Crew, Result
from motoko.batch.doing import BatchWorker, died, do, mark, set_aside, skipped
from motoko.batch.kinds import RunStatus
from motoko.batch.models import BatchJob, BatchManifest, BatchRunRecord, now
from motoko.errors import BatchMistake

__all__ = ["BatchRunner", "BatchWorker"]


class BatchRunner:
    """Does jobs and keeps a manifest of them, which says at any moment what is done."""

    @staticmethod
    def run(
        jobs: Iterable[BatchJob],
        worker: BatchWorker,
        *,
        manifest_path: str | os.PathLike[str],
        max_workers: int = 1,
        force: bool = False,
        input_dir: Path | None = None,
        output_dir: Path | None = None,
        pattern: str = "",
        on_record: Callable[[BatchRunRecord], object] | None = None,
    ) -> BatchManifest:
        """Do all jobs whose output is not there, or with ``force`` all; the manifest of them.

        ``worker`` gets a job, leaves its output, and returns provenance or None. It is called
        in ``max_workers`` processes of its own, or with 1 in this one. A job fails when its
        worker raises, leaves no output or dies with its process; that is recorded, and keeps
        no other job from being done. What a failed job has left at its output is moved to
        ``OUTPUT.partial``.

        The manifest is rewritten after each job. Killed at any moment, the same call goes on:
        jobs that had begun are done again, those whose output is there are skipped.
        ``on_record`` is called with each record. Raises ValueError for less than one worker
        and for jobs that share an id or an output, BatchUnreadable when something else lies at
        ``manifest_path``, BatchRunning when another process works on the batch.
        """
        todo = list(jobs)
        if max_workers < 1:
            raise BatchMistake(f"max_workers is {max_workers}, expected 1 or more")
        _check_distinct(todo)
        with opened(
            Path(manifest_path),
            todo,
            input_dir=input_dir,
            output_dir=output_dir,
            pattern=pattern,
        ) as books:
            batch = _Batch(todo, books, on_record or (lambda record: None))
            batch.run(worker, max_workers, force)
            return books.finish()


class _Batch:
    """One call."""

    def __init__(
        self,
        jobs: Sequence[BatchJob],
        books: Books,
        on_record: Callable[[BatchRunRecord], object],
    ) -> None:
        self._jobs = jobs
        self._books = books
        self._on_record = on_record
        self._marks: dict[int, object] = {}
        self._begun: dict[int, datetime] = {}

    def run(self, worker: BatchWorker, max_workers: int, force: bool) -> None:
        """Skip what is there, do the rest."""
        pending = []
        for index, job in enumerate(self._jobs):
            if force or not job.output.exists():
                pending.append(index)
                continue
            record = skipped(job, self._books.before.get(job.id))
            self._books.skip(index, record.model_dump_json().encode())
            self._on_record(record)
        self._books.save()
        indexes = self._beginning(pending)
        with ExitStack() as stack:
            if max_workers == 1:
                results: Iterator[Result] = ((i, do(self._jobs[i], worker)) for i in indexes)
            else:
                size = min(max_workers, len(pending))
                crew = stack.enter_context(Crew(size, worker, self._jobs))
                results = crew.results(indexes, self._books.save)
            for index, result in results:
                self._end(index, result)

    def _beginning(self, pending: Iterable[int]) -> Iterator[int]:
        """The jobs to do; each is written down when it is asked for."""
        for index in pending:
            self._marks[index] = mark(self._jobs[index].output)
            self._begun[index] = now()
            self._books.begin(index)
            yield index

    def _end(self, index: int, result: bytes | str) -> None:
        job = self._jobs[index]
        if isinstance(result, str):
            record = died(job, self._begun[index], result)
            encoded = record.model_dump_json().encode()
        else:
            encoded = result
            record = BatchRunRecord.model_validate_json(result)
        if record.status is RunStatus.FAILED and mark(job.output) != self._marks[index]:
            set_aside(job.output)
        self._books.record(index, record.status, encoded)
        self._on_record(record)


def _check_distinct(jobs: Sequence[BatchJob]) -> None:
    ids: set[str] = set()
    outputs: dict[Path, str] = {}
    for job in jobs:
        if job.id in ids:
            raise BatchMistake(f"two jobs have the id {job.id!r}; records are told apart by it")
        ids.add(job.id)
        output = job.output.absolute()
        if output in outputs:
            first = outputs[output]
            raise BatchMistake(f"jobs {first!r} and {job.id!r} have one output: {job.output}")
        outputs[output] = job.id
