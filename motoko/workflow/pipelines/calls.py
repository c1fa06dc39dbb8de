"""Steps that functions do: an action for each call, and what becomes of calls that failed.

That a call came to its end is in the records of firings, and so is every failure, since what
is left of a budget outlives whoever orchestrates.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from motoko.config.policy import RETRY
from motoko.config.retry import APPLICATION, PRUNE
from motoko.crashpoints import reached
from motoko.errors import PhaseFailed, StudyError
from motoko.model.policy import RETRY_AT, decide
from motoko.store.database import Write
from motoko.store.firing import Effects, Firing
from motoko.study.records import Pairs
from motoko.study.waiting import until_answered
from motoko.task_manager import RunList
from motoko.workflow.actions import ALL_TASKS, Action
from motoko.workflow.firings import call
from motoko.workflow.pipelines.again import NEW_START, give_new_start
from motoko.workflow.pipelines.files import Files
from motoko.workflow.pipelines.plan import Doing
from motoko.workflow.pipelines.progress import Phase, PhaseState, Progress

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


class Calls:
    """The calls of functions in one pipeline."""

    def __init__(
        self,
        workflow: Workflow,
        plan: Mapping[str, Doing],
        progress: Progress,
        register: Callable[[Action], None],
        note: Callable[[Iterable[Phase]], None],
    ) -> None:
        """``note`` is told of phases that are in another state."""
        self._workflow = workflow
        self._plan = plan
        self._progress = progress
        self._register = register
        self._note = note
        self._steps = [name for name, doing in plan.items() if doing.handler is not None]
        self._phases = [phase for phase in progress if phase.step.name in self._steps]
        #: Names of phases whose functions came to their end.
        self._done: set[str] = set()
        #: By the name of the phase: what became of calls that failed, the oldest first.
        self._failures: dict[str, list[dict[str, Any]]] = {}

    def look_back(self) -> None:
        """Find out what was called under the run name before."""
        if not self._phases:
            return
        run_name = self._workflow.run_name or ""
        with self._workflow.vars.db.read() as ledger:
            interrupted = {r["event"] for r in ledger.open_firings(run_name).values()}
            names = [phase.name for phase in self._phases]
            fired = {n for n in names if ledger.fired_runs(run_name, n, ALL_TASKS, None)}
            failures = ledger.failures(run_name)
        self._done = fired - interrupted
        self._failures = {name: [why for _, why in found] for name, found in failures.items()}

    def offer(self) -> list[Phase]:
        """Begin the phases that can; all that are in another state now."""
        found = [phase for name in self._steps for phase in self._progress.ready(name)]
        for phase in found:
            phase.begin()
            history = self._failures.setdefault(phase.name, [])
            if phase.name in self._done:
                phase.conclude()
            elif history and not {RETRY_AT, NEW_START} & history[-1].keys():
                phase.conclude(PhaseFailed(phase.name, history[-1]["cause"]))
            else:
                self._offer(phase, history)
        return found

    async def give_new_start(self) -> None:
        """What failed, and ends the workflow, is called again when somebody starts that again;
        what was left out is not."""
        ending = [
            phase.name
            for phase in self._phases
            if phase.state is PhaseState.FAILED
            and self._plan[phase.step.name].policy.last != PRUNE
        ]
        if ending:
            ledger, run_name = self._workflow.vars.db, self._workflow.run_name or ""
            await until_answered(ledger, partial(give_new_start, ledger, run_name, ending))

    def _offer(self, phase: Phase, history: list[dict[str, Any]]) -> None:
        doing = self._plan[phase.step.name]

        def end(error: Exception | None = None) -> None:
            self._workflow.actions.remove((ALL_TASKS, phase.name))
            phase.conclude(error)
            self._note([phase])

        def note_end(is_void: bool) -> None:
            if not is_void:
                end()

        async def excuse(error: Exception, firing: Firing) -> bool:
            if isinstance(error, StudyError):  # no fault of the system
                return False
            decision = decide(doing.policy, history, APPLICATION)
            cause = error.cause if isinstance(error, PhaseFailed) else _in_words(error)
            failure = {"number": len(history) + 1, "class": APPLICATION, "cause": cause}
            is_tried_again = decision.action == RETRY
            if is_tried_again:
                failure[RETRY_AT] = time.time() + decision.pause_s
            await self._keep(firing, failure)
            reached("call.failed")
            history.append(failure)
            if is_tried_again:
                log.warning("%s failed (%s); it is tried again", phase.name, cause)
                self._look_again_in(decision.pause_s)
            else:
                log.error("%s failed", phase.name, exc_info=error)
                end(error)
            return True

        def is_to_be_called() -> bool:
            due = history[-1].get(RETRY_AT, 0.0) if history else 0.0
            return phase.state is PhaseState.BEGUN and due <= time.time()

        work = partial(self._call, doing, phase, history)
        action = Action(phase.name, ALL_TASKS, is_to_be_called, work, is_once=True)
        self._register(replace(action, excuse=excuse, on_end=note_end))
        if history:
            self._look_again_in(history[-1].get(RETRY_AT, 0.0) - time.time())

    async def _call(
        self, doing: Doing, phase: Phase, history: Iterable[Mapping[str, Any]]
    ) -> None:
        workflow, step, files = self._workflow, phase.step, doing.files(phase.system)
        if files is not None and await _in_thread(Files.is_finished_else_fresh, files):
            log.info("%s is not called: its files say that it is finished", phase.name)
            return
        offered = {**workflow.params, "workflow": workflow, "system": phase.system}
        offered |= {"step": step, "params": step.payload, "attempts": tuple(history)}
        assert doing.handler is not None
        await call(doing.handler, **offered, runs=RunList(self._required_runs(phase)))
        if files is not None and (cause := await _in_thread(_failure, files)):
            raise PhaseFailed(phase.name, cause)

    def _required_runs(self, phase: Phase) -> list[Any]:
        found: list[Any] = []
        for required in self._progress.required(phase):
            manager = self._plan[required.step.name].manager
            if manager is not None:
                found += Pairs(manager.base, required.run_ids)
        return found

    async def _keep(self, firing: Firing, failure: Mapping[str, Any]) -> None:
        record = firing.record(time.time(), Effects())
        ledger = self._workflow.vars.db
        write = Write(ledger, lambda view: view.fail_firing(firing.key, record, failure))
        await until_answered(ledger, write)

    def _look_again_in(self, pause_s: float) -> None:
        later = asyncio.get_running_loop().call_later
        later(max(0.0, pause_s), self._workflow.tell_of_change)


async def _in_thread(question: Callable[[Files], Any], files: Files) -> Any:
    return await anyio.to_thread.run_sync(question, files)


def _failure(files: Files) -> str | None:
    return files.failure


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
