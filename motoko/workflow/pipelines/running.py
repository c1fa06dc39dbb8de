"""A pipeline at work: an action for each step of a study, one for each call of a function.

What a phase has is decided in the databases alone: its runs are those that its step creates,
which are found again if they are there, and a function that came to its end is in the records
of firings. So a pipeline that was killed goes on where it was.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from motoko.config.retry import KEEP, PRUNE, RAISE
from motoko.errors import (
    ActionFailed,
    ConfigError,
    MotokoError,
    PhaseFailed,
    PipelineError,
    RunNameMissing,
    RunsFailed,
)
from motoko.pipeline import Pipeline
from motoko.store.database import Write
from motoko.store.session import current_session
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.study.waiting import commit_current, until_answered
from motoko.systems import SimSystem
from motoko.workflow.actions import ALL_TASKS, Action
from motoko.workflow.pipelines import tasks
from motoko.workflow.pipelines.functions import FunctionSteps
from motoko.workflow.pipelines.given import Given
from motoko.workflow.pipelines.left_out import LeftOut
from motoko.workflow.pipelines.plan import Doing, Handler, check_is_free, plan
from motoko.workflow.pipelines.progress import Phase, PhaseState, Progress
from motoko.workflow.pipelines.redone import log as aloud
from motoko.workflow.pipelines.there import say_believed
from motoko.workflow.pipelines.written import lack_of_systems, step_mistakes, written_pipeline
from motoko.workflow.resuming import MOST_SHOWN

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

#: Between two looks at whether an action still decides on what failed; it doubles each time.
_FIRST_PAUSE_S = 0.05
#: A failure that ends the workflow waits so long for others, which often come together: all are
#: named then. Nothing begins meanwhile.
_TOGETHER_S = 0.3
#: So many failures are told of beside the first one.
_MOST_TOLD = 10


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
    is_written = pipeline is None
    if pipeline is None:
        found = written_pipeline(workflow.config)
        pipeline, handlers = found.pipeline, {**found.handlers, **handlers}
        studies = {n: m.base.config for n, m in workflow.task_managers.items()}
        if mistakes := list(step_mistakes(workflow.config, found, studies)):
            raise ConfigError(mistakes)
        systems = found.systems if systems is None else systems
        on_failure = found.on_failure if on_failure is None else on_failure
    return PipelineRun(workflow, pipeline, systems, handlers, on_failure, is_written=is_written)


class PipelineRun:
    """One call of `Workflow.run_pipeline`."""

    def __init__(
        self,
        workflow: Workflow,
        pipeline: Pipeline,
        systems: Iterable[SimSystem] | None,
        handlers: Mapping[str, str | Handler],
        on_failure: Any,
        *,
        is_written: bool = False,
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
        if not units:
            aloud.warning("%s: nothing is to be done", lack_of_systems(workflow.config))
        self._plan = plan(workflow, pipeline, handlers, units, on_failure)
        self._progress = Progress(pipeline, units)
        self._news = anyio.Event()
        #: The key of the firing that awaits it; "" for ``main``.
        self._firing = ""
        #: Whether a phase has failed that ends the workflow at once.
        self._is_ending = False
        #: By study: the phases that a run is part of, or was.
        self._runs: dict[Study, dict[int, list[Phase]]] = {}
        self._stops: set[Callable[[], None]] = set()
        #: Phases whose runs are through, and have to deposit artifacts.
        self._depositing: list[Phase] = []
        self._keys: list[tuple[str, str]] = []
        self._given = Given(workflow, self._plan, units)
        #: Whether its steps stand in ``motoko.yaml``, which is compared as a whole.
        self._is_written = is_written
        self._functions = FunctionSteps(
            workflow, self._plan, self._progress, self._given, self._note
        )

    async def run(self) -> list[SimSystem | None]:
        """Until nothing can begin any more; the systems for which all is done."""
        if (session := current_session()) is not None and session.firing is not None:
            self._firing = session.firing.key
        self._functions.is_of_action = bool(self._firing)
        if not self._functions.is_of_action:
            await self._ask()
        await commit_current()
        await until_answered(self._workflow.vars.db, self._functions.look_back)
        before = LeftOut(self._workflow, self._plan, self._progress, self._functions)
        self._progress.hold(await before.find())
        asked = self._workflow.asked_steps
        assert asked is not None
        asked.tellers.append(self._tell)
        asked.n_begun += 1
        self._given.begin()
        try:
            for doing in self._plan.values():
                if doing.manager is not None:
                    # Another pipeline may have begun since this one was looked at.
                    check_is_free(self._workflow, doing.step, doing.step.name)
                    self._register(
                        Action(
                            doing.step.name, ALL_TASKS, self._asker(doing), self._maker(doing)
                        )
                    )
            self._note(self._functions.offer())
            await self._until_over()
        except BaseException:
            asked.is_cut_short = True
            raise
        finally:
            asked.tellers.remove(self._tell)
            asked.stuck.pop(self, None)
            self._functions.leave()
            self._given.end()
            self._remember_runs()
            say_believed(self._workflow)
            for stop in self._stops:
                stop()
            for key in self._keys:
                self._workflow.actions.remove(key)
        return self._progress.survivors

    def _tell(self) -> dict[str, str]:
        functions = [name for name, doing in self._plan.items() if doing.handler is not None]
        return self._progress.told(functions)

    def _remember_runs(self) -> None:
        asked = self._workflow.asked_steps
        assert asked is not None
        for phase in self._progress:
            manager = self._plan[phase.step.name].manager
            if manager is not None:
                asked.runs.setdefault(manager.base, set()).update(phase.run_ids)

    async def _ask(self) -> None:
        """Keep what steps are given; ParametersChanged if that is other than before."""
        workflow = self._workflow
        assert workflow.asked_steps is not None
        given = self._given.parameters(has_steps=not self._is_written)
        is_accepted = workflow.accepts_changes
        note = partial(
            workflow.asked_steps.note,
            run_name=workflow.run_name or "",
            given=given,
            is_accepted=is_accepted,
        )
        async with workflow.asked_steps.asking:
            changes = await until_answered(workflow.vars.db, Write(workflow.vars.db, note))
            workflow.asked_steps.remember(given)
        for place, old, new in changes[:MOST_SHOWN]:
            log.warning("%s is %s now, it was %s", place, new, old)

    async def _until_over(self) -> None:
        pause_s = _FIRST_PAUSE_S
        asked = self._workflow.asked_steps
        assert asked is not None
        while True:
            asked.stuck.pop(self, None)
            self._news = anyio.Event()
            if self._functions.refused is not None:
                raise self._functions.refused
            if self._is_ending:
                with anyio.move_on_after(_TOGETHER_S):
                    while self._progress.has_begun:
                        await self._news.wait()
                        self._news = anyio.Event()
                await self._end(RAISE)
            if self._depositing:
                await self._deposit()
            elif self._progress.is_at_rest:
                if not self._failed(KEEP):
                    return
                asked.stuck[self] = self._firing
                if await self._workflow.has_decided() and not self._news.is_set():
                    await self._end(KEEP)
                with anyio.move_on_after(pause_s):
                    await self._news.wait()
                pause_s = min(2 * pause_s, self._workflow.wait_s)
            else:
                await self._news.wait()

    async def _end(self, last: str) -> NoReturn:
        await self._functions.give_new_start()
        error = _failure(self._failed(last))
        if not isinstance(error, RunsFailed):  # of which whoever ends says how to go on
            name = shlex.quote(self._workflow.run_name or "")
            error.add_note(f"go on with `motoko run --run_name {name}`")
        raise error

    def _failed(self, last: str) -> list[Phase]:
        """The phases that failed, as far as this is what their policy leaves."""
        failed = self._progress.failed
        return [phase for phase in failed if self._plan[phase.step.name].policy.last == last]

    # steps that a study does

    def _asker(self, doing: Doing) -> Callable[[], Ready]:
        name = doing.step.name

        def can_begin() -> Ready:
            n_ready = 0 if self._is_ending else len(self._progress.ready(name))
            return Ready(n_ready, self._progress.in_words(name))

        return can_begin

    def _maker(self, doing: Doing) -> Callable[[], Any]:
        manager, step = doing.manager, doing.step
        assert manager is not None

        async def make() -> None:
            made: dict[Phase, Sequence[int]] = {}
            put_back = tasks.put_back_behind(self._workflow, doing)
            for phase in self._progress.ready(step.name):
                required = self._given.required(phase, self._progress)
                made[phase] = tasks.made(
                    self._workflow, doing, phase.system, required, phase.name, put_back
                )
            await commit_current()  # says so if they have other ids than that
            self._follow(manager.base, made)

        return make

    def _follow(self, study: Study, made: Mapping[Phase, Sequence[int]]) -> None:
        is_new = study not in self._runs
        runs = self._runs.setdefault(study, {})
        for phase, run_ids in made.items():
            phase.has_sequel = bool(study.config.artifacts)
            phase.begin(run_ids)
            # Somebody may have put back meanwhile what it requires.
            phase.is_outdated = not self._progress.is_due(phase)
            if not run_ids:
                phase.conclude()
            for run_id in run_ids:
                if phase not in (phases := runs.setdefault(run_id, [])):
                    phases.append(phase)
        self._note(made)
        if is_new:
            self._stops.add(study.lookout.watch(partial(self._look, study)))
        else:
            self._look_once(study, {run_id for ids in made.values() for run_id in ids})

    def _look_once(self, study: Study, run_ids: set[int]) -> None:
        """Look at runs that nobody has followed until now."""

        def look(tables: Tables, changed: set[int] | None) -> None:
            self._look(study, tables, run_ids)
            self._stops.discard(stop)
            stop()

        stop = study.lookout.watch(look)
        self._stops.add(stop)

    def _look(self, study: Study, tables: Tables, changed: set[int] | None) -> None:
        """See what has become of runs: also of those that were over, which may be put back."""
        runs = self._runs[study]
        touched: dict[Phase, None] = {}
        for run_id in list(runs) if changed is None else changed & runs.keys():
            for phase in runs[run_id]:
                if phase.look(study, tables, run_id):
                    touched[phase] = None
        self._depositing += [phase for phase in touched if phase.is_in_sequel]
        self._note(touched)

    # what happens

    def _register(self, action: Action) -> None:
        self._keys.append((action.task, action.event_name))
        self._workflow.register(action)

    def _note(self, phases: Iterable[Phase]) -> None:
        news = list(phases)
        if not news:
            return
        while news:
            self._given.forget(self._progress.note(news))
            for phase in news:
                if phase.state is PhaseState.FAILED:
                    self._decide(phase)
            news = [] if self._is_ending else self._functions.offer()
        self._news.set()
        self._workflow.tell_of_change()

    async def _deposit(self) -> None:
        """Have the runs of phases deposit what they left: nothing begins before that."""
        phases, self._depositing = self._depositing, []
        deposits = self._workflow.artifact_deposits
        assert deposits is not None
        by_study: dict[Study, list[Phase]] = {}
        for phase in phases:
            manager = self._plan[phase.step.name].manager
            assert manager is not None
            by_study.setdefault(manager.base, []).append(phase)
        for study, some in by_study.items():
            refused = await deposits.made(study, [i for phase in some for i in phase.run_ids])
            some = [phase for phase in some if phase.is_in_sequel]  # not put back meanwhile
            for phase in some:
                whys = [refused[i] for i in phase.run_ids if i in refused]
                phase.conclude(PhaseFailed(phase.name, "; ".join(whys)) if whys else None)
            self._note(some)

    def _decide(self, phase: Phase) -> None:
        last = self._plan[phase.step.name].policy.last
        if last == RAISE:
            self._is_ending = True
        elif last == PRUNE and self._progress.prune(phase):
            log.warning("%s failed (%s): its system is left out", phase.name, phase.cause)


def _failure(phases: Sequence[Phase]) -> Exception:
    """What ends the workflow: the runs that failed, or what the first function raised."""
    failed = [run.of_phase(phase.name) for phase in phases for run in phase.failed.values()]
    others = [phase for phase in phases if not phase.failed]
    error: MotokoError
    if failed:
        error = RunsFailed(failed)
    else:
        first = others.pop(0)
        assert first.error is not None
        if isinstance(first.error, MotokoError):
            error = first.error
        else:
            error = ActionFailed(first.name, None, first.error)
            error.__cause__ = first.error
    for other in others[:_MOST_TOLD]:
        error.add_note(f"{other.name} failed too: {other.cause}")
    if len(others) > _MOST_TOLD:
        error.add_note(f"and {len(others) - _MOST_TOLD} more")
    return error
