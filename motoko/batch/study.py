"""The jobs of a batch as runs of a study, on whatever generator that has.

The study is ``jobs`` in a workflow's directory beside the manifest. It is made with what is
needed to run on this machine; what is changed in its files, a generator or a walltime, stays.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from motoko.batch.alone import RECORD
from motoko.batch.crew import Result
from motoko.batch.doing import BatchWorker
from motoko.batch.models import BatchJob, now
from motoko.batch.underway import CALL
from motoko.durable import replace_file
from motoko.errors import BatchMistake
from motoko.model import states
from motoko.paths import WORKFLOW_FILE
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.study.waiting import failed_run
from motoko.workflow import Workflow, control, limits, whereabouts
from motoko.workflow.limits import Limit
from motoko.workflow.upkeep import settling

_STUDY = "jobs"
#: Beside the call: what the runs execute. Runs keep the script that they were created with, and
#: may execute after a move.
_COMMAND = "call.sh"
_FILES = {
    WORKFLOW_FILE: f"task_managers:\n  {_STUDY}:\norchestrator: batch.main # motoko batch is\n",
    f"{_STUDY}/bd.yaml": f"""\
study: {_STUDY}
job:
  item: str # the id of a job of the batch
run:
  spec: str # the job, in JSON
""",
    f"{_STUDY}/launch.sh": f'. "${{MOTOKO_WORKFLOW%/*}}/{_COMMAND}"\n',
}


class StudyCrew:
    """Has the jobs of one call of a batch done as runs of a study."""

    def __init__(
        self, directory: Path, worker: BatchWorker, jobs: Sequence[BatchJob], max_workers: int
    ) -> None:
        self._max_workers = max_workers
        self._directory = directory.absolute()
        self._jobs = jobs
        self._worker = _pickled(worker)
        self._call_file = self._directory / CALL
        self._call: dict[str, Any] = {}
        before: dict[str, Any] = {"run_name": "", "items": []}
        if self._call_file.exists():
            before = self._call = json.loads(self._call_file.read_bytes())
        #: The process ids of the server and the launcher that such a call has left.
        self._daemons: list[int] = before.get("daemons", [])
        self._run_name: str = before["run_name"] or f"{now():batch-%Y%m%d-%H%M%S-%f}"
        #: The ids of jobs that a call which was killed has given to the study: their runs are
        #: taken over, whatever lies at their outputs.
        self.taken_over = frozenset(before["items"])
        #: Those of them that are no jobs of this call: they are left to one that has them.
        self._others = sorted(self.taken_over - {job.id for job in jobs})

    def work(
        self, indexes: Iterable[int], on_result: Callable[[int, bytes | str], object]
    ) -> None:
        """Do the jobs with these indexes; each result is passed on as it comes.

        Killed, the runs go on; the next call takes them over.
        """
        pending = list(indexes)
        if not pending:
            self._close()
            return
        self._write_files({self._jobs[i].id for i in pending})
        self._settle()
        workflow = Workflow(str(self._directory))
        workflow.run_name = self._run_name
        workflow.accepts_changes = True  # what is changed in its files holds from now on
        work = _Work(self._jobs, pending, on_result, self._max_workers)
        workflow.orchestrator_function = work.main
        with control.in_custody(workflow) as custody:
            custody.adopt(self._daemons)
            try:
                control.ensure_running(workflow)
                # Known from the start: who is killed leaves them to the next one.
                self._write_call({"daemons": custody.pids()})
                workflow.execute()
            except BaseException:
                custody.leave()  # the runs go on
                raise
            if self._others:
                custody.leave()
        self._close()

    def _settle(self) -> None:
        """A copy of the directory is one by itself: what executed does so for the original, and
        is begun again here."""
        workflow = Workflow(str(self._directory))
        try:
            if whereabouts.changes(workflow):
                settling.settle(workflow, is_copy=True)
        finally:
            workflow.close()

    def _close(self) -> None:
        """This call is through; what others have given to the study may go on."""
        if self._others:
            self._write_call({"items": self._others})
        else:
            self._call_file.unlink(missing_ok=True)

    def _write_files(self, items: set[str]) -> None:
        (self._directory / _STUDY).mkdir(parents=True, exist_ok=True)
        command = shlex.join([sys.executable, "-m", "motoko.batch.alone", str(self._call_file)])
        where = shlex.quote(str(Path.cwd()))  # there the caller's paths lead somewhere
        for name, text in _FILES.items():
            if not (self._directory / name).exists():
                replace_file(self._directory / name, [text.encode()])
        command_file = self._directory / _COMMAND
        replace_file(command_file, [f"cd {where} || exit\n{command}\n".encode()])
        self._call = {
            "run_name": self._run_name,
            "items": sorted(items | self.taken_over),
            "path": [os.path.abspath(place) for place in sys.path],
            "worker": self._worker,
        }
        self._write_call({"daemons": self._daemons})

    def _write_call(self, more: Mapping[str, Any]) -> None:
        self._call |= more
        replace_file(self._call_file, [json.dumps(self._call).encode()])


class _Work:
    """What orchestrates the runs of one call."""

    def __init__(
        self,
        jobs: Sequence[BatchJob],
        pending: Sequence[int],
        on_result: Callable[[int, bytes | str], object],
        max_workers: int,
    ) -> None:
        self._jobs = jobs
        self._max_workers = max_workers
        self._pending = pending
        self._on_result = on_result
        self._results: list[Result] = []
        self._open: dict[int, int] = {}
        self._news = anyio.Event()

    async def main(self, workflow: Workflow, **params: Any) -> None:
        """Create the runs, or find them, and tell of each that is over."""
        manager = workflow.task_manager(_STUDY)
        study = manager.base
        self._limit(workflow, study)
        with workflow.session():
            for index in self._pending:
                job = self._jobs[index]
                spec = {"spec": job.model_dump_json()}
                [run_id] = manager.create_tasks({"item": job.id}, spec, event_name="batch")
                self._open[run_id] = index
                is_bad = states.is_bad(study.run_row(run_id)["state"])
                if is_bad and not (study.run_dir(run_id) / RECORD).exists():
                    study.run(run_id).state = states.CREATED
        stop = study.lookout.watch(lambda tables, changed: self._look(study, tables, changed))
        try:
            while self._open or self._results:
                self._news = anyio.Event()
                results, self._results = self._results, []
                for index, result in results:
                    self._on_result(index, result)
                if not results:
                    await self._news.wait()
        finally:
            stop()
        workflow.finished = True

    def _limit(self, workflow: Workflow, study: Study) -> None:
        """So many runs at once as there are to be workers, unless its files say how many."""
        has_own = study.config.max_concurrent or workflow.config.max_concurrent
        of_study = study.name if len(workflow.task_managers) > 1 else None
        most = None if has_own else self._max_workers
        limits.record(workflow, [Limit(of_study, "max_concurrent", most)])

    def _look(self, study: Study, tables: Tables, changed: set[int] | None) -> None:
        for run_id in list(self._open) if changed is None else changed & self._open.keys():
            result: bytes | str
            if not tables.has_run(run_id):
                result = "its run was deleted"
            elif states.has_ended(tables.run(run_id)):
                file = study.run_dir(run_id) / RECORD
                result = failed_run(study, tables, run_id).cause
                if file.exists():
                    result = file.read_bytes()
            else:
                continue
            self._results.append((self._open.pop(run_id), result))
        if self._results:
            self._news.set()


def _pickled(worker: BatchWorker) -> str:
    if getattr(worker, "__module__", None) == "__main__":
        raise BatchMistake(
            "the worker is defined in the program itself; runs of a study import it: put it"
            " into a module"
        )
    try:
        return base64.b64encode(pickle.dumps(worker)).decode()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise BatchMistake(f"the worker cannot be handed to another process: {error}") from None
