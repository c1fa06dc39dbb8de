"""Working through a batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from motoko.batch.books import Books, beside, opened
from motoko.batch.crew import Crew, Result
from motoko.batch.doing import BatchWorker, died, do, is_done, mark, set_aside, skipped
from motoko.batch.kinds import RunStatus
from motoko.batch.models import BatchJob, BatchManifest, BatchRunRecord, now
from motoko.batch.origins import gone_inputs, is_about
from motoko.batch.underway import CALL, UnderWay, begun, take_up
from motoko.crashpoints import reached
from motoko.errors import BatchMistake, BatchRunning

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
        what had begun is ended with all that it has started, and done again; those whose output
        is there are skipped, and with ``force`` those that the killed call had done again.
        What had begun is known where the outputs are, whatever the manifest: in ``output_dir``,
        beside the manifest if that is not said. ``on_record`` is called with each record.

        With the executor ``motoko`` each job is a run of the study ``jobs`` in
        ``workflow_dir`` (the manifest's name, ending in ``.motoko``), which is made if it is
        not there; its files say on what generator. ``max_workers`` of them execute at once, or
        as many as ``max_concurrent`` in these files says. Killed, the runs go on, and the same
        call takes them over. The worker must be a function of a module.

        Raises ValueError for less than one worker, for jobs that share an id or an output, and,
        without ``force``, for outputs that by their records were made of other inputs,
        BatchUnreadable when something else lies at ``manifest_path``, BatchRunning when another
        process works on the batch, or on one of its outputs, or runs that a killed call with
        the executor ``motoko`` has left.
        """
        todo = list(jobs)
        # Workers, which may be called in this process, may go to another directory.
        place = Path.cwd()
        manifest_path = Path(manifest_path).absolute()
        if executor not in ("processes", "motoko"):
            raise BatchMistake(f"executor {executor!r}: expected 'processes' or 'motoko'")
        if max_workers < 1:
            raise BatchMistake(f"max_workers is {max_workers}, expected 1 or more")
        outputs = [place / job.output for job in todo]
        _check_distinct(todo, outputs)
        crew = there = None
        if executor == "motoko":
            from motoko.batch.study import StudyCrew  # workflows are slow to load

            there = Path(os.path.abspath(workflow_dir or beside(manifest_path)))
            crew = StudyCrew(there, worker, todo, max_workers)
        _check_not_handed_on(manifest_path, there)
        home = Path(os.path.abspath(output_dir or manifest_path.parent))
        scene = _Scene(todo, outputs, place, home, there, force)
        with opened(
            manifest_path,
            todo,
            input_dir=input_dir,
            output_dir=output_dir,
            pattern=pattern,
            place=place,
            prepare=scene.prepare,
        ) as books:
            with begun(home, forced_since=scene.forced_since, workflow_dir=there) as under_way:
                batch = _Batch(scene, books, under_way, on_record or (lambda record: None))
                if crew is None:
                    batch.run(worker, max_workers)
                else:
                    batch.run_in_study(crew)
            return books.finish()


class _Scene:
    """The jobs of a call, and what calls before it have left."""

    def __init__(
        self,
        jobs: Sequence[BatchJob],
        outputs: Sequence[Path],
        place: Path,
        home: Path,
        workflow_dir: Path | None,
        force: bool,
    ) -> None:
        self.jobs = jobs
        self.outputs = outputs
        self.place = place
        self._home = home
        self._workflow_dir = workflow_dir
        self._force = force
        self._records: Mapping[str, BatchRunRecord] = {}
        self._gone_inputs: Mapping[str, Path] = {}
        #: Since when all is done again: with ``force``, since the first call that was to do so.
        self.forced_since: datetime | None = None
        #: The files of calls whose runs are taken over.
        self.taken_over: Sequence[Path] = ()

    def prepare(self, records: Mapping[str, BatchRunRecord]) -> None:
        """Refuse what cannot be done; set aside what was half done."""
        about = ((job, records.get(job.id)) for job in self.jobs)
        self._records = {job.id: r for job, r in about if r is not None and is_about(r, job)}
        if not self._force:
            self._gone_inputs = gone_inputs(self.jobs, self.place, self._records)
        left = take_up(self._home, self.outputs, self._workflow_dir)
        self.taken_over = left.taken_over
        if self._force:
            self.forced_since = left.forced_since or now()

    def skipped(self, index: int) -> BatchRunRecord | None:
        """The record of a job of which nothing is to be done; None for all others."""
        job = self.jobs[index]
        record = self._records.get(job.id)
        if not is_done(self.outputs[index], record):
            return None
        if self.forced_since is not None and not _was_made(record, self.forced_since):
            return None
        return skipped(job, record, self._gone_inputs.get(job.id))


class _Batch:
    """One call at work."""

    def __init__(
        self,
        scene: _Scene,
        books: Books,
        under_way: UnderWay,
        on_record: Callable[[BatchRunRecord], object],
    ) -> None:
        self._scene = scene
        self._jobs = scene.jobs
        self._outputs = scene.outputs
        self._books = books
        self._under_way = under_way
        self._on_record = on_record
        self._marks: dict[int, object] = {}
        self._begun_at: dict[int, datetime] = {}

    def run(self, worker: BatchWorker, max_workers: int) -> None:
        """Skip what is there, do the rest."""
        pending = self._pending()
        indexes = self._beginning(pending)
        with ExitStack() as stack:
            if max_workers == 1:
                results = self._done_here(indexes, worker)
            else:
                size = min(max_workers, len(pending))
                crew = stack.enter_context(Crew(size, worker, self._jobs, self._scene.place))
                results = crew.results(indexes, self._books.keep_up, self._books.save)
            for index, result in results:
                self._end(index, result)

    def run_in_study(self, crew: StudyCrew) -> None:
        """The same as runs of a study. What is half done is no business of this process's: the
        runs go on when it ends."""
        pending = self._pending(crew.taken_over)
        for index in pending:
            is_new = self._jobs[index].id not in crew.taken_over
            self._marks[index] = mark(self._outputs[index]) if is_new else None
            self._begun_at[index] = now()
        self._under_way.begin(self._outputs[index] for index in pending)
        self._under_way.take_over(self._scene.taken_over)

        def end(index: int, result: bytes | str) -> None:
            self._end(index, result)
            self._books.keep_up()

        crew.work(pending, end)

    def _done_here(self, indexes: Iterator[int], worker: BatchWorker) -> Iterator[Result]:
        for index in indexes:
            yield index, do(self._jobs[index], worker, self._scene.place)
            self._books.keep_up()

    def _pending(self, taken_over: Collection[str] = ()) -> list[int]:
        pending = []
        for index, job in enumerate(self._jobs):
            record = None if job.id in taken_over else self._scene.skipped(index)
            if record is None:
                pending.append(index)
                continue
            self._books.skip(index, record.model_dump_json().encode())
            self._on_record(record)
        self._books.save()
        return pending

    def _beginning(self, pending: Iterable[int]) -> Iterator[int]:
        """The jobs to do; each is written down when it is asked for."""
        for index in pending:
            self._marks[index] = mark(self._outputs[index])
            self._begun_at[index] = now()
            self._under_way.begin([self._outputs[index]])
            reached("batch.begun")
            yield index

    def _end(self, index: int, result: bytes | str) -> None:
        job = self._jobs[index]
        if isinstance(result, str):
            record = died(job, self._begun_at[index], result)
            encoded = record.model_dump_json().encode()
        else:
            encoded = result
            record = BatchRunRecord.model_validate_json(result)
        output = self._outputs[index]
        if record.status is RunStatus.FAILED and mark(output) != self._marks[index]:
            set_aside(output)
        self._books.record(index, record.status, encoded)
        self._under_way.end(output)
        self._on_record(record)


def _check_not_handed_on(manifest_path: Path, workflow_dir: Path | None) -> None:
    """BatchRunning if the runs of the workflow beside the manifest may be at the jobs."""
    usual = beside(manifest_path)
    if usual != workflow_dir and (usual / CALL).exists():
        raise BatchRunning(str(manifest_path), str(usual))


def _was_made(record: BatchRunRecord | None, since: datetime) -> bool:
    return (
        record is not None
        and record.status is RunStatus.SUCCESS
        and record.finished_at >= since
    )


def _check_distinct(jobs: Sequence[BatchJob], outputs: Sequence[Path]) -> None:
    ids: set[str] = set()
    first: dict[Path, str] = {}
    real_parents: dict[Path, Path] = {}
    for job, output in zip(jobs, outputs, strict=True):
        if job.id in ids:
            raise BatchMistake(f"two jobs have the id {job.id!r}; records are told apart by it")
        ids.add(job.id)
        # Links may lead to one file.
        if output.parent not in real_parents:
            real_parents[output.parent] = output.parent.resolve()
        real = real_parents[output.parent] / output.name
        if real.is_symlink():
            real = real.resolve()
        if real in first:
            both = f"jobs {first[real]!r} and {job.id!r}"
            raise BatchMistake(f"{both} have one output: {job.output}")
        first[real] = job.id
