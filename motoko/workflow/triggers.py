"""What makes actions fire: conditions, kept up to date with what changes in the databases."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from motoko.config.retry import PRUNE
from motoko.errors import ConditionError, RunNotFound, UnknownField
from motoko.model import states
from motoko.model.constraints import Constraint
from motoko.phrases import counted
from motoko.store.database import Database
from motoko.store.tables import Tables
from motoko.study.records import Job, Run
from motoko.study.study import Study
from motoko.task_manager import RunList, TaskManager, TaskSelection, TaskSelectionEval
from motoko.workflow.actions import ALL_TASKS, Action, is_run_filter, is_workflow_filter

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

#: Studies up to this size have all runs shown to a condition on runs at each change, of
#: whatever; larger ones the changed runs at once, and all of them on the timer.
FULL_SCAN_RUNS = 2_000
#: So many rows are remembered: ten megabytes perhaps.
_MOST_COMPARED = 20_000
#: About so many runs a function is asked before others get their turn.
_N_AT_ONCE = 50


@dataclass(frozen=True)
class Trigger:
    """A condition that is true: of these runs of one study, or of the workflow as such."""

    task: str | None = None
    run_ids: tuple[int, ...] = ()

    @property
    def listed(self) -> str:
        """The runs, as they follow in a sentence what is done for them."""
        if not self.run_ids:
            return ""
        shown = ", ".join(map(str, self.run_ids[:8]))
        more = f" and {len(self.run_ids) - 8} more" if len(self.run_ids) > 8 else ""
        return f" for runs {shown}{more}"


def watched(workflow: Workflow, action: Action) -> list[TaskManager]:
    """The task managers that an action is registered for."""
    if action.task == ALL_TASKS:
        return list(workflow.task_managers.values())
    return [workflow.task_manager(action.task)]


def needed(workflow: Workflow, action: Action) -> set[Database[Any]]:
    """The databases that the condition of an action may read."""
    if action.is_constraint or is_run_filter(action.condition):
        return {manager.base.database for manager in watched(workflow, action)}
    return set(workflow.databases)


Skips = Callable[[Tables, int], bool] | None


def skips(action: Action, study: Study) -> Skips:
    """Which runs an action is not called for, whatever its condition says: an error handler for
    those that failed, and that are left out as ``on_failure`` says."""

    def is_left_out(tables: Tables, run_id: int) -> bool:
        if not tables.has_run(run_id):
            return False
        row = tables.run(run_id)
        return bool(row["state"] == states.FAILED and study.policy_of(row).last == PRUNE)

    return is_left_out if action.is_error_handler else None


def _left(study: Study, run_ids: Iterable[int], skipped: Skips) -> Iterable[int]:
    if skipped is None:
        return run_ids
    return study.ask(lambda tables: [i for i in run_ids if not skipped(tables, i)])


def _without_skipped(
    workflow: Workflow, action: Action, found: Iterable[Trigger]
) -> Iterator[Trigger]:
    for trigger in found:
        if trigger.task is None:
            yield trigger
            continue
        study = workflow.task_manager(trigger.task).base
        if ids := tuple(_left(study, trigger.run_ids, skips(action, study))):
            yield Trigger(trigger.task, ids)


class Compared:
    """The rows of one study that its constraints were compared with last.

    Whoever is told of a change is told of all runs of a leaf: those whose row is still the
    same need not be compared again.
    """

    def __init__(self) -> None:
        self._rows: dict[int, bytes | None] = {}

    def forget(self) -> None:
        """Some constraint was compared with what is not known here."""
        self._rows.clear()

    def differing(self, tables: Tables, changed: set[int] | None) -> set[int] | None:
        """Those of the runs that may be others than they were at the last comparison."""
        if changed is None or len(self._rows) > _MOST_COMPARED:
            self.forget()
        if changed is None:
            return None
        rows = {i: tables.raw_run(i) if tables.has_run(i) else None for i in changed}
        found = {i for i, row in rows.items() if i not in self._rows or self._rows[i] != row}
        self._rows.update(rows)
        return found


class ConstraintMonitor:
    """The runs of one study that a constraint holds for: none as long as it names an entry that
    the study does not know, since no run has it yet."""

    def __init__(self, action: Action, manager: TaskManager) -> None:
        """Raises ConstraintError for what it will never understand."""
        self._texts = action.constraints
        self._run_name = manager.workflow.run_name
        self.task = manager.study
        self._skips = skips(action, manager.base)
        self.matching: set[int] = set()
        self.constraint: Constraint | None = None
        #: Why there is none.
        self.unknown: UnknownField | None = None
        manager.base.ask(self._parse)

    def _parse(self, tables: Tables) -> None:
        try:
            found = tables.parse(self._texts)
        except UnknownField as error:
            self.unknown = error
        else:
            self.constraint = found.restricted_to(self._run_name) if self._run_name else found

    def look(self, tables: Tables, changed: set[int] | None) -> None:
        """Take over what changed."""
        if self.constraint is None:
            self._parse(tables)
            changed = None
        if self.constraint is None:
            return
        skipped = self._skips
        if changed is None:
            found = tables.select(self.constraint)
            self.matching = {i for i in found if skipped is None or not skipped(tables, i)}
            return
        for run_id in changed:
            is_one = tables.matches(self.constraint, run_id)
            if is_one and not (skipped is not None and skipped(tables, run_id)):
                self.matching.add(run_id)
            else:
                self.matching.discard(run_id)

    def look_elsewhere(self) -> None:
        """Something else has changed, which is nothing to a constraint: it reads the runs of
        its study alone."""

    def look_again(self) -> None:
        """Time has passed, which is nothing to a constraint either."""

    async def trigger(self) -> list[Trigger]:
        """What fires now."""
        return [Trigger(self.task, tuple(sorted(self.matching)))] if self.matching else []


class FilterMonitor:
    """The runs of one study that a function of run and job holds for."""

    def __init__(self, action: Action, manager: TaskManager) -> None:
        self._action = action
        self._manager = manager
        self._skips = skips(action, manager.base)
        self.task = manager.study
        #: What is to be looked at; None for all runs.
        self._unseen: set[int] | None = None
        self._is_small = True
        self.matching: set[int] = set()

    def look(self, tables: Tables, changed: set[int] | None) -> None:
        """Remember what is to be looked at."""
        self._is_small = tables.n_runs <= FULL_SCAN_RUNS
        if changed is None or self._is_small:
            self._unseen = None
        elif self._unseen is not None:
            self._unseen |= changed

    def look_elsewhere(self) -> None:
        """Something else has changed, which the function may read: it is asked about all runs
        if they are few, and otherwise as time passes."""
        if self._is_small:
            self._unseen = None

    def look_again(self) -> None:
        """Time has passed: the function is asked about all runs, since it may read anything."""
        self._unseen = None

    async def trigger(self) -> list[Trigger]:
        """Ask the function about the runs that have not been looked at.

        Others get their turn in between: what changes meanwhile is looked at the next time.
        """
        unseen, self._unseen = self._unseen, set()
        try:
            await self._look_at(unseen)
        except BaseException:
            self._unseen = None
            raise
        if not self.matching:
            return []
        return [Trigger(self._manager.study, tuple(sorted(self.matching)))]

    async def _look_at(self, unseen: set[int] | None) -> None:
        study = self._manager.base
        selected = study.select(self._manager.select().selector)
        if unseen is None:
            self.matching.intersection_update(selected)
        else:
            selected = sorted(unseen.intersection(selected))
            self.matching -= unseen.difference(selected)
        async for run_id, is_true in self.answers(selected):
            if is_true:
                self.matching.add(run_id)
            else:
                self.matching.discard(run_id)

    async def answers(self, run_ids: Sequence[int]) -> AsyncIterator[tuple[int, bool]]:
        """Ask the function about each of these runs, some at a time. It is not true of one that
        is not there, also when that is deleted while it is asked about."""
        study, condition = self._manager.base, self._action.condition
        for begin in range(0, len(run_ids), _N_AT_ONCE):
            if begin:
                await anyio.lowlevel.checkpoint()
            part = run_ids[begin : begin + _N_AT_ONCE]
            there = set(_left(study, _there(study, part), self._skips))
            for run_id in part:
                is_true = False
                if run_id in there:
                    try:
                        is_true = bool(await _answer(condition(*study.pair(run_id))))
                    except RunNotFound:
                        if _there(study, [run_id]):
                            raise
                yield run_id, is_true


Monitor = ConstraintMonitor | FilterMonitor


def monitors(workflow: Workflow, action: Action) -> list[Monitor]:
    """What follows the condition of an action on runs, one for each study; none for a
    condition on the workflow.

    Raises ConditionError for a constraint that fits none of the studies.
    """
    managers = watched(workflow, action)
    if action.is_constraint:
        return [*_constraint_monitors(action, managers)]
    if is_run_filter(action.condition):
        return [FilterMonitor(action, manager) for manager in managers]
    return []


def _constraint_monitors(
    action: Action, managers: Iterable[TaskManager]
) -> list[ConstraintMonitor]:
    try:
        found = [ConstraintMonitor(action, manager) for manager in managers]
    except ValueError as error:
        raise ConditionError(action.label, str(error)) from error
    if found and all(m.unknown is not None for m in found):  # else it is one of another study
        unknown = found[0].unknown
        raise ConditionError(action.label, str(unknown)) from unknown
    return found


async def ask(
    workflow: Workflow, action: Action, said: dict[str, str] | None = None
) -> list[Trigger]:
    """Call a condition on the workflow: what it says fires now.

    Several studies for which it is true as such make one trigger. What was said of each study
    is put into ``said``, in words; "" stands for the workflow.
    """
    condition, answers = action.condition, {}
    if is_workflow_filter(condition):
        for manager in watched(workflow, action):
            answers[manager.study] = await _answer(condition(workflow, manager))
    else:
        answers[""] = await _answer(condition())
    triggers: list[Trigger] = []
    for study, answer in answers.items():
        found = list(_without_skipped(workflow, action, read_answer(action, answer)))
        triggers += found
        if said is not None:
            said[study] = _in_words(answer, found)
    plain = Trigger()
    runs = [trigger for trigger in triggers if trigger != plain]
    return [plain, *runs] if plain in triggers else runs


def _in_words(answer: Any, found: list[Trigger]) -> str:
    if isinstance(answer, TaskSelection | RunList | list | tuple):
        return counted(sum(len(trigger.run_ids) for trigger in found), "run")
    return repr(bool(found)) if isinstance(answer, TaskSelectionEval) else repr(answer)


async def _answer(value: Any) -> Any:
    return await value if inspect.iscoroutine(value) else value


def read_answer(action: Action, answer: Any) -> list[Trigger]:
    """What a condition's answer means: truth, or a selection of runs."""
    if isinstance(answer, TaskSelection | RunList | list | tuple):
        ids: dict[str, set[int]] = {}
        for item in answer:
            run = item[0] if isinstance(item, tuple) and len(item) == 2 else item
            if not isinstance(run, Run):
                raise ConditionError(action.label, f"gave {item!r} among its runs")
            ids.setdefault(run.study.name, set()).add(run.id)
        if isinstance(answer, TaskSelection):
            for found in ids.values():
                _rest_on(answer.base, found, answer.selector)
        return [Trigger(task, tuple(sorted(found))) for task, found in ids.items()]
    is_number = isinstance(answer, int | float) or type(answer).__module__ == "numpy"
    if answer is None or is_number or isinstance(answer, TaskSelectionEval):
        return [Trigger()] if answer else []
    why = f"gave {type(answer).__name__} {answer!r}; give a truth value or a selection of runs"
    raise ConditionError(action.label, why)


def pairs(workflow: Workflow, trigger: Trigger) -> list[tuple[Run, Job]]:
    """The runs of a trigger."""
    assert trigger.task is not None
    return workflow.task_manager(trigger.task).base.pairs(list(trigger.run_ids))


async def still_true(
    workflow: Workflow, action: Action, trigger: Trigger, found: Mapping[str, Monitor]
) -> Trigger | None:
    """What the condition holds for of a trigger in the present session as well, if anything.

    The session rests on that: it conflicts with whoever changes it before the commit.
    """
    if trigger.task is None:
        return trigger if trigger in await ask(workflow, action) else None
    study = workflow.task_manager(trigger.task).base
    monitor = found.get(trigger.task)
    ids = _there(study, trigger.run_ids)
    if isinstance(monitor, ConstraintMonitor):
        there, constraint = ids, monitor.constraint
        if constraint is None:
            return None
        ids = study.ask(lambda tables: [i for i in there if tables.matches(constraint, i)])
        _rest_on(study, ids, constraint)
    elif isinstance(monitor, FilterMonitor):
        ids = [run_id async for run_id, is_true in monitor.answers(ids) if is_true]
    else:
        answers = await ask(workflow, action)
        if Trigger() not in answers:  # which is true of any runs
            now = {i for a in answers if a.task == trigger.task for i in a.run_ids}
            ids = [i for i in ids if i in now]
    return Trigger(trigger.task, tuple(ids)) if ids else None


def still_there(workflow: Workflow, trigger: Trigger) -> Trigger | None:
    """What is left of a trigger whose runs may have been deleted, if anything."""
    if trigger.task is None:
        return trigger
    study = workflow.task_manager(trigger.task).base
    ids = _there(study, trigger.run_ids)
    return Trigger(trigger.task, tuple(ids)) if ids else None


def _there(study: Study, run_ids: Iterable[int]) -> list[int]:
    return study.ask(lambda tables: [i for i in run_ids if tables.has_run(i)])


def _rest_on(study: Study, run_ids: Iterable[int], constraint: Constraint) -> None:
    """Let the present session rest on what a constraint reads of these runs."""
    names = [name.removeprefix("runs.") for name in constraint.fields if name[:5] == "runs."]
    with study.database.translated():
        for run_id in run_ids:
            for name in names:
                study.observe(run_id, name)
