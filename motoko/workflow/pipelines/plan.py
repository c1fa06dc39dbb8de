"""What does each step of a pipeline: a study, or a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motoko.config.policy import FailurePolicy
from motoko.errors import PipelineError, StepNotRunnable, StepWithoutHandler, UnknownStep
from motoko.model.space import merge
from motoko.phrases import nearest
from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.task_manager import TaskManager
from motoko.workflow.actions import ALL_TASKS
from motoko.workflow.pipelines import deciding, payloads
from motoko.workflow.pipelines.files import Files, check_without_runs, declared, files_of
from motoko.workflow.pipelines.in_turn import CALLED
from motoko.workflow.pipelines.payloads import SYSTEM, Payload

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

Handler = Callable[..., Any]


@dataclass(frozen=True)
class Doing:
    """A step and what does it: the study of a task manager, or a function."""

    step: Step
    manager: TaskManager | None
    handler: Handler | None
    payload: Payload
    #: What becomes of a system for which it failed; see `deciding`.
    policy: FailurePolicy
    #: What its files are, given a system.
    files: Callable[[SimSystem | None], Files | None]


def plan(
    workflow: Workflow,
    pipeline: Pipeline,
    handlers: Mapping[str, str | Handler],
    systems: Iterable[SimSystem | None],
    on_failure: Any = None,
) -> dict[str, Doing]:
    """What does each step, in topological order. Raises PipelineError for what could only
    fail later: StepWithoutHandler, StepNotRunnable, two systems of one name."""
    systems = list(systems)
    _check_systems(systems)
    for name in handlers:
        if name not in pipeline:
            raise UnknownStep(name, [step.name for step in pipeline])
    found = {}
    for step in pipeline:
        doing = _doing(workflow, step, handlers.get(step.name), on_failure)
        found[step.name] = doing
        events = [step.name] if doing.manager else [phase_name(step, s) for s in systems]
        for event in events:
            if doing.manager is not None or not _is_waited_for(workflow, event):
                check_is_free(workflow, step, event)
        if doing.manager is not None:
            _check_told_apart(step, doing.manager, systems)
        for system in systems:
            given = payloads.filled(doing.payload, step, system)
            if doing.manager is not None:
                _check_has_runs(step, doing.manager, given.job)
            doing.files(system)
    return found


def check_is_free(workflow: Workflow, step: Step, event: str) -> None:
    """StepNotRunnable when something else is registered as this event, such as the same step of
    another pipeline."""
    if (ALL_TASKS, event) in workflow.actions:
        why = f"an action of the name {event!r} is registered; rename one of them"
        raise StepNotRunnable(step.name, why)


def _is_waited_for(workflow: Workflow, phase: str) -> bool:
    """Whether another pipeline is at this call of a function, and this one does not belong to
    that call."""
    asked = workflow.asked_steps
    return asked is not None and phase in asked.in_turn and phase not in CALLED.get()


def phase_name(step: Step, system: SimSystem | None) -> str:
    """How a step for a system is named."""
    return step.name if system is None else f"{step.name}:{system.name}"


def _check_systems(systems: list[SimSystem | None]) -> None:
    names = [system.name for system in systems if system is not None]
    for name in names:
        if names.count(name) > 1:
            raise PipelineError(f"two systems are named {name!r}: each needs its own name")


def _doing(
    workflow: Workflow, step: Step, given: str | Handler | None, on_failure: Any
) -> Doing:
    who = given or step.task or step.name
    sentinels = declared(step)

    def files(system: SimSystem | None) -> Files | None:
        return files_of(sentinels, step, system, workflow.directory)

    if not isinstance(who, str):
        if not callable(who):
            why = f"its handler is {who!r}; pass a function, or the name of a task manager"
            raise StepNotRunnable(step.name, why)
        check_without_runs(sentinels, step)
        policy = deciding.policy_of(on_failure)
        return Doing(step, None, who, Payload({}, {}), policy, files)
    known = [*workflow.task_managers, *workflow.aliases]
    if who not in known:
        raise StepWithoutHandler(step.name, who, nearest(who, known))
    manager = workflow.task_manager(who)
    policy = deciding.policy_of(on_failure, manager.base.config.policy)
    return Doing(step, manager, None, payloads.parsed(step), policy, files)


def _check_has_runs(step: Step, manager: TaskManager, job: Mapping[str, Any]) -> None:
    schema = manager.base.schema
    space = merge(manager.base.config.job_space, job)
    types = {name: declared.type for name, declared in schema.job.items()}
    for name in payloads.empty_dimensions(space, types):
        why = f"its job value {name!r} is a list without any value, so it would have no runs"
        raise StepNotRunnable(step.name, why)


def _check_told_apart(
    step: Step, manager: TaskManager, systems: list[SimSystem | None]
) -> None:
    if systems != [None] and SYSTEM not in manager.base.schema.job:
        name = manager.study
        raise StepNotRunnable(
            step.name,
            f"its study {name} does not tell systems apart; write `{SYSTEM}: str` under `job:`"
            f" in {name}/bd.yaml",
        )
