"""The pipeline that ``motoko.yaml`` describes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from motoko.config import WorkflowConfig
from motoko.config.document import KeyPath, read_document
from motoko.config.pipelines import PipelineConfig, step_settings
from motoko.config.policy import FailurePolicy
from motoko.errors import ConfigError, CyclicSteps, Mistake, PipelineError
from motoko.phrases import listed, nearest
from motoko.pipeline import READY, Pipeline, Step
from motoko.systems import SimSystem, find_systems, read_systems
from motoko.workflow import loader


class Written(NamedTuple):
    """A pipeline, and what it is run with."""

    pipeline: Pipeline
    handlers: Mapping[str, Callable[..., Any]]
    systems: tuple[SimSystem, ...] | None
    on_failure: FailurePolicy | None


def written_pipeline(config: WorkflowConfig) -> Written:
    """The pipeline of a workflow, its functions loaded and its systems found.

    Raises ConfigError with all mistakes, OrchestratorNotLoadable for a function, and
    NotADirectoryError when there is none of systems.
    """
    given = config.pipeline
    if given is None:
        raise PipelineError(
            f"{config.file} has no pipeline; write `pipeline:` into it, or pass one"
        )
    if mistakes := list(pipeline_mistakes(config)):
        raise ConfigError(mistakes)
    handlers = {
        name: loader.load_handler(config.directory, step.handler)
        for name, step in given.steps.items()
        if step.handler is not None
    }
    systems = written_systems(config)
    return Written(Pipeline(_steps(given)), handlers, systems, given.on_failure)


def structure(config: WorkflowConfig) -> Pipeline:
    """The steps alone. Raises ConfigError, and PipelineError without any."""
    if config.pipeline is None:
        raise PipelineError(f"{config.file} has no pipeline")
    if mistakes := list(pipeline_mistakes(config)):
        raise ConfigError(mistakes)
    return Pipeline(_steps(config.pipeline))


def pipeline_mistakes(config: WorkflowConfig) -> Iterator[Mistake]:
    """What is wrong with a pipeline as a whole: steps that there are not, that wait for each
    other, or that nothing does."""
    given = config.pipeline
    if given is None:
        return
    document = read_document(config.file, "")
    top: KeyPath = ("pipeline", "steps")
    place: KeyPath
    steps = {step.name: step for step in _steps(given)}
    managers = [*config.task_managers, *config.aliases]
    if not steps:
        yield document.mistake(("pipeline",), "has no steps", "expected steps:, or ready:")
    for name, step in steps.items():
        settings = given.steps.get(name)
        for i, required in enumerate(step.requires):
            if required not in steps:
                found = f"found {required!r}, which is no step{nearest(required, steps)}"
                place = (*top, name, "requires", i)
                yield document.mistake(place, found, f"expected one of: {listed(steps)}")
        if settings is not None and settings.handler is not None:
            if settings.study is not None:
                place = (*top, name, "handler")
                yield document.mistake(place, "found beside study", "expected one of the two")
            elif settings.job or settings.run:
                place = (*top, name, "handler")
                found = "found beside job or run"
                yield document.mistake(place, found, "expected these for a study's step only")
        elif (step.task or name) not in managers:
            who = step.task or name
            found = f"nothing does it: {who!r} is no task manager{nearest(who, managers)}"
            allowed = "expected study: or handler:, or that name under task_managers"
            place = (*top, name, "study") if step.task else (*top, name)
            yield document.mistake(place, found, allowed)
    known = [s.replace(requires=[r for r in s.requires if r in steps]) for s in steps.values()]
    try:
        Pipeline(known)
    except CyclicSteps as error:
        yield document.mistake((*top, error.cycle[0]), str(error), "expected an order")


def _steps(given: PipelineConfig) -> list[Step]:
    steps = {step.name: step for step in (READY[given.ready]() if given.ready else ())}
    for name, settings in given.steps.items():
        before = steps.get(name, Step(name))
        steps[name] = Step(
            name,
            settings.requires if "requires" in settings.model_fields_set else before.requires,
            step_settings(settings),
            task=settings.study,
            barrier=settings.barrier,
            sentinels=settings.sentinels,
        )
    return list(steps.values())


def written_systems(config: WorkflowConfig) -> tuple[SimSystem, ...] | None:
    """The systems of a workflow's pipeline; None if nothing is said of any."""
    where = None if config.pipeline is None else config.pipeline.systems
    if where is None:
        return None
    if where.directory is None:
        return read_systems(config.directory / str(where.file))
    return find_systems(config.directory / where.directory, where.pattern)
