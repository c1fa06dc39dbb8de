"""Task managers: an orchestrator's handle on one study, to create tasks and select runs."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from motoko.config import StudyConfig
from motoko.config.retry import PRUNE
from motoko.errors import ConditionError, FailedRun, RunNameMissing, RunsFailed, WorkflowError
from motoko.model import states
from motoko.model.constraints import Constraint
from motoko.store.session import current_session
from motoko.study.presence import check_created
from motoko.study.records import Job, Pairs, Run
from motoko.study.study import Study
from motoko.study.waiting import until_over, until_true

if TYPE_CHECKING:
    from pandas import DataFrame

    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

Pair = tuple[Run, Job]
_LONGEST_RUN_NAME = 100


def check_run_name(name: str) -> None:
    """WorkflowError for a run name that no table, file or shell could show."""
    is_fit = name.isprintable() and name.strip() == name and name.strip(".")
    if not is_fit or len(name) > _LONGEST_RUN_NAME:
        raise WorkflowError(
            f"{name[:_LONGEST_RUN_NAME]!r} is no run name: use up to {_LONGEST_RUN_NAME}"
            " printable characters, without blanks at the ends"
        )


class RunList(Sequence[Pair]):
    """Runs with their jobs, as a sequence of pairs that can be awaited.

    ``await`` ends when all of the runs are over and gives them as a plain list. If some ended
    badly it raises RunsFailed, naming them and their causes; those whose policy is to be pruned
    are left out instead, and the others are given. A run that has ever finished
    counts as finished, whatever state an action has given it since. One of which nothing
    executes in a state of your own is over as well, and has not ended badly.
    """

    def __init__(self, runs: Sequence[Pair]) -> None:
        self._runs = runs if isinstance(runs, Pairs) else list(runs)

    @property
    def runs(self) -> list[Pair]:
        """Them, as a plain list."""
        return list(self._runs)

    def __await__(self) -> Generator[Any, None, list[Pair]]:
        return self._until_over().__await__()

    async def _until_over(self) -> list[Pair]:
        failed: list[FailedRun] = []
        pruned: set[tuple[str, int]] = set()
        for one in await until_over(self._ids()):
            if one.policy == PRUNE:
                log.warning("left out, as on_failure says: %s", one)
                pruned.add((one.study, one.run_id))
            else:
                failed.append(one)
        if failed:
            raise RunsFailed(failed)
        if not pruned:
            return self.runs
        return [pair for pair in self.runs if (pair[0].study.name, pair[0].id) not in pruned]

    def _ids(self) -> Mapping[Study, Sequence[int]]:
        if isinstance(self._runs, Pairs):
            return {self._runs.study: self._runs.ids}
        ids: dict[Study, list[int]] = {}
        for run, _ in self._runs:
            ids.setdefault(run.study, []).append(run.id)
        return ids

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> RunList: ...
    def __getitem__(self, index: int | slice) -> Pair | RunList:
        return RunList(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._runs)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RunList):
            return self.runs == other.runs
        return self.runs == other if isinstance(other, list) else NotImplemented

    def __hash__(self) -> int:
        """Of its runs, as ``==`` compares them: asyncio keeps what it is given in sets."""
        return hash(tuple((study, tuple(ids)) for study, ids in self._ids().items()))

    def __repr__(self) -> str:
        return f"RunList([{', '.join(str(run) for run, _ in self._runs)}])"


class TaskSelectionEval:
    """A question that can be asked (``bool``, call) and awaited until the answer is yes.

    Awaiting gives the last answer of ``func``. Combine two with ``&`` to await both.
    """

    def __init__(
        self, func: Callable[[], Any], *, studies: Iterable[Study] = (), wait_s: float = 1.0
    ) -> None:
        """``func`` is asked again whenever one of the studies changes, every ``wait_s``
        seconds if none is given."""
        self.func = func
        self._studies = tuple(studies)
        self._wait_s = wait_s

    def __call__(self) -> Any:
        return self.func()

    def __bool__(self) -> bool:
        return bool(self.func())

    def __await__(self) -> Generator[Any, None, Any]:
        return self._until_true().__await__()

    async def _until_true(self) -> Any:
        answer: Any = None

        def ask() -> bool:
            nonlocal answer
            answer = self.func()
            return bool(answer)

        await until_true(self._studies, ask, math.inf if self._studies else self._wait_s)
        return answer

    def __and__(self, other: TaskSelectionEval | TaskSelection) -> TaskSelectionEval:
        if isinstance(other, TaskSelection):
            other = other.is_not_empty()
        if not isinstance(other, TaskSelectionEval):
            return NotImplemented
        both = (self, other)
        studies = {*self._studies, *other._studies} if self._studies and other._studies else ()
        wait_s = min(self._wait_s, other._wait_s)
        return TaskSelectionEval(lambda: all(map(bool, both)), studies=studies, wait_s=wait_s)


class TaskSelection(Sequence[Pair]):
    """The runs that constraints hold for, looked up anew each time they are asked for.

    A sequence of ``(run, job)`` pairs ordered by run id. ``bool`` and ``len`` count without
    fetching. ``await`` waits until at least one run matches and gives a plain list. ``&``
    with another selection of the same study gives the runs in both; with anything else, a
    question that is true when both have runs.
    """

    matching_condition: Callable[..., bool] | None = None

    def __init__(self, constraints: list[str], selector: Any, base: Study, study: str) -> None:
        """``selector`` is the parsed constraint, None to parse ``constraints`` here."""
        self.constraints = list(constraints)
        self.base = base
        self.study = study
        self.selector: Constraint = (
            selector if isinstance(selector, Constraint) else base.parse(self.constraints)
        )

    def exec(self) -> list[Pair]:
        """The matching runs with their jobs, now."""
        return self.base.pairs(self._ids())

    def __call__(self) -> list[Pair]:
        return self.exec()

    def all(self, *args: Any) -> TaskSelectionEval:
        """Wait until all selected runs satisfy these constraints as well.

        Each argument is a constraint or a list of them. A selection without runs does not
        satisfy anything: awaiting it waits for the first run. In a study whose policy is to
        prune, FAILED runs need not satisfy anything, as long as others do. Raises
        ConstraintError for what cannot be understood.
        """
        texts = [text for arg in args for text in ([arg] if isinstance(arg, str) else arg)]
        wanted = self.selector & self.base.parse(texts)
        alive = self.base.parse(f"state != {states.FAILED}")

        def is_satisfied() -> bool:
            questions = [(self.selector, wanted)]
            if self.base.config.policy.last == PRUNE:
                questions.append((self.selector & alive, wanted & alive))
            return any(
                n_runs and n_runs == n_good for n_runs, n_good in self._counts(questions)
            )

        return TaskSelectionEval(is_satisfied, studies=[self.base])

    def _counts(
        self, questions: Sequence[tuple[Constraint, Constraint]]
    ) -> list[tuple[int, int]]:
        """How many runs there are for both of each pair, in one snapshot. The second of a pair
        holds for no others than the first."""
        if self.matching_condition is None:
            return self.base.ask(lambda t: [(t.count(a), t.count(b)) for a, b in questions])
        found = self.base.ask(lambda t: [(t.select(a), t.select(b)) for a, b in questions])
        matching = [(self._matching(ids), good) for ids, good in found]
        return [(len(ids), len(set(ids).intersection(good))) for ids, good in matching]

    def is_not_empty(self) -> TaskSelectionEval:
        """The question whether any run matches."""
        return TaskSelectionEval(lambda: bool(self), studies=[self.base])

    def __await__(self) -> Generator[Any, None, list[Pair]]:
        return self._until_found().__await__()

    async def _until_found(self) -> list[Pair]:
        found: list[Pair] = []

        def look() -> bool:
            found[:] = self.exec()
            return bool(found)

        await until_true([self.base], look)
        return found

    def _ids(self) -> list[int]:
        return self._matching(self.base.select(self.selector))

    def _matching(self, ids: list[int]) -> list[int]:
        if self.matching_condition is None:
            return ids
        return [i for i in ids if self.matching_condition(*self.base.pair(i))]

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        ids = self._ids()
        if isinstance(index, slice):
            return self.base.pairs(ids[index])
        return self.base.pair(ids[index])

    def __len__(self) -> int:
        if self.matching_condition is None:
            return self.base.count(self.selector)
        return len(self._ids())

    def __bool__(self) -> bool:
        return len(self) > 0

    def __iter__(self) -> Iterator[Pair]:
        return self.base.each_pair(self._ids())

    def __and__(
        self, other: TaskSelection | TaskSelectionEval
    ) -> TaskSelection | TaskSelectionEval:
        if isinstance(other, TaskSelection) and other.base is self.base:
            both = TaskSelection(
                [*self.constraints, *other.constraints],
                self.selector & other.selector,
                self.base,
                self.study,
            )
            both.matching_condition = _both(self.matching_condition, other.matching_condition)
            return both
        return self.is_not_empty() & other

    def __repr__(self) -> str:
        return f"TaskSelection({self.study}: {', '.join(self.constraints) or 'all runs'})"


def _both(
    first: Callable[..., bool] | None, second: Callable[..., bool] | None
) -> Callable[..., bool] | None:
    if first is None or second is None:
        return first or second
    return lambda run, job: first(run, job) and second(run, job)


class TaskManager:
    """Creates tasks in one study of a workflow and selects its runs.

    The study lies in the directory of the same name inside the workflow: ``bd.yaml``,
    ``launch.sh`` and what they need. ``job_space`` and ``run_params`` of ``bd.yaml`` are
    defaults of every task. Runs are executed by the launcher, not here.
    """

    selector: Any = None

    def __init__(self, workflow: Workflow, study: str) -> None:
        """Reads the study's ``bd.yaml``; connects to its database when first needed."""
        self.workflow = workflow
        self.study = study
        self.config = workflow.task_manager_config(study)
        self._study = workflow.load_study(study)

    def __repr__(self) -> str:
        return f"TaskManager({self.study})"

    def connect(self) -> Study:
        """The study, connected; DatabaseUnavailable if no server answers."""
        check_created(self._study)
        self._study.database.connect()
        return self._study

    @property
    def base(self) -> Study:
        """The study: ``.runs`` and ``.jobs`` are mappings by id."""
        return self._study

    @property
    def bd_config(self) -> StudyConfig:
        """What stands in ``bd.yaml``."""
        return self._study.config

    @property
    def study_dir(self) -> str:
        """The study's directory."""
        return str(self._study.directory)

    @property
    def bd_dir(self) -> str:
        """The directory of the study's database."""
        return str(self._study.state_dir)

    def createTask(
        self, run_params: dict[str, Any] | None = None, commit: bool = False, **kwargs: Any
    ) -> RunList:
        """Make sure there is a task for each point of a parameter space; its runs and jobs.

        ``kwargs`` are job values over the defaults of ``job_space``; a list is a dimension.
        A task that exists already (same job, run name, declared run entries and ``nproc``) is
        given back, not made again. The runs' ``event_name`` is the name of the calling
        function. ``commit=True`` commits the present session before this returns: the event
        loop stands still meanwhile, for two minutes at most and one more try of the commit when
        the server does not answer. To ``await`` runs commits as well, and does not hold it up.

        Raises RunNameMissing without ``workflow.run_name``, and SchemaError for unknown names
        and values of the wrong type. With ``commit=True`` also SessionConflict and
        TasksRenumbered, as `Workflow.session` does, and DatabaseUnavailable: an action that
        lets them pass is called again.
        """
        caller = sys._getframe(1).f_code.co_name
        return self._create_task(run_params, commit, kwargs, event_name=caller)

    def _create_task(
        self,
        run_params: Mapping[str, Any] | None,
        commit: bool,
        job_values: Mapping[str, Any],
        *,
        event_name: str,
    ) -> RunList:
        if isinstance(run_params, Mapping):
            schema = self._study.schema
            schema.check_own(schema.lower_names(run_params))
        ids = self.create_tasks(job_values, run_params, event_name=event_name)
        session = current_session()
        if commit and session is not None:
            session.commit_patiently()
        return RunList(Pairs(self._study, ids))

    def create_tasks(
        self,
        job_values: Mapping[str, Any],
        run_params: Mapping[str, Any] | None = None,
        *,
        event_name: str,
    ) -> list[int]:
        """Like `createTask`, for parameters of any name; the ids of the runs."""
        run_name = self.workflow.run_name
        if not run_name:
            raise RunNameMissing
        check_run_name(run_name)
        return self._study.create_tasks(
            job_values, run_params, run_name=run_name, event_name=event_name
        )

    def select(self, constraints: str | list[str] | None = None) -> TaskSelection:
        """The runs that constraints hold for, of the present run name if one is set.

        Raises ConstraintError for what cannot be understood. The list is not changed.
        """
        if constraints is not None and not isinstance(constraints, str | list | tuple):
            why = f"constraints are text or a list of texts, not {type(constraints).__name__}"
            raise ConditionError(f"select on {self.study}", why)
        texts = [constraints] if isinstance(constraints, str) else list(constraints or [])
        constraint = self._study.parse(texts)
        if self.workflow.run_name:
            constraint = constraint.restricted_to(self.workflow.run_name)
        return TaskSelection(texts, constraint, self._study, self.study)

    def dataframe(self, constraints: str | list[str] | None = None) -> DataFrame:
        """One row a run: job values, run entries, times, attempts, last quantities.

        Read from the database alone; indexed by run id. Needs pandas.
        """
        from motoko.study.frame import frame

        selection = self.select(constraints)
        place = self._study.directory
        return self._study.ask(
            lambda tables: frame(tables, tables.select(selection.selector), place)
        )
