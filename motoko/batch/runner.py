"""Working through a batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from motoko.batch.books import Books, beside, opened
from motoko.batch.crew import Crew, Result
from motoko.batch.doing import BatchWorker, died, do, is_done, mark, set_aside, skipped
from motoko.batch.kinds import RunStatus
from motoko.batch.models import BatchJob, BatchManifest, BatchRunRecord, now
from motoko.errors import BatchMistake

if TYPE_CHECKING:
    from motoko.batch.study import StudyCrew

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
        executor: Literal["processes", "motoko"] = "processes",
        workflow_dir: str | os.PathLike[str] | None = None,
    ) -> BatchManifest:
        """Do all jobs whose output is not there, or with ``force`` all; the manifest of them.

        ``worker`` gets a job, leaves its output, and returns provenance or None. It is called
        in ``max_workers`` processes of its own, or with 1 in this one. A job fails when its
        worker raises, leaves no output or dies with its process; that is recorded, and keeps
        no other job from being done. What a failed job has left at its output is moved to
        ``OUTPUT.partial``.

        The manifest is rewritten after each job. Killed at any moment, the same call goes on:
        jobs that had begun are done again, those whose output is there are skipped.
        ``on_record`` is called with each record.

        With the executor ``motoko`` each job is a run of the study ``jobs`` in
        ``workflow_dir`` (the manifest's name, ending in ``.motoko``), which is made if it is
        not there; its files say on what generator. ``max_workers`` of them execute at once, or
        as many as ``max_concurrent`` in these files says. Killed, the runs go on, and the same
        call takes them over. The worker must be a function of a module.

        Raises ValueError for less than one worker
        and for jobs that share an id or an output, BatchUnreadable when something else lies at
        ``manifest_path``, BatchRunning when another process works on the batch, or runs that a
        killed call with the executor ``motoko`` has left.
        """
        todo = list(jobs)
        # Workers, which may be called in this process, may go to another directory.
        place = Path.cwd()
        manifest_path = Path(manifest_path).absolute()
        if executor not in ("processes", "motoko"):
            raise BatchMistake(f"executor {executor!r}: expected 'processes' or 'motoko'")
        if max_workers < 1:
            raise BatchMistake(f"max_workers is {max_workers}, expected 1 or more")
        _check_distinct(todo)
        crew = there = None
        if executor == "motoko":
            from motoko.batch.study import StudyCrew  # workflows are slow to load

            there = Path(workflow_dir or beside(manifest_path)).absolute()
            crew = StudyCrew(there, worker, todo, max_workers)
        with opened(
            manifest_path,
            todo,
            input_dir=input_dir,
            output_dir=output_dir,
            pattern=pattern,
            workflow_dir=there,
        ) as books:
            batch = _Batch(todo, place, books, on_record or (lambda record: None))
            if crew is None:
                batch.run(worker, max_workers, force)
            else:
                batch.run_in_study(crew, force)
            return books.finish()


class _Batch:
    """One call."""

    def __init__(
        self,
        jobs: Sequence[BatchJob],
        place: Path,
        books: Books,
        on_record: Callable[[BatchRunRecord], object],
    ) -> None:
        self._jobs = jobs
        self._place = place
        self._outputs = [place / job.output for job in jobs]
        self._books = books
        self._on_record = on_record
        self._marks: dict[int, object] = {}
        self._begun: dict[int, datetime] = {}

    def run(self, worker: BatchWorker, max_workers: int, force: bool) -> None:
        """Skip what is there, do the rest."""
        pending = self._pending(force)
        indexes = self._beginning(pending)
        with ExitStack() as stack:
            if max_workers == 1:
                results = self._done_here(indexes, worker)
            else:
                size = min(max_workers, len(pending))
                crew = stack.enter_context(
                    Crew(size, worker, self._jobs, self._place, [self._books.fd])
                )
                results = crew.results(indexes, self._books.keep_up, self._books.save)
            for index, result in results:
                self._end(index, result)

    def run_in_study(self, crew: StudyCrew, force: bool) -> None:
        """The same as runs of a study. What is half done is no business of this process's: the
        runs go on when it ends."""
        pending = self._pending(force, crew.taken_over)
        for index in pending:
            job = self._jobs[index]
            is_new = job.id not in crew.taken_over
            self._marks[index] = mark(self._outputs[index]) if is_new else None
            self._begun[index] = now()

        def end(index: int, result: bytes | str) -> None:
            self._end(index, result)
            self._books.keep_up()

        crew.work(pending, end)

    def _done_here(self, indexes: Iterator[int], worker: BatchWorker) -> Iterator[Result]:
        for index in indexes:
            yield index, do(self._jobs[index], worker, self._place)
            self._books.keep_up()

    def _pending(self, force: bool, taken_over: Collection[str] = ()) -> list[int]:
        pending = []
        for index, job in enumerate(self._jobs):
            before = self._books.before.get(job.id)
            if force or job.id in taken_over or not is_done(self._outputs[index], before):
                pending.append(index)
                continue
            record = skipped(job, before)
            self._books.skip(index, record.model_dump_json().encode())
            self._on_record(record)
        self._books.save()
        return pending

    def _beginning(self, pending: Iterable[int]) -> Iterator[int]:
        """The jobs to do; each is written down when it is asked for."""
        for index in pending:
            self._marks[index] = mark(self._outputs[index])
            self._begun[index] = now()
            self._books.begin(index, self._outputs[index])
            yield index

    def _end(self, index: int, result: bytes | str) -> None:
        job = self._jobs[index]
        if isinstance(result, str):
            record = died(job, self._begun[index], result)
            encoded = record.model_dump_json().encode()
        else:
            encoded = result
            record = BatchRunRecord.model_validate_json(result)
        output = self._outputs[index]
        if record.status is RunStatus.FAILED and mark(output) != self._marks[index]:
            set_aside(output)
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
