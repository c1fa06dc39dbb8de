"""What may still come of a workflow: if nothing, it is over; if nothing by itself, stalled."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from motoko.model import states
from motoko.workflow import conditions
from motoko.workflow.ends import Stall
from motoko.workflow.executing import Unlisted, n_awaiting_step, n_runs

if TYPE_CHECKING:
    from motoko.store.session import Session
    from motoko.study.study import Study
    from motoko.workflow.history import History
    from motoko.workflow.reopening import Reopening
    from motoko.workflow.rule import Rule
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


class Evaluating(Protocol):
    """What is needed of whoever evaluates the conditions and fires the actions."""

    #: The actions, by task and event.
    rules: dict[tuple[str, str], Rule]
    #: How many changes were noticed.
    n_changes: int

    @property
    def is_firing(self) -> bool:
        """Whether an action is being called."""

    async def evaluate_anew(self) -> int:
        """Evaluate all conditions on what is newest; how many are true."""


class Prospects:
    """Tells whether anything is left to do, and whether anything can happen by itself."""

    def __init__(
        self,
        workflow: Workflow,
        history: History,
        reopening: Reopening,
        evaluating: Evaluating,
    ) -> None:
        """Reads nothing yet; see `open`."""
        self._workflow = workflow
        self._history = history
        self._reopening = reopening
        self._evaluating = evaluating
        self.is_main_done = False
        self._is_stalled = False
        self._stall: Stall | None = None
        self._n_failed_before = 0
        studies = [manager.base for manager in workflow.task_managers.values()]
        self._unlisted = {study: Unlisted(workflow.run_name) for study in studies}

    def open(self) -> None:
        """Look at how it stands at the begin."""
        self._n_failed_before = n_runs(self._workflow, states.FAILED)

    def unlisted(self, study: Study) -> Unlisted:
        """What is to be told of the changes of a study."""
        return self._unlisted[study]

    def can_have_changed(self) -> None:
        """Something has changed, or time has passed: it may go on."""
        self._is_stalled = False

    # the end

    def puts_off_end(self, session: Session | None) -> bool:
        """Whether an end said in this session has to wait for what was put back, or follows."""
        firing = session.firing if session is not None else None
        own = firing.key if firing is not None else None
        rules = self._evaluating.rules.values()
        has_others = any(key != own for rule in rules for key in rule.flights)
        return self._reopening.is_pending and (has_others or self._has_left())

    def _has_left(self) -> bool:
        return self._reopening.has_left(have_steps=self._may_begin_steps)

    @property
    def _may_begin_steps(self) -> bool:
        """Whether a pipeline runs, or ``main`` may still run one."""
        steps = self._workflow.asked_steps
        return not self.is_main_done or (steps is not None and bool(steps.tellers))

    async def have_released(self) -> bool:
        """What was put back is done and what follows was called: an end is not put off now."""
        if self._evaluating.is_firing or not self._reopening.is_due(
            have_steps=self._may_begin_steps
        ):
            return False
        await self._evaluating.evaluate_anew()
        if not self._evaluating.is_firing:
            self._reopening.release()
        return not self._reopening.is_pending

    async def are_over(self, n_true: int) -> bool:
        """Whether nothing is left to do, given how many conditions are true. Says so when that
        is not so, and yet nothing can happen any more by itself."""
        if await self._is_over():
            return True
        if not n_true:
            await self.look_for_stall()
        return await self._is_over_again()

    async def _is_over(self) -> bool:
        """Main has returned and no action is registered, or none but error handlers, that no
        run can fail for any more."""
        if not self.is_main_done or self._evaluating.is_firing or self._has_left():
            return False
        actions = self._workflow.actions.values()
        if not all(action.is_error_handler for action in actions):
            return False
        return not actions or (self._is_at_rest() and await self._has_all_news())

    async def _is_over_again(self) -> bool:
        """Nothing is left to do for a run name that was finished before: it is stalled, though
        all is read anew, and no run has failed since."""
        if not self._history.was_finished or not self._is_stalled:
            return False
        if n_runs(self._workflow, states.FAILED) > self._n_failed_before:
            return False
        return not await self._evaluating.evaluate_anew() and self._is_stalled

    # a stall

    @property
    def stall(self) -> Stall | None:
        """Since when nothing can happen any more by itself, and why; None if something can."""
        return self._stall if self._is_stalled else None

    async def look_for_stall(self) -> None:
        """Say so when nothing can happen any more by itself."""
        if not self.is_main_done or self._is_stalled or not self._is_at_rest():
            return
        versions = tuple(database.feed.version for database in self._workflow.databases)
        if self._stall is None or self._stall.versions != versions:
            if not await self._has_all_news():
                return
            known = self._stall
            rules = self._evaluating.rules.values()
            lacks = conditions.lacks(self._workflow, rules)
            self._stall = stall = Stall(time.time(), versions, lacks)
            if known is None or stall.lacks != known.lacks:
                log.warning("stalled: nothing runs and no condition is true")
                for lack in stall.lacks:
                    log.warning("%s", lack)
        self._is_stalled = True

    async def n_undecided(self) -> int | None:
        """How many conditions are true, whose actions have changed nothing; None if an action
        is called, or about to be, for anything that has happened."""
        n_changes = self._evaluating.n_changes
        n_true = await self._evaluating.evaluate_anew()
        has_gone_on = n_changes != self._evaluating.n_changes or self._is_deciding
        return None if has_gone_on else n_true

    @property
    def _is_deciding(self) -> bool:
        """Whether an action is being called that does not itself wait until none is."""
        steps = self._workflow.asked_steps
        waiting = steps.stuck.values() if steps is not None else ()
        rules = self._evaluating.rules.values()
        return any(key not in waiting for rule in rules for key in rule.flights)

    async def _has_all_news(self) -> bool:
        """Whether no condition is true of what the counters of runs tell: the end of the last
        run may not have come to its monitor yet."""
        return await self.n_undecided() == 0 and self._is_at_rest()

    def _is_at_rest(self) -> bool:
        return not self._n_active() and not self._evaluating.is_firing

    def _n_active(self) -> int:
        n_listed = n_runs(self._workflow, states.CREATED, *states.ACTIVE)
        if n_listed:  # those that wait for a step wait for whoever begins that
            n_listed -= n_awaiting_step(self._workflow)
        if n_listed == 0 and not any(self._unlisted.values()):
            for study, unlisted in self._unlisted.items():  # the news of one may be late
                with study.database.newest():
                    unlisted.look(study.tables, None)
        return n_listed + sum(map(len, self._unlisted.values()))
