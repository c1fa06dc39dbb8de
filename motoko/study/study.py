"""One study: its directory, its configuration and its database."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from motoko.config import StudyConfig
from motoko.config.policy import FailurePolicy
from motoko.errors import Mistake
from motoko.job.layout import run_file
from motoko.model import policy
from motoko.model.constraints import Constraint
from motoko.model.schema import Field, Schema
from motoko.model.space import expand
from motoko.paths import STUDY_DATABASE, STUDY_STATE
from motoko.store import layout
from motoko.store.address import Address, parse_host, socket_address
from motoko.store.database import Database
from motoko.store.operations import MoveTask, UpdateRun
from motoko.store.patience import patiently
from motoko.store.session import Session, current_session
from motoko.store.single_calls import SingleCalls
from motoko.store.tables import Tables
from motoko.study import files, system_dirs
from motoko.study.archive import archive_of, unpacked
from motoko.study.creation import Creation
from motoko.study.differences import Differences
from motoko.study.lookout import Lookout
from motoko.study.origin import origin_of
from motoko.study.presence import is_created
from motoko.study.records import Job, Run
from motoko.study.versions import Versions

R = TypeVar("R")

#: Seconds between looks of whoever waits, without any news: the net under the change feed.
WAIT_S = 5.0
#: So many runs are looked up with one question by whoever asks for one after the other: few
#: for the first, which may be all that is wanted, twice as many each time, and at most so many.
_N_AT_FIRST = 64
_N_AT_ONCE = 4096

#: Which combination of ``run_space`` a task is, and its job.
TaskPlace = tuple[int, int]


class Study:
    """A study and whoever asks for its runs: the current session, or single calls."""

    def __init__(
        self,
        config: StudyConfig,
        name: str,
        *,
        host: str | None,
        workflow_file: Path | None,
        certificates: Path | None = None,
    ) -> None:
        """``certificates`` is the directory of those that a ``host`` over TCP is spoken to
        with; without, that is in clear."""
        self.config = config
        self.name = name
        self.directory = config.directory
        self.workflow_file = workflow_file
        self.schema = Schema.from_config(config)
        self.address = study_address(self.directory, host)
        if self.address.path is None:
            self.address = self.address._replace(storage=name, certificates=certificates)
        view = partial(Tables, shown=system_dirs.shown(self.directory))
        self.database: Database[Tables] = Database(self.address, view, name)
        self.files = files.FileStore(self.state_dir / "files")
        self.versions = Versions(self.directory, self.state_dir)
        self._given = files.GivenFiles(config)
        self._single_calls = SingleCalls()
        self._lookout: Lookout | None = None
        #: How often whoever awaits a selection of its runs looks again without any news.
        self.wait_s = WAIT_S
        #: Whether `initialise` has added anything to the database.
        self.has_grown = False
        self._differences = Differences(self)
        #: What the database declares, and the entries of runs that are made now.
        self._entries: tuple[Schema, dict[str, Field]] | None = None

    def __repr__(self) -> str:
        return f"Study({self.name})"

    # places

    @cached_property
    def is_served_here(self) -> bool:
        """Whether the server of the workflow holds the database, if it is one of this machine;
        else another one does."""
        if self.address.path is None:
            return self.address.is_here
        return self.address == study_address(self.directory, None)

    @property
    def state_dir(self) -> Path:
        """Where the database and its socket lie."""
        return self.directory / STUDY_STATE

    @property
    def database_file(self) -> Path:
        """The file that the server holds."""
        return self.state_dir / STUDY_DATABASE

    @property
    def is_created(self) -> bool:
        """Whether there is a database; see `presence.is_created`."""
        return is_created(self)

    @property
    def runs_dir(self) -> Path:
        """Where the run directories lie."""
        return runs_dir(self.config)

    def run_dir(self, run_id: int) -> Path:
        """The directory of a run."""
        return self.runs_dir / f"run-{run_id}"

    def policy_of(self, row: Mapping[str, Any]) -> FailurePolicy:
        """What becomes of a run with these entries when it has failed."""
        return policy.of_run(row, self.config.policy)

    def files_dir(self, run_id: int) -> Path:
        """Where the files of a run are read: its directory; of a packed one a copy that is made
        when first asked for; of one that was brought here without it, where it executed."""
        own = self.run_dir(run_id)
        if own.exists():
            return own
        row = self.run_row(run_id)
        if (archive := archive_of(row)) is not None:
            return unpacked(self, run_id, archive)
        return self.ask(lambda tables: origin_of(tables, row)) or own

    def run_dirs(self) -> dict[int, Path]:
        """The run directories that are there, by run."""
        found = {}
        for path in self.runs_dir.glob("run-*"):
            number = path.name.removeprefix("run-")
            if number.isdecimal() and path.is_dir():
                found[int(number)] = path
        return dict(sorted(found.items()))

    @property
    def n_recorded(self) -> int:
        """How many directories there are that say what run they are of."""
        return sum(Path(run_file(d)).exists() for d in self.run_dirs().values())

    # sessions

    @property
    def session(self) -> Session:
        """The session of the calling task, or one that commits each call."""
        return current_session() or self._single_calls

    def close(self) -> None:
        """Give snapshots and connection back."""
        self._single_calls.close()
        self.database.close()

    @property
    def lookout(self) -> Lookout:
        """Watches the database for the running event loop."""
        if self._lookout is None or self._lookout.loop is not asyncio.get_running_loop():
            self._lookout = Lookout(self.database)
        return self._lookout

    def initialise(self, *, extends: bool = True) -> None:
        """Make the database what ``bd.yaml`` says: new, or extended by what was added; with
        ``extends`` false, one that is there stays as it is."""
        facts = {"schema": self.schema.to_json(), "study": self.config.study}
        command = self.migrate_command
        is_new = self.database.initialise(layout.STUDY, facts)
        if not is_new and extends:
            is_new = self.database.write(lambda t: t.extend_schema(self.schema, command))
        self.has_grown = self.has_grown or is_new

    @property
    def migrate_command(self) -> str:
        """What a user types to migrate the study, without options."""
        words = ["motoko", "study", "migrate", self.name]
        if self.workflow_file is not None:
            words += ["--dir", str(self.workflow_file.parent)]
        return shlex.join(words)

    # reading

    @property
    def tables(self) -> Tables:
        """What the present session sees; `ask` says how to read of it."""
        return self.session.view(self.database)

    def ask(self, question: Callable[[Tables], R]) -> R:
        """What the present session finds; see `Session.read`."""
        return self.session.read(self.database, question)

    def run_row(self, run_id: int) -> Mapping[str, Any]:
        """The stored entries of a run. Not to be changed."""
        return self.ask(lambda tables: tables.run(run_id))

    def job_row(self, job_id: int) -> Mapping[str, Any]:
        """The values of a job. Not to be changed."""
        return self.ask(lambda tables: tables.job(job_id))

    def run_with(self, run_id: int, name: str) -> Mapping[str, Any]:
        """The stored entries of a run, of which the present session rests on this one. Not to
        be changed."""
        return self.session.run(self.database, run_id, name)

    def observe(self, run_id: int, name: str) -> None:
        """Say that the present session rests on this entry."""
        self.session.observe(self.database, run_id, name)

    def attempts(self, run_id: int) -> list[dict[str, Any]]:
        """What is recorded of the attempts of a run."""
        return self.ask(lambda tables: tables.attempts(run_id))

    def quantities(self, run_id: int) -> dict[str, tuple[Any, Any]]:
        """Step and last value of each quantity of a run."""
        return self.ask(lambda tables: tables.quantities(run_id))

    def parse(self, constraints: str | Sequence[str] | None) -> Constraint:
        """A constraint in the terms of this study."""
        return self.ask(lambda tables: tables.parse(constraints))

    def select(self, constraint: Constraint) -> list[int]:
        """Ids of the runs that a constraint holds for, ascending."""
        return self.ask(lambda tables: tables.select(constraint))

    def count(self, constraint: Constraint) -> int:
        """Number of runs that a constraint holds for."""
        return self.ask(lambda tables: tables.count(constraint))

    def counts(self, run_name: str | None = None) -> dict[str, int]:
        """Number of runs by state, of one run name or of all."""
        return self.ask(lambda tables: tables.counts(run_name))

    def n_awaiting_step(self, run_name: str | None = None) -> int:
        """How many runs, of one run name or of all, wait for a step of their pipeline."""
        return self.ask(lambda tables: tables.n_awaiting_step(run_name))

    def run(self, run_id: int) -> Run:
        """The handle on a run; RunNotFound if there is none."""
        self.run_row(run_id)
        return Run(self, run_id)

    def job(self, job_id: int) -> Job:
        """The handle on a job; JobNotFound if there is none."""
        self.job_row(job_id)
        return Job(self, job_id)

    def pair(self, run_id: int) -> tuple[Run, Job]:
        """A run and its job."""
        return Run(self, run_id), Job(self, self.run_row(run_id)["job_id"])

    def pairs(self, run_ids: Sequence[int]) -> list[tuple[Run, Job]]:
        """Runs with their jobs."""
        return list(self.each_pair(run_ids))

    def each_pair(self, run_ids: Sequence[int]) -> Iterator[tuple[Run, Job]]:
        """Runs with their jobs, looked up some at a time while they are asked for."""
        begin, n_at_once = 0, _N_AT_FIRST
        while part := run_ids[begin : begin + n_at_once]:
            for run_id, job_id in self.ask(partial(Tables.with_jobs, run_ids=part)):
                yield Run(self, run_id), Job(self, job_id)
            begin, n_at_once = begin + n_at_once, min(2 * n_at_once, _N_AT_ONCE)

    @property
    def runs(self) -> Mapping[int, Run]:
        """All runs by id."""
        return _Records(self, Run)

    @property
    def jobs(self) -> Mapping[int, Job]:
        """All jobs by id."""
        return _Records(self, Job)

    # changing

    def create_tasks(
        self,
        given: Mapping[str, Any],
        run_params: Mapping[str, Any] | None,
        *,
        run_name: str,
        event_name: str,
    ) -> list[int]:
        """Make sure there is a task for each point of the given space; their run ids.

        What is not given comes from ``job_space``, ``run_space`` and ``run_params`` of
        ``bd.yaml``; a list in ``run_space`` gives a run for each of its values. Raises
        SchemaError for unknown names and values of the wrong type.
        """
        manifest = self.manifest()
        last = self.ask(lambda tables: tables.last_run_id)
        ids: list[int] = []
        creation = self._creation(manifest, run_name, event_name)
        for operation in creation.over_space(given, run_params):
            made = self.session.do(self.database, operation)
            if found := [i for i in made if i <= last]:
                self._differences.tell_of_entries(found, operation.entries)
            ids += made
        self._differences.tell_of_files([i for i in ids if i <= last], manifest)
        return ids

    def find_tasks(
        self,
        given: Mapping[str, Any],
        run_params: Mapping[str, Any] | None,
        *,
        run_name: str,
        tables: Tables | None = None,
    ) -> list[int]:
        """The runs of those of the tasks that are there, in this snapshot or the session's;
        `create_tasks` would make the rest."""
        ids: list[int] = []
        for operation in self._creation(None, run_name).over_space(given, run_params):
            ids += self.ask(operation.find) if tables is None else operation.find(tables)
        return ids

    def known_tasks(
        self, given: Mapping[str, Any], run_params: Mapping[str, Any], *, run_name: str
    ) -> dict[TaskPlace, int]:
        """The same with the place of each among the tasks that `create_tasks` would make: which
        of the combinations of ``run_space`` it is, and its job."""
        operations = self._creation(None, run_name).over_space(given, run_params)
        return {
            (number, self.run_row(run_id)["job_id"]): run_id
            for number, operation in enumerate(operations)
            for run_id in self.ask(operation.find)
        }

    def move_task(
        self,
        run_id: int,
        place: TaskPlace,
        given: Mapping[str, Any],
        run_params: Mapping[str, Any],
        *,
        run_name: str,
    ) -> None:
        """Let a run be the task that `create_tasks` would make in this place, unless another
        one is that."""
        operations = self._creation(None, run_name).over_space(given, run_params)
        operation = next(islice(operations, place[0], None))
        self.session.do(self.database, MoveTask(run_id, operation.identity))

    def create_jobs(self) -> tuple[int, int]:
        """Make the jobs of ``job_space`` that are not there; how many are new, how many jobs
        there are. No run is made."""

        def make(tables: Tables) -> tuple[int, int]:
            before = tables.n_jobs
            for values in expand(self.config.job_space, tables.schema):
                tables.create_job(values)
            return tables.n_jobs - before, tables.n_jobs

        return self.database.write(make)

    def create_runs(
        self, job_ids: Iterable[int], run_params: Mapping[str, Any], *, run_name: str
    ) -> list[int]:
        """Make sure that there is a run on each of these jobs, as `create_tasks` does; ids."""
        creation = self._creation(self.manifest(), run_name)
        ids: list[int] = []
        for job_id in job_ids:
            for operation in creation.on_job(self.job_row(job_id), run_params):
                ids += self.session.do(self.database, operation)
        return ids

    def _creation(
        self, manifest: Mapping[str, Any] | None, run_name: str, event_name: str = ""
    ) -> Creation:
        stored = self.ask(lambda tables: tables.schema)
        if self._entries is None or self._entries[0] is not stored:
            self._entries = stored, {**stored.run, **self.schema.run}
        entries = self._entries[1]
        return Creation(
            self.name, self.config, self.schema, entries, manifest, run_name, event_name
        )

    def update_run(self, run_id: int, changes: Mapping[str, Any]) -> None:
        """Change entries of a run; None removes one."""
        removed = {name: None for name, value in changes.items() if value is None}
        given = {name: value for name, value in changes.items() if value is not None}
        converted = self.schema.convert_run(given)
        self.schema.check_limits(converted)
        self.session.do(self.database, UpdateRun(run_id, {**converted, **removed}))

    def set_quantity(self, run_id: int, name: str, step: Any, value: Any) -> None:
        """Say what a run has pushed last, when it was not its script that did."""

        def change(tables: Tables) -> None:
            known = tables.quantities(run_id)
            tables.set_quantities(run_id, {**known, name: (step, value)})
            now = {"last_step": step, "last_step_time": time.time()}
            tables.update_run(run_id, now)

        self.database.write(change)

    def manifest(self) -> dict[str, Any]:
        """The files that a run created now is given. ConfigError for those that cannot be."""
        *others, exec_file = self._given.present()

        def make() -> dict[str, Any]:
            return self.versions.with_code(files.manifest(self.files, others, exec_file))

        return make() if current_session() is not None else patiently(self.database, make)


class _Records(Mapping[int, Any]):
    """All runs, or all jobs, of a study by id."""

    def __init__(self, study: Study, kind: type[Run] | type[Job]) -> None:
        self._study = study
        self._kind = kind

    def __getitem__(self, record_id: int) -> Any:
        return self._study.run(record_id) if self._kind is Run else self._study.job(record_id)

    def __contains__(self, record_id: object) -> bool:
        if not isinstance(record_id, int):
            return False
        is_run = self._kind is Run
        return self._study.ask(lambda t: (t.has_run if is_run else t.has_job)(record_id))

    def get(self, record_id: int, default: Any = None) -> Any:
        """The handle of this id, or ``default``."""
        if record_id not in self:
            return default
        return self[record_id]

    def __iter__(self) -> Iterator[int]:
        is_run = self._kind is Run
        return iter(self._study.ask(lambda t: list(t.run_ids() if is_run else t.job_ids())))

    def __len__(self) -> int:
        is_run = self._kind is Run
        return self._study.ask(lambda t: t.n_runs if is_run else t.n_jobs)


def runs_dir(config: StudyConfig) -> Path:
    """Where the run directories of a study lie."""
    parent = config.outpath
    root = config.directory if parent is None else config.directory / parent
    return root / f"BD-{config.study}-runs"


def shared_places(configs: Iterable[StudyConfig]) -> Iterator[Mistake]:
    """Studies whose run directories would be the same: each would overwrite the other's."""
    first: dict[str, StudyConfig] = {}
    for config in configs:
        place = os.path.realpath(runs_dir(config))
        other = first.setdefault(place, config)
        if other is not config:
            found = f"its runs would lie in {place}, as those of {other.directory.name} do"
            allowed = "name the studies differently, or give one another outpath"
            yield Mistake(str(config.file), 0, "study", found, allowed)


def study_address(directory: Path, host: str | None) -> Address:
    """Where the server of a study is reached: by default in its own directory."""
    found = socket_address(directory / STUDY_STATE) if host is None else parse_host(host)
    if isinstance(found, Path):
        return socket_address(found / STUDY_STATE)
    return found
