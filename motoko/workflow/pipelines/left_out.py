"""Systems that an earlier process has left out: nothing of them begins before that is known.

Otherwise what is behind steps that were done would begin while the step that has failed is
still looked for. Nothing is changed here: what is found is taken over when the steps are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from motoko.config.retry import PRUNE
from motoko.model import states
from motoko.study.study import Study
from motoko.study.waiting import until_answered
from motoko.workflow.pipelines import tasks
from motoko.workflow.pipelines.functions import FunctionSteps
from motoko.workflow.pipelines.given import Given
from motoko.workflow.pipelines.plan import Doing
from motoko.workflow.pipelines.progress import Hold, Phase, PhaseState, Progress

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


class LeftOut:
    """What is known of the phases of a pipeline before any of them begins."""

    def __init__(
        self,
        workflow: Workflow,
        plan: Mapping[str, Doing],
        progress: Progress,
        functions: FunctionSteps,
    ) -> None:
        self._workflow = workflow
        self._plan = plan
        self._functions = functions
        self._known = Progress(progress.pipeline, progress.systems)
        systems = progress.systems
        # Of its own: what came of phases may turn out otherwise when they are taken over.
        self._given = Given(workflow, plan, systems)
        self._begun: dict[int, set[str]] = {row: set() for row in range(len(systems))}
        self._failed: dict[int, str] = {}

    async def find(self) -> dict[int, Hold]:
        """By row: what may begin of such a system, until which step is known to have failed."""
        if not await self._has_failures():
            return {}
        for name, doing in self._plan.items():
            if doing.manager is None:
                self._look_at_calls(name)
            else:
                database = doing.manager.base.database
                await until_answered(database, partial(self._look_at_runs, doing))
        return {row: Hold(step, self._begun[row]) for row, step in self._failed.items()}

    async def _has_failures(self) -> bool:
        """Whether anything at all has failed for which a system may be left out."""
        for doing in self._plan.values():
            if doing.policy.last != PRUNE:
                continue
            if doing.manager is None:
                has_any = self._functions.has_failures
            else:
                study = doing.manager.base
                has_any = await until_answered(study.database, partial(self._has_bad, study))
            if has_any:
                return True
        return False

    def _has_bad(self, study: Study) -> bool:
        with study.database.read() as tables:
            bad = tables.parse(f"state = {states.FAILED} or state = {states.CANCELLED}")
            chosen = tables.select(bad.restricted_to(str(self._workflow.run_name)))
            return next(iter(chosen), None) is not None

    def _reached(self, step: str) -> list[Phase]:
        """The phases of a step before which all is done that they require."""
        reached = []
        for phase in self._known.phases(step):
            rows = {phase.row}
            if phase.step.barrier:
                rows |= self._begun.keys() - self._failed.keys()
            columns = [self._known.phases(name) for name in phase.step.requires]
            if all(some[row].state is PhaseState.DONE for some in columns for row in rows):
                reached.append(phase)
        return reached

    def _look_at_calls(self, step: str) -> None:
        for phase in self._reached(step):
            call = self._given.call(phase, self._known)
            phase.state = self._functions.known(phase, call)
            self._note(phase)

    def _look_at_runs(self, doing: Doing) -> None:
        assert doing.manager is not None
        study = doing.manager.base
        with study.database.read() as tables:
            for phase in self._reached(doing.step.name):
                required = self._given.required(phase, self._known)
                found = tasks.found(self._workflow, doing, phase.system, required, tables)
                if found:
                    phase.begin(found)
                    for run_id in found:
                        phase.look(study, tables, run_id)
                self._note(phase)

    def _note(self, phase: Phase) -> None:
        if phase.state is not PhaseState.WAITING:
            self._begun[phase.row].add(phase.step.name)
        is_left_out = self._plan[phase.step.name].policy.last == PRUNE
        if phase.state is PhaseState.FAILED and is_left_out:
            self._failed.setdefault(phase.row, phase.step.name)
