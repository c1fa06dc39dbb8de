"""A pipeline at work: an action for each step of a study, one for each call of a function.

What a phase has is decided in the databases alone: its runs are those that its step creates,
which are found again if they are there, and a function that came to its end is in the records
of firings. So a pipeline that was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from motoko.config.policy import RETRY
from motoko.config.retry import APPLICATION, KEEP, PRUNE, RAISE
from motoko.errors import (
    ActionFailed,
    MotokoError,
    PipelineError,
    RunNameMissing,
    RunsFailed,
    StudyError,
)
from motoko.model.policy import ENTRY, RETRY_AT, decide
from motoko.pipeline import Pipeline
from motoko.store.tables import Tables
from motoko.study.records import Pairs
from motoko.study.study import Study
from motoko.study.waiting import commit_current, until_answered
from motoko.systems import SimSystem
from motoko.task_manager import RunList
from motoko.workflow.actions import ALL_TASKS, Action
from motoko.workflow.firings import call
from motoko.workflow.pipelines import payloads
from motoko.workflow.pipelines.plan import SYSTEM, Doing, Handler, plan
from motoko.workflow.pipelines.progress import Phase, PhaseState, Progress
from motoko.workflow.pipelines.written import written_pipeline

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

#: Between two looks at whether an action still decides on what failed; it doubles each time.
_FIRST_PAUSE_S = 0.05


class Ready(int):
    """How many phases of a step can begin, and in words how far the step is."""

    text: str

    def __new__(cls, n_phases: int, text: str) -> Ready:
        """A number, with what is shown of it."""
        made = super().__new__(cls, n_phases)
        made.text = text
        return made

    def __repr__(self) -> str:
        return self.text


def prepared(
    workflow: Workflow,
    pipeline: Pipeline | None,
    systems: Iterable[SimSystem] | None,
    handlers: Mapping[str, str | Handler],
    on_failure: Any,
) -> PipelineRun:
    """The call of a pipeline: this one, or that in ``motoko.yaml`` with what is said there."""
    if pipeline is None:
        found = written_pipeline(workflow.config)
        pipeline, handlers = found.pipeline, {**found.handlers, **handlers}
        systems = found.systems if systems is None else systems
        on_failure = found.on_failure if on_failure is None else on_failure
    return PipelineRun(workflow, pipeline, systems, handlers, on_failure)


class PipelineRun:
    """One call of `Workflow.run_pipeline`."""

    def __init__(
        self,
        workflow: Workflow,
        pipeline: Pipeline,
        systems: Iterable[SimSystem] | None,
        handlers: Mapping[str, str | Handler],
        on_failure: Any,
    ) -> None:
        """Raises PipelineError for what could only fail later."""
        if not workflow.is_orchestrated:
            raise PipelineError(
                "a pipeline runs in an orchestrator: await it in `main` or in an action, and"
                " start that with `motoko run`"
            )
        if not workflow.run_name:
            raise RunNameMissing
        self._workflow = workflow
        units: Sequence[SimSystem | None] = [None] if systems is None else list(systems)
        self._plan = plan(workflow, pipeline, handlers, units, on_failure)
        self._progress = Progress(pipeline, units)
        self._news = anyio.Event()
        self._error: Exception | None = None
        #: By study: the phases that a run is part of, as long as it may change.
        self._runs: dict[Study, dict[int, list[Phase]]] = {}
        self._stops: dict[Study, Callable[[], None]] = {}
        #: Names of phases whose functions came to their end.
        self._called: set[str] = set()
        self._keys: list[tuple[str, str]] = []

    async def run(self) -> list[SimSystem | None]:
        """Until nothing can begin any more; the systems for which all is done."""
        await commit_current()
        await until_answered(self._workflow.vars.db, self._look_for_calls)
        try:
            for doing in self._plan.values():
                if doing.manager is not None:
                    self._register(
                        Action(
                            doing.step.name, ALL_TASKS, self._asker(doing), self._maker(doing)
                        )
                    )
            self._offer_calls()
            await self._until_over()
        finally:
            for stop in self._stops.values():
                stop()
            for key in self._keys:
                self._workflow.actions.remove(key)
        return self._progress.survivors

    async def _until_over(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            self._news = anyio.Event()
            if self._error is not None:
                raise self._error
            if self._progress.is_at_rest:
                kept = [phase for phase in self._progress.failed if self._is_kept(phase)]
                if not kept:
                    return
                if await self._workflow.has_decided() and not self._news.is_set():
                    raise _failure(kept)
                with anyio.move_on_after(pause_s):
                    await self._news.wait()
                pause_s = min(2 * pause_s, self._workflow.wait_s)
            else:
                await self._news.wait()

    def _is_kept(self, phase: Phase) -> bool:
        return self._plan[phase.step.name].policy.last == KEEP

    # steps that a study does

    def _asker(self, doing: Doing) -> Callable[[], Ready]:
        name = doing.step.name

        def can_begin() -> Ready:
            return Ready(len(self._progress.ready(name)), self._progress.in_words(name))

        return can_begin

    def _maker(self, doing: Doing) -> Callable[[], Any]:
        manager, step = doing.manager, doing.step
        assert manager is not None

        async def make() -> None:
            made: dict[Phase, Sequence[int]] = {}
            for phase in self._progress.ready(step.name):
                job, run = payloads.filled(doing.payload, step, phase.system)
                own = {} if phase.system is None else {SYSTEM: phase.system.name}
                made[phase] = manager.create_tasks(
                    {**own, **job}, _run_params(phase.system, run, doing), event_name=step.name
                )
            await commit_current()  # says so if they have other ids than that
            self._follow(manager.base, made)

        return make

    def _follow(self, study: Study, made: Mapping[Phase, Sequence[int]]) -> None:
        runs = self._runs.setdefault(study, {})
        for phase, run_ids in made.items():
            phase.begin(run_ids)
            if not run_ids:
                phase.conclude()
            for run_id in run_ids:
                runs.setdefault(run_id, []).append(phase)
        self._note(made)
        if study in self._stops:
            self._stops[study]()
        self._stops[study] = study.lookout.watch(self._looker(study))

    def _looker(self, study: Study) -> Callable[[Tables, set[int] | None], None]:
        runs = self._runs[study]

        def look(tables: Tables, changed: set[int] | None) -> None:
            touched: dict[Phase, None] = {}
            for run_id in list(runs) if changed is None else changed & runs.keys():
                for phase in runs[run_id]:
                    has_finished = phase.look(study, tables, run_id)
                    touched[phase] = None
                if has_finished:
                    del runs[run_id]
            self._note(touched)

        return look

    # steps that a function does

    def _look_for_calls(self) -> None:
        run_name = self._workflow.run_name or ""
        names = [p.name for p in self._progress if self._plan[p.step.name].handler is not None]
        if not names:
            return
        with self._workflow.vars.db.read() as ledger:
            interrupted = {r["event"] for r in ledger.open_firings(run_name).values()}
            fired = {n for n in names if ledger.fired_runs(run_name, n, ALL_TASKS, None)}
        self._called = fired - interrupted

    def _offer_calls(self) -> None:
        doings = [doing for doing in self._plan.values() if doing.handler is not None]
        while offered := [p for d in doings for p in self._progress.ready(d.step.name)]:
            for phase in offered:
                phase.begin()
                if phase.name in self._called:
                    phase.conclude()
                else:
                    self._offer_call(phase)
            self._progress.note(offered)

    def _offer_call(self, phase: Phase) -> None:
        doing = self._plan[phase.step.name]
        handler = doing.handler
        assert handler is not None
        history: list[dict[str, Any]] = []

        async def do() -> None:
            workflow, step = self._workflow, phase.step
            offered = {**workflow.params, "workflow": workflow, "system": phase.system}
            runs = RunList(self._required_runs(phase))
            offered |= {"step": step, "params": step.payload, "attempts": tuple(history)}
            await call(handler, **offered, runs=runs)

        def end(error: Exception | None = None) -> None:
            self._workflow.actions.remove((ALL_TASKS, phase.name))
            phase.conclude(error)
            self._note([phase])

        def note_end(is_void: bool) -> None:
            if not is_void:
                end()

        def excuse(error: Exception) -> bool:
            if isinstance(error, StudyError):  # no fault of the system
                return False
            decision = decide(doing.policy, history, APPLICATION)
            if decision.action == RETRY:
                log.warning("%s failed (%s); it is tried again", phase.name, error)
                due = time.time() + decision.pause_s
                cause = f"{type(error).__name__}: {error}"
                facts = {"class": APPLICATION, "cause": cause, RETRY_AT: due}
                history.append({"number": len(history) + 1, **facts})
                later = asyncio.get_running_loop().call_later
                later(decision.pause_s, self._workflow.tell_of_change)
                return True
            log.error("%s failed", phase.name, exc_info=error)
            end(error)
            return True

        def is_to_be_called() -> bool:
            is_due = not history or history[-1][RETRY_AT] <= time.time()
            return phase.state is PhaseState.BEGUN and is_due

        action = Action(phase.name, ALL_TASKS, is_to_be_called, do, is_once=True)
        self._register(replace(action, excuse=excuse, on_end=note_end))

    def _required_runs(self, phase: Phase) -> list[Any]:
        found: list[Any] = []
        for required in self._progress.required(phase):
            manager = self._plan[required.step.name].manager
            if manager is not None:
                found += Pairs(manager.base, required.run_ids)
        return found

    # what happens

    def _register(self, action: Action) -> None:
        self._keys.append((action.task, action.event_name))
        self._workflow.register(action)

    def _note(self, phases: Iterable[Phase]) -> None:
        phases = list(phases)
        self._progress.note(phases)
        for phase in phases:
            if phase.state is PhaseState.FAILED:
                self._decide(phase)
        if phases:
            self._news.set()
            self._offer_calls()
            self._workflow.tell_of_change()

    def _decide(self, phase: Phase) -> None:
        last = self._plan[phase.step.name].policy.last
        if last == RAISE and self._error is None:
            self._error = _failure([phase])
        elif last == PRUNE and self._progress.prune(phase):
            log.warning("%s failed (%s): its system is left out", phase.name, phase.cause)


def _run_params(
    system: SimSystem | None, given: Mapping[str, Any], doing: Doing
) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if system is not None:
        own["system_dir"] = str(system.root.absolute())
    assert doing.manager is not None
    if doing.policy != doing.manager.base.config.policy or doing.policy.last != KEEP:
        own[ENTRY] = doing.policy.for_runs()  # all but the last of it is the launcher's
    return {**own, **given}


def _failure(phases: Sequence[Phase]) -> Exception:
    """What ends the workflow: the runs that failed, or what the first function raised."""
    failed = [run.of_phase(phase.name) for phase in phases for run in phase.failed.values()]
    if failed:
        return RunsFailed(failed)
    [first, *_] = [phase for phase in phases if phase.error is not None]
    assert first.error is not None
    if isinstance(first.error, MotokoError):
        return first.error
    error = ActionFailed(first.name, None, first.error)
    error.__cause__ = first.error
    return error
