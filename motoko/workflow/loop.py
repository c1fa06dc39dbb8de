"""The engine of a workflow: runs ``main``, follows conditions and fires actions.

Everything happens in one task group. The studies' lookouts say what changed; the conditions
are brought up to date with that; what is true and not in a firing already is fired, in a task
and a session of its own. The first thing that ends the workflow (``finished``, an exception,
``sys.exit``) cancels the rest at its waits; error handlers complete before.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from motoko.crashpoints import reached
from motoko.errors import ActionFailed, DatabaseUnavailable
from motoko.store.database import Database
from motoko.store.firing import Firing
from motoko.store.patience import PATIENCE_S, PAUSE_S, Absence, patience, patience_s
from motoko.store.session import Session, current_session
from motoko.store.tables import Tables
from motoko.study.waiting import until_answered, until_connected
from motoko.task_manager import RunList
from motoko.workflow import triggers
from motoko.workflow.actions import Action
from motoko.workflow.away import Away
from motoko.workflow.calls import Calls
from motoko.workflow.ends import End, advised, failure, runs_failed, watched
from motoko.workflow.firings import Outcome, call, exit_code, in_session
from motoko.workflow.history import History
from motoko.workflow.prospects import Prospects
from motoko.workflow.reopening import Reopening
from motoko.workflow.rule import Rule
from motoko.workflow.triggers import Compared, ConstraintMonitor, Monitor, Trigger

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

#: What is told of a task of the workflow that ended as if somebody had cancelled it.
_CANCELLED = RuntimeError("it was cancelled from inside the workflow")


class EventLoop:
    """Runs one workflow until it is finished."""

    def __init__(self, workflow: Workflow, params: Mapping[str, Any], wait_s: float) -> None:
        self._workflow = workflow
        self._params = dict(params)
        self._wait_s = wait_s
        self.rules: dict[tuple[str, str], Rule] = {}
        self._compared = {name: Compared() for name in workflow.task_managers}
        self._ledger = workflow.vars.db
        self._history = History(workflow)
        self.reopening = Reopening(workflow)
        #: What may still come of it.
        self.prospects = Prospects(workflow, self._history, self.reopening, self)
        self._news = anyio.Event()
        self.n_changes = 0
        self._end: End | None = None
        #: What was given to ``sys.exit`` in place of a code.
        self.exit_text = ""
        #: The error handlers that were called.
        self._handled: set[tuple[str, str]] = set()
        self._wakes_at: float | None = None
        self._away = Away(workflow)
        self._scope = anyio.CancelScope()
        self._group: Any = None
        self._calls = Calls(self.rules, workflow.actions, lambda: self._news.set())

    # running

    async def run(
        self,
        main: Callable[[], Any] | None,
        lost: Callable[[], Awaitable[Exception]] | None = None,
    ) -> int:
        """Run until the workflow ends; its exit code. Raises what ended it badly.

        When ``lost`` returns, the workflow is another process's: nothing is done any more.
        """
        managers = self._workflow.task_managers
        for manager in managers.values():
            manager.base.wait_s = self._wait_s
        stops = [m.base.lookout.watch(self._looker(name)) for name, m in managers.items()]
        stops += [self._workflow.on_change(self._hear), *watched(self._workflow, self._stop)]
        try:
            await until_connected(self._workflow.databases)
            await until_answered(self._ledger, self._history.open)
            if self._history.was_finished:
                await until_answered(self._ledger, self.reopening.open)
            await until_answered(self._ledger, self.prospects.open)
            with self._scope:
                async with anyio.create_task_group() as self._group:
                    self._group.start_soon(self._keep_time, name="timer")
                    if lost is not None:
                        self._group.start_soon(self._yield_when, lost, name="office")
                    # The last of them, since it may never wait.
                    self._group.start_soon(self._run_main, main, name="main")
                    try:
                        await self._follow()
                    finally:  # error handlers go on
                        self._calls.have_ended()
        finally:
            for stop in stops:
                stop()
        await anyio.lowlevel.checkpoint()  # does not return when somebody outside ends this
        return await self._conclude()

    async def check_once(self, keys: list[tuple[str, str]] | None = None) -> list[Any]:
        """Evaluate conditions once, fire what is true and wait for that; what it gave."""
        found = []
        await until_connected(self._workflow.databases)
        for key, action in list(self._workflow.actions.items()):
            if keys is not None and key not in keys:
                continue
            rule, now = await self._asked(key, action)
            for trigger in now:
                firing = self._history.begin(action, trigger)
                outcome = await self._call(rule, trigger, firing)
                self._history.note_end(action, firing)
                found.append(outcome.result())
                if action.is_error_handler and not firing.is_void:
                    raise runs_failed(self._workflow, trigger)
        return found

    async def _run_main(self, main: Callable[[], Any] | None) -> None:
        try:
            if main is not None:
                with self._calls.calling():
                    await main()
            reached("main.returned")
        except SystemExit as stop:
            self._stop(End(exit_code=exit_code(stop)))
        except Exception as error:
            self._fail("main", None, error)
        finally:
            self.prospects.is_main_done = True
            self._notice()

    async def _yield_when(self, lost: Callable[[], Awaitable[Exception]]) -> None:
        self._stop(End(error=await lost(), is_lost=True))

    async def _keep_time(self) -> None:
        while True:
            await anyio.sleep(self._wait_s)
            for database in self._workflow.databases:
                database.probe()
            for rule in self.rules.values():
                rule.look_again()
            self.prospects.can_have_changed()
            self._news.set()

    async def _follow(self) -> None:
        absence = Absence("looking again")
        while self._end is None:
            self._news = anyio.Event()
            n_changes = self.n_changes
            if self._workflow.finished:
                self._stop(End())
                return
            away = self._away.look()
            try:
                with patience(0.0):  # the loop has other things to do than to block
                    n_true = await self._evaluate(away)
                    if not away:
                        self._calls.have_evaluated()
                    if not away and await self.prospects.have_released():
                        continue
                    is_over = not away and await self.prospects.are_over(n_true)
            except DatabaseUnavailable as error:
                if not absence.goes_by(error):
                    self._fail("a condition", None, error)
                    return
                log.debug("looking again in %g s: %s", PAUSE_S, error)
                await anyio.sleep(PAUSE_S)
                continue
            except Exception as error:
                self._fail("a condition", None, error)
                return
            absence = Absence("looking again")
            if is_over:
                log.info("main() has returned and nothing is left to do: finished")
                self._workflow.finished = True
                self._stop(End())
                return
            if away:
                await anyio.sleep(PAUSE_S)
            elif n_changes == self.n_changes:
                await self._news.wait()

    async def _conclude(self) -> int:
        end = self._end or End(error=ActionFailed("a task", None, _CANCELLED))
        if end.error is None:
            if self._workflow.finished:
                self._history.say_unclaimed(self._workflow.actions)
                await until_answered(self._ledger, self._history.close)
            return self.exit_code(end)
        if not end.is_lost:
            await self._handle_errors()
        raise advised(end.error, self._workflow.run_name)

    def exit_code(self, end: End) -> int:
        """The code that an end which is none by an exception stands for."""
        if isinstance(end.exit_code, str):
            log.error("%s", end.exit_code)
            self.exit_text = end.exit_code
            return 1
        return end.exit_code or 0

    def _looker(self, task: str) -> Callable[[Tables, set[int] | None], None]:
        unlisted = self.prospects.unlisted(self._workflow.task_manager(task).base)
        compared = self._compared[task]

        def look(tables: Tables, changed: set[int] | None) -> None:
            unlisted.look(tables, changed)
            differing = compared.differing(tables, changed)
            for name, monitor in self._monitors():
                if name != task:
                    monitor.look_elsewhere()
                elif isinstance(monitor, ConstraintMonitor):
                    monitor.look(tables, differing)
                else:
                    monitor.look(tables, changed)
            self._notice()

        return look

    def _monitors(self) -> Iterator[tuple[str, Monitor]]:
        return (one for rule in self.rules.values() for one in rule.monitors.items())

    def _hear(self) -> None:
        """A variable has changed, or what the workflow has to do."""
        for _, monitor in self._monitors():
            monitor.look_elsewhere()
        self._notice()

    def _notice(self) -> None:
        self.n_changes += 1
        self.prospects.can_have_changed()
        self._news.set()

    def _refresh(self, *rules: Rule) -> None:
        for monitor in (m for rule in rules for m in rule.monitors.values()):
            study = self._workflow.task_manager(monitor.task).base
            self._compared[monitor.task].forget()
            with study.database.newest():
                monitor.look(study.tables, None)

    # evaluating

    async def _asked(self, key: tuple[str, str], action: Action) -> tuple[Rule, list[Trigger]]:
        """What an action is to be called for now. A database that is away is waited for."""
        deadline = time.monotonic() + patience_s()
        absence = Absence(f"{action.label} is evaluated when the database is back")
        while True:
            try:
                with patience(0.0):  # the loop has other things to do than to block
                    rule = self._rule(key, action)
                    self._refresh(rule)
                    found = await rule.triggers(self._workflow)
                    left = (self._history.not_fired(action, now) for now in found)
                    return rule, [trigger for trigger in left if trigger is not None]
            except DatabaseUnavailable as error:
                if self._ledger.is_hurried or time.monotonic() > deadline:
                    raise
                absence.met(error)
                await anyio.sleep(PAUSE_S)

    def _rule(self, key: tuple[str, str], action: Action) -> Rule:
        rule = self.rules.get(key)
        if rule is None or rule.action is not action:
            found = {m.task: m for m in triggers.monitors(self._workflow, action)}
            rule = Rule(action, found) if rule is None else rule.replaced(action, found)
            self.rules[key] = rule
            self._refresh(rule)
        return rule

    async def _evaluate(self, away: set[Database[Any]]) -> int:
        n_true = 0
        for key, action in list(self._workflow.actions.items()):
            if away and not away.isdisjoint(triggers.needed(self._workflow, action)):
                continue
            rule = self._rule(key, action)
            for trigger, firing in self._history.interrupted(action):
                self._start(rule, trigger, firing)
            found_now = await rule.triggers(self._workflow)
            rule.held_back.clear()
            for found in found_now:
                left = self._history.not_fired(action, found)
                left = left and self.reopening.left_of(action, left)
                if left is None:
                    continue
                n_true += 1
                if self._end is not None or self._workflow.finished:
                    return n_true
                self._fire_when_due(rule, left)
        return n_true

    @property
    def is_awaiting(self) -> bool:
        """Whether whatever is called, main and actions, awaits runs or selections."""
        n_called = sum(rule.n_firings for rule in self.rules.values())
        return n_called + (not self.prospects.is_main_done) <= self._calls.n_waiting

    async def evaluate_anew(self) -> int:
        """Evaluate all conditions on what is newest; how many are true."""
        self._refresh(*self.rules.values())
        return await self._evaluate(set())

    @property
    def is_firing(self) -> bool:
        """Whether an action is being called."""
        return any(rule.n_firings for rule in self.rules.values())

    def _fire_when_due(self, rule: Rule, trigger: Trigger) -> None:
        task = trigger.task or ""
        in_flight = rule.in_flight.get(task)
        if in_flight is not None:
            if trigger.task is None:
                return
            ids = tuple(i for i in trigger.run_ids if i not in in_flight)
            if not ids:
                return
            trigger = Trigger(trigger.task, ids)
        if rule.action.is_serial and rule.n_firings:
            rule.held_back[task] = set(trigger.run_ids)
            return
        due = rule.due(trigger, self.n_changes)
        if time.monotonic() >= due:
            self._start(rule, trigger, self._history.begin(rule.action, trigger))
        elif due < math.inf:
            self._wake_at(due)

    def _start(self, rule: Rule, trigger: Trigger, firing: Firing) -> None:
        rule.begin(firing.key, trigger, self.n_changes)
        self._group.start_soon(self._fire, rule, trigger, firing, name=rule.action.label)

    def _wake_at(self, due: float) -> None:
        """Evaluate again then, or before: there is one sleeper for all that waits."""
        if self._wakes_at is None or due < self._wakes_at:
            self._wakes_at = due
            self._group.start_soon(self._wake, due)

    async def _wake(self, due: float) -> None:
        await anyio.sleep(max(0.0, due - time.monotonic()))
        if self._wakes_at == due:
            self._wakes_at = None
            self._news.set()

    # firing

    async def _fire(self, rule: Rule, trigger: Trigger, firing: Firing) -> None:
        action = rule.action
        reached("firing.begun")
        try:
            # It may be started while the conditions are asked, which do not wait for databases.
            with patience(PATIENCE_S), self._calls.calling(firing.key):
                with anyio.CancelScope(shield=action.is_error_handler):
                    outcome = await self._call(rule, trigger, firing)
                if outcome.exit_code is not None:
                    self._stop(End(exit_code=outcome.exit_code))
                elif action.is_error_handler and not firing.is_void:
                    self._handled.add((action.task, action.event_name))
                    self._stop(End(error=runs_failed(self._workflow, trigger)))
                if action.is_once:
                    note = partial(self._history.note_end, action, firing)
                    await until_answered(self._ledger, note)
                action.on_end(firing.is_void)
                is_idle = rule.note(firing.key, outcome.has_changed, self._wait_s)
                if is_idle and not firing.is_void:
                    log.info("%s changed nothing; it waits for a change", action.label)
        except Exception as error:
            await self._excuse(action, trigger, firing, error)
        finally:
            rule.end(firing.key)
            self._news.set()

    async def _excuse(
        self, action: Action, trigger: Trigger, firing: Firing, error: Exception
    ) -> None:
        try:
            if not self._is_lost and await action.excuse(error, firing):
                self._history.note_failure(action, firing)
                return
        except Exception as another:  # the database may be what has gone
            error = another
        self._fail(action.event_name, trigger.task, error)

    async def call(self, action: Action, trigger: Trigger) -> Outcome:
        """Call an action for a trigger, whatever its condition says by now."""
        rule = Rule(action)
        return await self._call(rule, trigger, self._history.begin(action, trigger))

    async def _call(self, rule: Rule, trigger: Trigger, firing: Firing) -> Outcome:
        action = rule.action

        session: Session | None = None

        async def body() -> Any:
            nonlocal session
            session = current_session()
            firing.is_void = True
            if self._workflow.finished:
                return None
            if firing.is_kept:  # what has changed something goes on to its end
                kept = Trigger(trigger.task, firing.run_ids)
                now = triggers.still_there(self._workflow, kept)
            else:
                now = await triggers.still_true(self._workflow, action, trigger, rule.monitors)
            if now is None:
                return None
            firing.is_void = False
            firing.run_ids = now.run_ids
            offered: dict[str, Any] = {**self._params, "workflow": self._workflow}
            if now.task is not None:
                offered["runs"] = RunList(triggers.pairs(self._workflow, now))
            get_params = action.get_params
            offered["params"] = get_params() if callable(get_params) else get_params
            assert action.callback is not None
            try:
                return await call(action.callback, **offered)
            except SystemExit as stop:
                self._workflow.say_end(exit_code(stop))
                raise

        what = action.label if trigger.task is None else f"{action.event_name}@{trigger.task}"
        verb = "resuming" if firing.is_kept else "firing"
        log.info("%s %s%s", verb, what, trigger.listed)
        outcome = await in_session(body, what, firing)
        self.reopening.hold(session, action, Trigger(trigger.task, firing.run_ids))
        return outcome

    # ending

    def report(self) -> dict[str, Any]:
        """What the conditions say, as plain values; may be asked in any thread."""
        steps, actions = self._workflow.asked_steps, list(self._workflow.actions.items())
        rules = [self.rules.get(key) or Rule(action) for key, action in actions]
        return {
            "run_name": self._workflow.run_name,
            "is_main_done": self.prospects.is_main_done,
            "wait_s": self._wait_s,
            "stall": (s := self.prospects.stall) and {"since": s.since, "lacks": s.lacks},
            "phases": steps.told() if steps else {},
            "actions": [rule.report() for rule in rules],
        }

    def _stop(self, end: End) -> None:
        if self._end is None:
            self._end = end
            self._scope.cancel()

    def _fail(self, event: str, task: str | None, error: BaseException) -> None:
        error = failure(event, task, error)
        is_lost = self._is_lost
        log.error("%s ends the workflow", event, exc_info=None if is_lost else error)
        self._stop(End(error=error, is_lost=is_lost))

    @property
    def _is_lost(self) -> bool:
        """Whether the databases take nothing from here any more."""
        return any(d.claim is not None and d.claim.is_lost for d in self._workflow.databases)

    async def _handle_errors(self) -> None:
        """All error handlers get their chance before an exception ends the workflow."""
        for key, action in list(self._workflow.actions.items()):
            if not action.is_error_handler or key in self._handled:
                continue
            try:
                rule, now = await self._asked(key, action)
                for trigger in now:
                    await self._call(rule, trigger, self._history.begin(action, trigger))
            except Exception:
                log.exception("error handler %s failed", action.label)
