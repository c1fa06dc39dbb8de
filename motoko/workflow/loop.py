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
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from motoko.crashpoints import reached
from motoko.errors import ActionFailed, DatabaseUnavailable, MotokoError, RunsFailed
from motoko.model import states
from motoko.store.database import Database
from motoko.store.feed import Change
from motoko.store.firing import Firing
from motoko.store.patience import PATIENCE_S, PAUSE_S, Absence, patience
from motoko.store.session import Session, current_session
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.study.waiting import until_answered, until_connected
from motoko.task_manager import RunList
from motoko.workflow import conditions, triggers
from motoko.workflow.actions import Action
from motoko.workflow.away import Away
from motoko.workflow.ends import End, Stall, advised, runs_failed, watched
from motoko.workflow.executing import Unlisted, n_runs
from motoko.workflow.firings import Outcome, call, exit_code, in_session
from motoko.workflow.history import History
from motoko.workflow.reopening import Reopening
from motoko.workflow.triggers import Trigger
from motoko.workflow.watch import Watch

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
        self._watches: dict[tuple[str, str], Watch] = {}
        self._ledger = workflow.vars.db
        self._history = History(workflow)
        self.reopening = Reopening(workflow)
        self._news = anyio.Event()
        self._n_changes = 0
        self._end: End | None = None
        #: What was given to ``sys.exit`` in place of a code.
        self.exit_text = ""
        self._is_main_done = False
        self._is_stalled = False
        self._n_failed_before = 0
        self._stall: Stall | None = None
        self._has_handled = False
        self._wakes_at: float | None = None
        self._away = Away(workflow)
        self._unlisted: dict[Study, Unlisted] = {}
        self._scope = anyio.CancelScope()
        self._group: Any = None

    # running

    async def run(
        self,
        main: Callable[[], Any] | None,
        lost: Callable[[], Awaitable[Exception]] | None = None,
    ) -> int:
        """Run until the workflow ends; its exit code. Raises what ended it badly.

        When ``lost`` returns, the workflow is another process's: nothing is done any more.
        """
        managers, run_name = self._workflow.task_managers, self._workflow.run_name
        self._unlisted = {m.base: Unlisted(run_name) for m in managers.values()}
        for study in self._unlisted:
            study.wait_s = self._wait_s
        stops = [m.base.lookout.watch(self._looker(name)) for name, m in managers.items()]
        stops += [self._workflow.on_change(self._notice), *watched(self._workflow, self._stop)]
        try:
            await until_connected(self._workflow.databases)
            await until_answered(self._ledger, self._history.open)
            if self._history.was_finished:
                await until_answered(self._ledger, self.reopening.open)
            self._n_failed_before = await until_answered(
                self._ledger, lambda: n_runs(self._workflow, states.FAILED)
            )
            with self._scope:
                async with anyio.create_task_group() as self._group:
                    self._group.start_soon(self._keep_time, name="timer")
                    if lost is not None:
                        self._group.start_soon(self._yield_when, lost, name="office")
                    # The last of them, since it may never wait.
                    self._group.start_soon(self._run_main, main, name="main")
                    await self._follow()
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
            watch = self._watch(key, action)
            self._refresh(watch)
            for now in await watch.triggers(self._workflow):
                trigger = self._history.not_fired(action, now)
                if trigger is None:
                    continue
                firing = self._history.begin(action, trigger)
                outcome = await self._call(watch, trigger, firing)
                self._history.note_end(action, firing)
                found.append(outcome.result())
                if action.is_error_handler and not firing.is_void:
                    raise runs_failed(self._workflow, trigger)
        return found

    async def _run_main(self, main: Callable[[], Any] | None) -> None:
        try:
            if main is not None:
                await main()
            reached("main.returned")
        except SystemExit as stop:
            self._stop(End(exit_code=exit_code(stop)))
        except Exception as error:
            self._fail("main", None, error)
        finally:
            self._is_main_done = True
            self._notice()

    async def _yield_when(self, lost: Callable[[], Awaitable[Exception]]) -> None:
        self._stop(End(error=await lost(), is_lost=True))

    async def _keep_time(self) -> None:
        while True:
            await anyio.sleep(self._wait_s)
            for database in self._workflow.databases:
                database.probe()
            for watch in self._watches.values():
                watch.look_again()
            self._is_stalled = False
            self._news.set()

    async def _follow(self) -> None:
        absence = Absence("looking again")
        while self._end is None:
            self._news = anyio.Event()
            n_changes = self._n_changes
            if self._workflow.finished:
                self._stop(End())
                return
            away = self._away.look()
            try:
                with patience(0.0):  # the loop has other things to do than to block
                    n_true = await self._evaluate(away)
                    if not away and await self._has_released():
                        continue
                    if not away and not n_true:
                        await self._look_for_stall()
                    is_over = not away and (self._is_over() or await self._is_over_again())
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
            elif n_changes == self._n_changes:
                await self._news.wait()

    async def _conclude(self) -> int:
        end = self._end or End(error=ActionFailed("a task", None, _CANCELLED))
        if end.error is None:
            if self._workflow.finished:
                self._history.say_unclaimed(self._workflow.actions)
                await until_answered(self._ledger, self._history.close)
            return self.exit_code(end)
        if not ((isinstance(end.error, RunsFailed) and self._has_handled) or end.is_lost):
            await self._handle_errors()
        raise advised(end.error, self._workflow.run_name)

    def exit_code(self, end: End) -> int:
        """The code that an end which is none by an exception stands for."""
        if isinstance(end.exit_code, str):
            log.error("%s", end.exit_code)
            self.exit_text = end.exit_code
            return 1
        return end.exit_code or 0

    # noticing changes

    def _looker(self, task: str) -> Callable[[Tables, set[int] | None], None]:
        unlisted = self._unlisted[self._workflow.task_manager(task).base]

        def look(tables: Tables, changed: set[int] | None) -> None:
            unlisted.look(tables, changed)
            for watch in self._watches.values():
                monitor = watch.monitors.get(task)
                if monitor is not None:
                    monitor.look(tables, changed)
            self._notice()

        return look

    def _notice(self, change: Change | None = None) -> None:
        self._n_changes += 1
        self._is_stalled = False
        self._news.set()

    def _refresh(self, *watches: Watch) -> None:
        for monitor in (m for watch in watches for m in watch.monitors.values()):
            study = self._workflow.task_manager(monitor.task).base
            with study.database.translated():
                monitor.look(study.tables, None)

    # evaluating

    def _watch(self, key: tuple[str, str], action: Action) -> Watch:
        watch = self._watches.get(key)
        if watch is None or watch.action is not action:
            found = triggers.monitors(self._workflow, action)
            watch = self._watches[key] = Watch(action, {m.task: m for m in found})
            self._refresh(watch)
        return watch

    async def _evaluate(self, away: set[Database[Any]]) -> int:
        n_true = 0
        for key, action in list(self._workflow.actions.items()):
            if away and not away.isdisjoint(triggers.needed(self._workflow, action)):
                continue
            watch = self._watch(key, action)
            for trigger, firing in self._history.interrupted(action):
                self._start(watch, trigger, firing)
            for found in await watch.triggers(self._workflow):
                left = self._history.not_fired(action, found)
                left = left and self.reopening.left_of(action, left)
                if left is None:
                    continue
                n_true += 1
                if self._end is not None or self._workflow.finished:
                    return n_true
                self._fire_when_due(watch, left)
        return n_true

    def _fire_when_due(self, watch: Watch, trigger: Trigger) -> None:
        task = trigger.task or ""
        in_flight = watch.in_flight.get(task)
        if in_flight is not None:
            if trigger.task is None or watch.action.is_serial:
                return
            ids = tuple(i for i in trigger.run_ids if i not in in_flight)
            if not ids:
                return
            trigger = Trigger(trigger.task, ids)
        if watch.action.is_serial and watch.n_firings:
            return
        due = watch.due(trigger, self._n_changes)
        if time.monotonic() >= due:
            self._start(watch, trigger, self._history.begin(watch.action, trigger))
        elif due < math.inf:
            self._wake_at(due)

    def _start(self, watch: Watch, trigger: Trigger, firing: Firing) -> None:
        watch.begin(firing.key, trigger, self._n_changes)
        self._group.start_soon(self._fire, watch, trigger, firing, name=watch.action.label)

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

    async def _fire(self, watch: Watch, trigger: Trigger, firing: Firing) -> None:
        action = watch.action
        reached("firing.begun")
        try:
            # It may be started while the conditions are asked, which do not wait for databases.
            with patience(PATIENCE_S):
                with anyio.CancelScope(shield=action.is_error_handler):
                    outcome = await self._call(watch, trigger, firing)
                if outcome.exit_code is not None:
                    self._stop(End(exit_code=outcome.exit_code))
                elif action.is_error_handler and not firing.is_void:
                    self._has_handled = True
                    self._stop(End(error=runs_failed(self._workflow, trigger)))
                if action.is_once:
                    note = partial(self._history.note_end, action, firing)
                    await until_answered(self._ledger, note)
                action.on_end(firing.is_void)
                is_idle = watch.note(firing.key, outcome.has_changed, self._wait_s)
                if is_idle and not firing.is_void:
                    log.info("%s changed nothing; it waits for a change", action.label)
        except Exception as error:
            if not action.excuse(error):
                self._fail(action.event_name, trigger.task, error)
        finally:
            watch.end(firing.key)
            self._news.set()

    async def call(self, action: Action, trigger: Trigger) -> Outcome:
        """Call an action for a trigger, whatever its condition says by now."""
        watch = Watch(action)
        return await self._call(watch, trigger, self._history.begin(action, trigger))

    async def _call(self, watch: Watch, trigger: Trigger, firing: Firing) -> Outcome:
        action = watch.action

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
                now = await triggers.still_true(self._workflow, action, trigger, watch.monitors)
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

    def puts_off_end(self, session: Session | None) -> bool:
        """Whether an end said in this session has to wait for what was put back, or follows."""
        firing = session.firing if session is not None else None
        own = firing.key if firing is not None else None
        has_others = any(key != own for w in self._watches.values() for key in w.flights)
        return self.reopening.is_pending and (has_others or self.reopening.has_left())

    async def _has_released(self) -> bool:
        """What was put back is done and what follows was called: an end is not put off now."""
        if self._is_firing() or not self.reopening.is_due():
            return False
        self._refresh(*self._watches.values())
        await self._evaluate(set())
        if not self._is_firing():
            self.reopening.release()
        return not self.reopening.is_pending

    def _is_firing(self) -> bool:
        return any(watch.n_firings for watch in self._watches.values())

    def _is_over(self) -> bool:
        """Nothing is left to do: main has returned and no action is registered."""
        if not self._is_main_done or self._is_firing() or self.reopening.has_left():
            return False
        actions = self._workflow.actions.values()
        return all(a.is_error_handler for a in actions) and not (actions and self._n_active())

    async def _is_over_again(self) -> bool:
        """Nothing is left to do for a run name that was finished before: it is stalled, though
        all is read anew, and no run has failed since."""
        if not self._history.was_finished or not self._is_stalled:
            return False
        if n_runs(self._workflow, states.FAILED) > self._n_failed_before:
            return False
        self._refresh(*self._watches.values())
        return not await self._evaluate(set()) and self._is_stalled

    def _n_active(self) -> int:
        n_listed = n_runs(self._workflow, states.CREATED, *states.ACTIVE)
        if n_listed == 0 and not any(self._unlisted.values()):
            for study, unlisted in self._unlisted.items():  # the news of one may be late
                with study.database.translated():
                    unlisted.look(study.tables, None)
        return n_listed + sum(map(len, self._unlisted.values()))

    async def _look_for_stall(self) -> None:
        """Say so when nothing can happen any more by itself."""
        if not self._is_main_done or self._is_stalled or not self._is_at_rest():
            return
        versions = tuple(database.feed.version for database in self._workflow.databases)
        if self._stall is None or self._stall.versions != versions:
            if not await self._has_all_news():
                return
            known = self._stall
            self._stall = stall = Stall(
                time.time(), versions, conditions.lacks(self._workflow, self._watches.values())
            )
            if known is None or stall.lacks != known.lacks:
                log.warning("stalled: nothing runs and no condition is true")
                for lack in stall.lacks:
                    log.warning("%s", lack)
        self._is_stalled = True

    def _is_at_rest(self) -> bool:
        return not self._n_active() and not self._is_firing()

    async def _has_all_news(self) -> bool:
        """Whether no condition is true of what the counters of runs tell: the end of the last
        run may not have come to its monitor yet."""
        return await self.n_undecided() == 0 and self._is_at_rest()

    async def n_undecided(self) -> int | None:
        """How many conditions are true, whose actions have changed nothing; None if an action
        is called, or about to be, for anything that has happened."""
        n_changes = self._n_changes
        self._refresh(*self._watches.values())
        n_true = await self._evaluate(set())
        return None if n_changes != self._n_changes or self._is_firing() else n_true

    @property
    def stall(self) -> Stall | None:
        """Since when nothing can happen any more by itself, and why; None if something can."""
        return self._stall if self._is_stalled else None

    def report(self) -> dict[str, Any]:
        """What the conditions say, as plain values; may be asked in any thread."""
        stall = self.stall
        actions = self._workflow.actions.items()
        return {
            "run_name": self._workflow.run_name,
            "is_main_done": self._is_main_done,
            "wait_s": self._wait_s,
            "stall": stall and {"since": stall.since, "lacks": stall.lacks},
            "actions": [(self._watches.get(k) or Watch(a)).report() for k, a in list(actions)],
        }

    def _stop(self, end: End) -> None:
        if self._end is None:
            self._end = end
            self._scope.cancel()

    def _fail(self, event: str, task: str | None, error: BaseException) -> None:
        if not isinstance(error, MotokoError):
            failed = ActionFailed(event, task, error)
            failed.__cause__ = error
            error = failed
        log.error("%s ends the workflow", event, exc_info=error)
        self._stop(End(error=error))

    async def _handle_errors(self) -> None:
        """Error handlers get their chance before an exception ends the workflow."""
        for key, action in list(self._workflow.actions.items()):
            if not action.is_error_handler:
                continue
            try:
                watch = self._watch(key, action)
                self._refresh(watch)
                for trigger in await watch.triggers(self._workflow):
                    await self._call(watch, trigger, self._history.begin(action, trigger))
            except Exception:
                log.exception("error handler %s failed", action.label)
