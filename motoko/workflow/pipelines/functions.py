"""Steps that functions do: an action for each call, and what becomes of calls that failed.

That a call came to its end is in the records of firings, and so is every failure, since what
is left of a budget outlives whoever orchestrates. Whoever calls a function with something else
may have it write over what that call has left. Then it counts no more, unless the same ``main``
has asked for both; for actions, which give one thing for one run and another for the next, all
calls count.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync as in_thread

from motoko.config.policy import RETRY
from motoko.config.retry import APPLICATION, PRUNE
from motoko.crashpoints import reached
from motoko.errors import PhaseFailed, StepNotRunnable, StudyError
from motoko.launch.made_for import BEHIND, Notes, Purpose
from motoko.launch.slots import available_cores
from motoko.model.policy import RETRY_AT, decide
from motoko.store.database import Write
from motoko.store.firing import Effects, Firing
from motoko.store.ledger import former, is_former
from motoko.study.records import Pairs
from motoko.study.waiting import until_answered
from motoko.task_manager import RunList
from motoko.workflow.actions import ALL_TASKS, Action
from motoko.workflow.firings import call_beside
from motoko.workflow.pipelines.again import CALL, NEW_START, give_new_start
from motoko.workflow.pipelines.files import failure
from motoko.workflow.pipelines.given import Given
from motoko.workflow.pipelines.in_turn import CALLED, Begin
from motoko.workflow.pipelines.plan import Doing
from motoko.workflow.pipelines.progress import Phase, PhaseState, Progress
from motoko.workflow.pipelines.redone import say_redone
from motoko.workflow.pipelines.there import tell_of_files

if TYPE_CHECKING:
    from motoko.workflow.pipelines.asked import Asked
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


class FunctionSteps:
    """The calls of functions in one pipeline."""

    def __init__(
        self,
        workflow: Workflow,
        plan: Mapping[str, Doing],
        progress: Progress,
        given: Given,
        note: Callable[[Iterable[Phase]], None],
    ) -> None:
        """``note`` is told of phases that are in another state."""
        self._workflow = workflow
        self._plan = plan
        self._progress = progress
        self._given = given
        self._note = note
        self._steps = [name for name, doing in plan.items() if doing.handler is not None]
        self._phases = [phase for phase in progress if phase.step.name in self._steps]
        #: Whether an action awaits the pipeline.
        self.is_of_action = False
        #: For functions that are not async.
        self._room = CapacityLimiter(available_cores())
        #: Phases whose calls have begun, and are not over, with what they were given.
        self._interrupted: set[tuple[str, str]] = set()
        #: By the name of the phase: the calls of functions that came to their end, those that
        #: count no more among them as `former`.
        self._done: dict[str, set[str]] = {}
        #: By the name of the phase: what became of calls that had failed at the beginning, by
        #: the keys of their firings, which follow time.
        self._failures: dict[str, dict[str, dict[str, Any]]] = {}
        #: By the name of the phase: what begins the call that it has offered.
        self._offered: dict[str, Begin] = {}
        #: The names of phases whose functions are being called.
        self._at_work: set[str] = set()
        #: Whether nobody awaits the pipeline any more.
        self._has_left = False
        #: The phases of whose calls the pipeline is part.
        self._called_in = CALLED.get()
        #: Why the pipeline cannot go on: a call of it would wait for what waits for it.
        self.refused: StepNotRunnable | None = None

    def look_back(self) -> None:
        """Find out what was called under the run name before."""
        if not self._phases:
            return
        run_name = self._workflow.run_name or ""
        with self._workflow.vars.db.read() as ledger:
            records = ledger.open_firings(run_name).values()
            self._interrupted = {(r["event"], r.get("call", "")) for r in records}
            names = [phase.name for phase in self._phases]
            fired = {name: ledger.fired_calls(run_name, name, ALL_TASKS) for name in names}
            failures = ledger.failures(run_name)
        self._done = {
            name: {call for call in calls if (name, call) not in self._interrupted}
            for name, calls in fired.items()
        }
        self._failures = {name: dict(found) for name, found in failures.items()}

    @property
    def has_failures(self) -> bool:
        """Whether any call had failed before."""
        return any(self._failures.values())

    def known(self, phase: Phase, call: str) -> PhaseState:
        """How far a phase is that is given this: by the records that there were at the
        beginning, and by what pipelines have done since."""
        done = self._done[phase.name] | self._asked.ended.get(phase.name, set())
        if not done.isdisjoint({"", call}):
            return PhaseState.DONE
        history = self._history(phase, call)
        if history and not {RETRY_AT, NEW_START} & history[-1].keys():
            return PhaseState.FAILED
        is_begun = history or (phase.name, call) in self._interrupted
        return PhaseState.BEGUN if is_begun else PhaseState.WAITING

    def _history(self, phase: Phase, call: str) -> list[dict[str, Any]]:
        """What became of calls with this that failed, the oldest first, whichever pipeline's
        they were: all of them have one budget."""
        known = self._asked.failures.get(phase.name, {}) | self._failures.get(phase.name, {})
        return [
            known[key]
            for key in sorted(known)
            if known[key].get(CALL, "") in ("", call)  # an earlier version kept none
        ]

    def offer(self) -> list[Phase]:
        """Begin the phases that can; all that are in another state now."""
        if self._has_left:
            return []
        found = [phase for name in self._steps for phase in self._progress.ready(name)]
        for phase in found:
            phase.begin()
            call, done = self._given.call(phase, self._progress), self._done[phase.name]
            self._asked.calls.setdefault(phase.name, set()).add(call)
            known = self.known(phase, call)
            if known is PhaseState.DONE:
                phase.conclude()
            elif known is PhaseState.FAILED:
                phase.conclude(self._failed_before(phase, call))
            else:
                if former(call) in done:
                    text = f"{phase.name} is called again: it had other input since"
                    say_redone(self._workflow, text, is_news=True)
                elif done:
                    text = f"{phase.name} is called again, with other input"
                    say_redone(self._workflow, text, phase.step)
                self._offer(phase, call)
        return found

    def _failed_before(self, phase: Phase, call: str) -> PhaseFailed:
        return PhaseFailed(phase.name, self._history(phase, call)[-1]["cause"])

    @property
    def _asked(self) -> Asked:
        asked = self._workflow.asked_steps
        assert asked is not None
        return asked

    def leave(self) -> None:
        """Nobody awaits the pipeline any more: what is not called yet is not called by it."""
        self._has_left = True
        for name, begin in list(self._offered.items()):
            if name in self._at_work:  # others wait for its end
                self._workflow.actions.remove((ALL_TASKS, name))
            else:
                self._withdraw(name, begin)

    def _withdraw(self, name: str, begin: Begin) -> None:
        """A call is over, or is not to be made: that of another pipeline can begin."""
        in_turn = self._asked.in_turn
        if self._offered.get(name) is begin:
            del self._offered[name]
        self._at_work.discard(name)
        if in_turn.has_begun(name, begin):
            self._workflow.actions.remove((ALL_TASKS, name))
        in_turn.remove(name, begin)

    async def _supersede(self, phase: Phase) -> None:
        """A function is about to be called: what it was called with before counts no more, but
        for what was asked for beside."""
        done = self._done[phase.name]
        asked = self._asked.calls[phase.name]
        others = {call for call in done - asked if not is_former(call)}
        others.discard("")
        if not others or self.is_of_action:
            return
        ledger, run_name = self._workflow.vars.db, self._workflow.run_name or ""
        write = Write(
            ledger,
            lambda view: view.supersede_calls(run_name, phase.name, ALL_TASKS, others),
        )
        await until_answered(ledger, write)
        done -= others
        done |= {former(call) for call in others}

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

    def _offer(self, phase: Phase, call: str) -> None:
        doing = self._plan[phase.step.name]

        def end(error: Exception | None = None) -> None:
            if error is None:
                self._done[phase.name].add(call)
                self._asked.ended.setdefault(phase.name, set()).add(call)
            phase.conclude(error)
            self._withdraw(phase.name, begin)
            self._note([phase])

        def note_end(is_void: bool) -> None:
            if not is_void:
                end()
            elif self._has_left:
                self._withdraw(phase.name, begin)

        async def excuse(error: Exception, firing: Firing) -> bool:
            if isinstance(error, StudyError):  # no fault of the system
                return False
            self._at_work.discard(phase.name)
            history = self._history(phase, call)
            decision = decide(doing.policy, history, APPLICATION)
            cause = error.cause if isinstance(error, PhaseFailed) else _in_words(error)
            failure = {"number": len(history) + 1, "class": APPLICATION}
            failure |= {"cause": cause, CALL: call}
            is_tried_again = decision.action == RETRY
            if is_tried_again:
                failure[RETRY_AT] = time.time() + decision.pause_s
            await self._keep(firing, failure)
            reached("call.failed")
            self._asked.failures.setdefault(phase.name, {})[firing.key] = failure
            if is_tried_again and self._has_left:
                self._withdraw(phase.name, begin)
            elif is_tried_again:
                log.warning("%s failed (%s); it is tried again", phase.name, cause)
                self._look_again_in(decision.pause_s)
            else:
                log.error("%s failed", phase.name, exc_info=error)
                end(error)
            return True

        def due() -> float:
            history = self._history(phase, call)
            return float(history[-1].get(RETRY_AT, 0.0)) if history else 0.0

        def is_to_be_called() -> bool:
            is_wanted = phase.state is PhaseState.BEGUN and not self._has_left
            return is_wanted and due() <= time.time()

        work = partial(self._call, doing, phase, call)
        action = Action(phase.name, ALL_TASKS, is_to_be_called, work, is_once=True, call=call)
        action = replace(action, excuse=excuse, on_end=note_end)

        def begin() -> None:
            known = self.known(phase, call)  # the pipeline before may have called it
            if known is PhaseState.DONE:
                end()
            elif known is PhaseState.FAILED:
                end(self._failed_before(phase, call))
            else:
                self._workflow.register(action)
                if (at := due()) > 0.0:
                    self._look_again_in(at - time.time())

        if self._asked.in_turn.would_wait_for_ever(phase.name, self._called_in):
            why = f"its call {phase.name!r} would wait for another one, which waits for its end"
            self.refused = StepNotRunnable(phase.step.name, why)
            return
        self._offered[phase.name] = begin
        self._asked.in_turn.add(phase.name, begin, self._called_in)

    async def _call(self, doing: Doing, phase: Phase, call: str) -> None:
        workflow, step, files = self._workflow, phase.step, doing.files(phase.system)
        self._at_work.add(phase.name)
        CALLED.set(self._called_in | {phase.name})
        await self._supersede(phase)
        made = None
        if files is not None:
            made = await in_thread(files.made, self._purpose(phase))
            await in_thread(tell_of_files, workflow, phase.step, phase.name, made)
            if await in_thread(files.is_finished_else_fresh, made):
                return
        before = {} if files is None else await in_thread(files.seen)
        attempts = tuple(self._history(phase, call))
        offered = {**workflow.params, "workflow": workflow, "system": phase.system}
        offered |= {"step": step, "params": step.payload, "attempts": attempts}
        assert doing.handler is not None
        offered["runs"] = RunList(self._required_runs(phase))
        await call_beside(doing.handler, self._room, **offered)
        if made is not None and (cause := await in_thread(failure, made, before)):
            raise PhaseFailed(phase.name, cause)

    def _purpose(self, phase: Phase) -> Purpose:
        """What its files are made for: what it requires counts if it was done behind something
        else before."""
        values = self._given.values(phase)
        if self._done[phase.name]:
            values[BEHIND] = self._given.required(phase, self._progress)
        notes = Notes(self._workflow.state_dir, phase.step.name, self._workflow.directory)
        return Purpose(notes, values)

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


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
