"""The workflow: studies, actions and the orchestrator that ties them together."""

from __future__ import annotations

import argparse
import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any

import anyio.to_thread

from motoko.artifacts import ArtifactStore
from motoko.daemon import Early, Office
from motoko.errors import ConfigError, Mistake, UnknownTaskManager, WorkflowError
from motoko.paths import ARTIFACTS, WORKFLOW_STATE
from motoko.pipeline import Pipeline
from motoko.store import layout
from motoko.store.database import Database
from motoko.store.decision import recover
from motoko.store.feed import Change
from motoko.store.session import Session, unit_of_work
from motoko.study.records import Run, split_run_name
from motoko.study.study import WAIT_S, Study
from motoko.systems import SimSystem
from motoko.task_manager import TaskManager, check_run_name
from motoko.workflow import actions as forms
from motoko.workflow import control, loader, making, opening, reading
from motoko.workflow.actions import (
    ALL_TASKS,
    Action,
    ActionRegistry,
    EventCallback,
    EventCondition,
    no_action,
)
from motoko.workflow.custody import Custody
from motoko.workflow.deposits import Deposits
from motoko.workflow.ends import Stall
from motoko.workflow.finish import Finish
from motoko.workflow.loop import EventLoop
from motoko.workflow.orchestration import Orchestration
from motoko.workflow.pipelines.asked import Asked
from motoko.workflow.pipelines.written import pipeline_mistakes
from motoko.workflow.triggers import read_answer
from motoko.workflow.variables import WorkflowVars


class Workflow:
    """A workflow as its ``motoko.yaml`` describes it.

    Task managers are attributes, by their names and their aliases: ``workflow.solve``. What
    an orchestrator does outside of actions is committed call by call; ``with
    workflow.session():`` makes several calls one unit.
    """

    orchestrator_function: Callable[..., Awaitable[Any]] | None = None
    run_name: str | None = None
    #: Whether the run name is taken over from an orchestrator on another host.
    takes_over = False
    #: Whether a run name goes on with other parameters than it was begun with.
    accepts_changes = False
    #: The office of the run name's orchestrator, if it is held before `run` is called.
    office: Office | None = None
    #: Server and launcher as this process uses them, if it ends what it has started of them.
    custody: Custody | None = None
    started_early: Early | None = None  # those that wait to be told what to do
    #: Whether its run name is being orchestrated by this process.
    is_orchestrated = False
    #: While it is: what runs leave in its store, and what steps of pipelines are given.
    artifact_deposits: Deposits | None = None
    asked_steps: Asked | None = None

    def __init__(self, filename: str, *, may_be_wrong: bool = False) -> None:
        """Reads ``motoko.yaml`` (or the one in a directory) and each study's ``bd.yaml``.

        Raises ConfigError with the mistakes of all of them; one that ``may_be_wrong`` keeps
        them and is without the studies that are `unread`, for whoever only looks or stops.
        Connects to nothing.
        """
        #: What its own file says, and mistakes in it, if it may be wrong.
        self.config, self.mistakes = reading.read(filename, may_be_wrong=may_be_wrong)
        #: By name of a study those in its file.
        self.unread: dict[str, ConfigError] = {}
        self.directory = self.config.directory
        self.config_path = str(self.config.file)
        self.orchestrator_script = self.config.orchestrator
        self.aliases: dict[str, str] = dict(self.config.aliases)
        self.actions = ActionRegistry()
        self.params: dict[str, Any] = {}
        #: Seconds between looks at everything, whatever the databases tell.
        self.wait_s = WAIT_S
        self._vars: WorkflowVars | None = None
        self._finish = Finish(self)
        self._listeners: list[Callable[[Change], None]] = []
        self._loop: EventLoop | None = None
        self.task_managers: dict[str, TaskManager] = {}
        self.mistakes += tuple(pipeline_mistakes(self.config))
        self._load_task_managers()
        if not may_be_wrong and (found := self.all_mistakes):
            raise ConfigError(found)

    def __repr__(self) -> str:
        return f"Workflow({self.config_path})"

    def __getattr__(self, name: str) -> TaskManager:
        if name.startswith("_") or name in ("task_managers", "aliases"):
            raise AttributeError(name)
        return self.task_manager(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.task_managers, *self.aliases})

    # studies

    def task_manager(self, name: str) -> TaskManager:
        """The task manager of this name or alias."""
        manager = self.task_managers.get(self.aliases.get(name, name))
        if manager is None:
            if name in self.unread:
                raise self.unread[name]
            raise UnknownTaskManager(name, [*self.task_managers, *self.aliases])
        return manager

    def task_manager_config(self, name: str) -> Any:
        """What stands below a task manager's name in ``motoko.yaml``."""
        return self.config.task_managers[name]

    def load_study(self, name: str) -> Study:
        """The study in the directory of this name."""
        return opening.load_study(self, name)

    @property
    def all_mistakes(self) -> list[Mistake]:
        """Those in its own file and in those of its studies."""
        found = [error.mistakes for error in self.unread.values()]
        return [*self.mistakes, *chain.from_iterable(found)]

    def _load_task_managers(self) -> None:
        for name in self.config.task_managers:
            try:
                self.task_managers[name] = TaskManager(self, name)
            except ConfigError as error:
                self.unread[name] = error
        for manager in self.task_managers.values():
            manager.base.database.ledger = self.vars.db

    def get_runs(self, run_list: Iterable[str]) -> dict[str, list[Run]]:
        """The runs with these names (``study.id``), by study.

        Raises UnknownTaskManager, RunNotFound, or WorkflowError for a name of another form.
        """
        found: dict[str, list[Run]] = {}
        for uri in run_list:
            name, run_id = split_run_name(str(uri))
            manager = self.task_manager(name)
            found.setdefault(manager.study, []).append(manager.base.run(run_id))
        return found

    def is_empty(self) -> bool:
        """Whether there are no runs (of the present run name, if one is set)."""
        return not any(m.base.counts(self.run_name) for m in self.task_managers.values())

    # variables and sessions

    @property
    def vars(self) -> WorkflowVars:
        """Values that are kept in the workflow's database; see `WorkflowVars`."""
        if self._vars is None:
            self._vars = opening.variables(self)
        return self._vars

    @property
    def state_dir(self) -> Path:
        """Where the workflow's own database, its locks and its logs lie."""
        return self.directory / WORKFLOW_STATE

    @property
    def artifacts(self) -> ArtifactStore:
        """Where finished runs deposit what their studies declare as artifacts."""
        return ArtifactStore(self.directory / ARTIFACTS)

    def session(self) -> AbstractContextManager[Session]:
        """Make everything inside one unit of work: committed at the end, or not at all.

        Inside an action it is part of the action's session. SessionConflict says that somebody
        else changed what the block had read; nothing is changed then. TasksRenumbered says that
        all of it is committed, and its tasks have other ids than the block was given.
        """
        return unit_of_work()

    @property
    def finished(self) -> bool:
        """Whether the workflow is finished. Set in an action, it counts once the action's
        work is committed; in a run name that had finished before, once the runs that were put
        back are done."""
        return self._finish.is_said

    @finished.setter
    def finished(self, value: bool) -> None:
        self._finish.say(bool(value))

    def say_end(self, code: int | str | None) -> None:
        """Commit with the present session how the run name that is orchestrated comes to its
        end, so that an orchestrator which dies before that need not find out again."""
        self._finish.say_code(code)

    def on_change(self, notice: Callable[[], Any]) -> Callable[[], None]:
        """Call ``notice`` in the running loop when variables change, an action is added or
        the workflow is finished; the result ends that."""
        loop = asyncio.get_running_loop()

        def hear(change: Change) -> None:
            loop.call_soon_threadsafe(notice)

        self._listeners.append(hear)
        stop_listening = self.vars.db.feed.listen(hear)

        def stop() -> None:
            self._listeners.remove(hear)
            stop_listening()

        return stop

    # actions

    def add_action(
        self,
        event_name: str,
        task: str = ALL_TASKS,
        event: EventCondition = None,
        get_params: Callable[[], Any] | None = None,
        f: EventCallback | None = None,
        *,
        serial: bool = False,
        once: bool = False,
    ) -> None:
        """Call ``f`` whenever the condition ``event`` is true of the databases.

        The condition is a constraint, a list of constraints (all of them), or a function of
        ``(run, job)``, of ``(workflow, task_manager)`` or of nothing. A condition on runs
        fires with the matching runs as ``runs=``, and no run is in two firings at a time
        (with ``serial``, there is only one firing at a time). Any other fires once, however
        many studies it watches. With ``once`` no run gets into a second firing after one that
        came to its end, also when the orchestrator is started again under the same run name.
        ``f`` gets what it takes of ``workflow=``, ``runs=``, ``params=`` (what ``get_params``
        gives at that moment) and the orchestrator's own parameters. The same task and event
        name replace the earlier action; a firing of that goes on, as one of the new action.

        Raises ConditionError, UnknownTaskManager, and WorkflowError for anything else that
        could only fail later. What a constraint says is looked at when it is evaluated first,
        since runs may get entries that nobody has declared.
        """
        self.register(Action(event_name, self._task(task), event, f, get_params, serial, once))

    def add_error_handler(
        self,
        event: EventCondition = "state = FAILED",
        f: EventCallback = no_action,
        **kwargs: Any,
    ) -> None:
        """Call ``f`` when runs fail, then end the workflow with RunsFailed.

        ``kwargs`` are ``task``, ``event_name`` and ``get_params`` as for `add_action`. Without
        an ``event_name`` it stands beside all others, unless the same is registered again.
        """
        task = self._task(kwargs.pop("task", ALL_TASKS))
        name = kwargs.pop("event_name", None)
        get_params = kwargs.pop("get_params", None)
        if kwargs:
            raise TypeError(f"add_error_handler has no parameter {', '.join(sorted(kwargs))}")
        handler = Action(name or "", task, event, f, get_params, is_error_handler=True)
        self.register(handler if name is not None else self.actions.named_apart(handler))

    def _task(self, name: str) -> str:
        if not isinstance(name, str):
            known = ", ".join(self.task_managers)
            raise WorkflowError(
                f"task={name!r} is no name of a task manager (there are: {known})"
            )
        return name if name == ALL_TASKS else self.task_manager(name).study

    def register(self, action: Action) -> None:
        """Take an action in; see `add_action`."""
        self.actions.add(action, is_of_run=self.is_orchestrated)
        self.tell_of_change()

    def tell_of_change(self) -> None:
        """Have all conditions asked: something changed that no database tells of."""
        for listener in list(self._listeners):
            listener(Change(is_everything=True))

    async def has_decided(self) -> bool:
        """Whether no action is called, nor about to be, for anything that has happened."""
        return self._loop is None or await self._loop.prospects.n_undecided() is not None

    # pipelines

    async def run_pipeline(
        self,
        pipeline: Pipeline | None = None,
        systems: Iterable[SimSystem] | None = None,
        *,
        handlers: Mapping[str, str | Callable[..., Any]] | None = None,
        on_failure: Any = None,
    ) -> list[SimSystem | None]:
        """Do all steps for each system, as soon as what they require is done; the survivors.

        Without a pipeline it is the one in ``motoko.yaml``. A step is done by the task manager
        of its ``task`` or name, or by what ``handlers`` has for it: another task manager, or a
        function that gets what it takes of ``workflow=``, ``system=``, ``step=``, ``params=``
        (the payload), ``runs=`` (of the phases that it requires), ``attempts=`` (what became of
        earlier calls) and the orchestrator's own parameters. The payload of a study's step is
        ``{"job": {...}, "run": {...}}``. Without systems each step is done once, and the result
        is ``[None]``. ``on_failure`` (of the study, if none is given) is what becomes of a
        system when a phase has failed, as in ``bd.yaml``. Under the same run name what is done
        with the same input is not done again. Raises PipelineError, before anything begins,
        RunsFailed and ParametersChanged.
        """
        from motoko.workflow.pipelines.running import prepared

        return await prepared(self, pipeline, systems, handlers or {}, on_failure).run()

    def is_run_filter(self, f: Any) -> bool:
        """Whether ``f`` is a condition on a run and its job."""
        return forms.is_run_filter(f)

    def is_workflow_filter(self, f: Any) -> bool:
        """Whether ``f`` is a condition on the workflow and a task manager."""
        return forms.is_workflow_filter(f)

    def is_no_param_func(self, f: Any) -> bool:
        """Whether ``f`` is a condition that takes nothing."""
        return forms.is_no_param_func(f)

    async def fire_event(
        self,
        event_name: str,
        task_manager_name: str,
        f: EventCallback,
        trigger: Any,
        get_params: Callable[[], Any] | Any | None,
        params: dict[str, Any],
    ) -> Any:
        """Call an action now, in a session of its own; what it gives.

        ``trigger`` is true, or the runs that the action is called with; ConditionError for
        anything else. Raises what ``f`` raises.
        """
        action = Action(event_name, task_manager_name, lambda: True, f, get_params)
        loop = EventLoop(self, params, self.wait_s)
        results = [
            (await loop.call(action, found)).result() for found in read_answer(action, trigger)
        ]
        return results[0] if len(results) == 1 else results

    async def check_events(self, **params: Any) -> None:
        """Evaluate all conditions once, fire what is true, and wait for that. Raises what an
        action raises, ActionFailed when a condition does, RunsFailed after an error handler."""
        await EventLoop(self, params, self.wait_s).check_once()

    async def check_event(
        self, event_name: str, task_manager_name: str = ALL_TASKS, **params: Any
    ) -> Any:
        """Evaluate the condition of one registered action, and fire it if it is true.

        Gives what its firings gave, a list. Raises WorkflowError for an unknown event.
        """
        key = (self._task(task_manager_name), event_name)
        if key not in self.actions:
            known = ", ".join(action.label for action in self.actions.values())
            raise WorkflowError(f"no action {event_name!r} for {key[0]!r} (there are: {known})")
        return await EventLoop(self, params, self.wait_s).check_once([key])

    async def loop_check_events(self, **params: Any) -> None:
        """Fire actions until the workflow is finished, without calling ``main``; raises what
        `execute` does."""
        await EventLoop(self, params, self.wait_s).run(None)

    # running

    def create(self, validated: bool | None = None) -> None:
        """Make the databases of the workflow and its studies, and start their server.

        With ``validated`` what is there already is moved into a dated backup first; without,
        only what is missing is added. Raises AlreadyRunning and RunsExecuting when that would
        move what is in use, ForeignDatabase, and what `run` does when the server cannot start.
        """
        making.create(self, reset=bool(validated))

    def start_launcher_daemons(self, args: argparse.Namespace | None = None) -> None:
        """Start the launcher in the background, unless it runs already.

        ``args`` may have ``generator``. Raises ForeignOwner when it runs on another host, and
        StartFailed.
        """
        control.start_launcher(self, generator=getattr(args, "generator", None))

    def get_orchestrator_function(self) -> Callable[..., Awaitable[Any]]:
        """The function that ``orchestrator`` in ``motoko.yaml`` names.

        Raises OrchestratorNotLoadable.
        """
        if self.orchestrator_function is None:
            function = loader.load_function(self.directory, self.config.orchestrator)
            self.orchestrator_function = function
        return self.orchestrator_function

    def execute(self, **params: Any) -> None:
        """Run the orchestrator and its actions until the workflow is finished.

        Raises what an action, a condition or ``main`` raised (anything but a MotokoError as
        the cause of ActionFailed), SystemExit when one of them asked for an exit code other
        than 0, and what `run` does.
        """
        code = anyio.run(functools.partial(self.run, **params))
        if code:
            raise SystemExit(self.exit_text or code)

    async def run(self, **params: Any) -> int:
        """Like `execute`, inside a running event loop; the exit code.

        Starts server and launcher if they do not run. Raises also AlreadyRunning when another
        process orchestrates the run name, ParametersChanged when it was begun with others and
        not ``accepts_changes``, and ConfigError, OrchestratorNotLoadable, DatabaseLost,
        SchemaChanged, ForeignOwner, StartFailed or DatabaseUnavailable, before any call.
        """
        self.params = params
        self.actions.forget_run()
        if self.run_name:
            check_run_name(self.run_name)
        main = functools.partial(self.get_orchestrator_function(), self, **params)
        self._loop = EventLoop(self, params, self.wait_s)
        self._finish.begin(self._loop)
        return await Orchestration(self, self._loop).run(main)

    @property
    def n_noticed(self) -> int | None:
        """How many changes were noticed; None while something else than runs is awaited."""
        if self._loop is None or not self._loop.is_awaiting:
            return None
        return self._loop.n_changes

    @property
    def is_stalled(self) -> bool:
        """Whether nothing can happen any more by itself, although nothing is finished."""
        return self.stall is not None

    @property
    def stall(self) -> Stall | None:
        """Since when it is stalled and what each condition lacks, None if it is not."""
        return None if self._loop is None else self._loop.prospects.stall

    @property
    def exit_text(self) -> str:
        """The text with which an action or ``main`` has called ``sys.exit``, if one did."""
        return self._loop.exit_text if self._loop is not None else ""

    def connect(self) -> None:
        """Connect to all databases; DatabaseUnavailable if one does not answer."""
        for manager in self.task_managers.values():
            manager.connect()
        self.vars.db.connect()

    @property
    def databases(self) -> list[Database[Any]]:
        """The workflow's own database and those of its studies."""
        studies = [manager.base.database for manager in self.task_managers.values()]
        return [self.vars.db, *studies]

    def hurry(self) -> None:
        """End every wait for a database within a moment, because the process is to end.

        What `main` waits for then is cancelled. For signal handlers too.
        """
        for database in self.databases:
            database.hurry()

    def close(self) -> None:
        """Give all connections back."""
        for manager in self.task_managers.values():
            manager.base.close()
        if self._vars is not None:
            self._vars.close()

    def initialise(self, *, extends: bool = True) -> None:
        """Make the trees of all databases that have none yet, and extend what ``bd.yaml`` adds.
        Raises SchemaChanged, ForeignDatabase, DatabaseUnavailable."""
        self.vars.db.initialise(layout.WORKFLOW, {"path": str(self.directory)})
        for manager in self.task_managers.values():
            manager.base.initialise(extends=extends)

    def recover(self) -> None:
        """Give each study what was committed for it before a crash kept it from there; may be
        called at any time. Raises DatabaseUnavailable, and ConflictsExhausted."""
        studies = {name: m.base.database for name, m in self.task_managers.items()}
        recover(self.vars.db, studies)
