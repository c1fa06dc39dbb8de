"""The pipeline that ``motoko.yaml`` describes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.config import StudyConfig, WorkflowConfig
from motoko.config.pipelines import step_settings
from motoko.config.policy import FailurePolicy
from motoko.errors import (
    ConfigError,
    CyclicSteps,
    Mistake,
    OrchestratorNotLoadable,
    PipelineError,
    StepNotRunnable,
)
from motoko.model.space import merge
from motoko.paths import STUDY_FILE
from motoko.phrases import listed, nearest
from motoko.pipeline import READY, Pipeline, Step
from motoko.systems import SimSystem, find_systems, read_systems
from motoko.workflow import loader
from motoko.workflow.pipelines import payloads
from motoko.workflow.pipelines.files import declared, files_of
from motoko.workflow.pipelines.payloads import SYSTEM

if TYPE_CHECKING:
    from motoko.config.document import Document, KeyPath


class Written(NamedTuple):
    """A pipeline, and what it is run with."""

    pipeline: Pipeline
    handlers: Mapping[str, Callable[..., Any]]
    systems: tuple[SimSystem, ...] | None
    on_failure: FailurePolicy | None


def written_pipeline(config: WorkflowConfig) -> Written:
    """The pipeline of a workflow, its functions loaded and its systems found.

    Raises ConfigError with all mistakes.
    """
    given = config.pipeline
    if given is None:
        raise PipelineError(
            f"{config.file} has no pipeline; write `pipeline:` into it, or pass one"
        )
    if mistakes := list(pipeline_mistakes(config)):
        raise ConfigError(mistakes)
    handlers: dict[str, Callable[..., Any]] = {}
    mistakes = []
    for name, step in given.steps.items():
        if step.handler is not None:
            try:
                handlers[name] = loader.load_handler(config.directory, step.handler)
            except OrchestratorNotLoadable as error:
                place: KeyPath = ("pipeline", "steps", name, "handler")
                expected = "expected module.function, of a file in the workflow's directory"
                line = f":{error.line}" if error.line else ""
                found = f"found {step.handler!r}; {error.file}{line}: {error.why}"
                mistakes.append(_document(config).mistake(place, found, expected))
    if mistakes:
        raise ConfigError(mistakes)
    systems = written_systems(config)
    return Written(Pipeline(_steps(config)), handlers, systems, given.on_failure)


def _document(config: WorkflowConfig) -> Document:
    """The file, to say on which line something stands."""
    from motoko.config.document import read_document

    return read_document(config.file, "")


def step_mistakes(
    config: WorkflowConfig, found: Written, studies: Mapping[str, StudyConfig]
) -> Iterator[Mistake]:
    """What the steps of a pipeline give to studies that these cannot take, or that systems do
    not have."""
    assert config.pipeline is not None
    document = _document(config)
    for step in found.pipeline:
        who = step.task or step.name
        study = studies.get(config.aliases.get(who, who))
        top: KeyPath = ("pipeline", "steps", step.name)
        settings = config.pipeline.steps.get(step.name)
        if step.name in found.handlers or study is None:
            continue
        known = [*study.job]
        for key in settings.job if settings is not None else ():
            if key.lower() not in known:
                what = f"found {key!r}, which is no job value of study {who}"
                expected = f"expected one of: {listed(known)}{nearest(key, known)}"
                yield document.mistake((*top, "job", key), what, expected)
        if found.systems is not None and SYSTEM not in known:
            what = f"its study {who} does not tell systems apart"
            expected = f"expected `{SYSTEM}: str` under `job:` in {who}/{STUDY_FILE}"
            yield document.mistake(top, what, expected)
        types = {name: parameter.type for name, parameter in study.job.items()}
        written = {} if settings is None else {key.lower(): key for key in settings.job}
        empty: dict[str, None] = {}
        try:
            for system in (None,) if found.systems is None else found.systems:
                given = payloads.filled(payloads.parsed(step), step, system)
                files_of(declared(step), step, system, config.directory)
                space = merge(study.job_space, given.job)
                empty |= dict.fromkeys(payloads.empty_dimensions(space, types))
        except StepNotRunnable as error:
            yield document.mistake(top, error.why, "expected what every system has")
        for name in empty:
            what = f"job value {name!r} is a list without any value, so it would have no runs"
            place = (*top, "job", written[name]) if name in written else top
            yield document.mistake(place, what, "expected at least one value")


def structure(config: WorkflowConfig) -> Pipeline:
    """The steps alone. Raises ConfigError, and PipelineError without any."""
    if config.pipeline is None:
        raise PipelineError(f"{config.file} has no pipeline")
    if mistakes := list(pipeline_mistakes(config)):
        raise ConfigError(mistakes)
    return Pipeline(_steps(config))


def pipeline_mistakes(config: WorkflowConfig) -> Iterator[Mistake]:
    """What is wrong with a pipeline as a whole: steps that there are not, that wait for each
    other, or that nothing does."""
    if wrong := list(_wrong(config)):
        document = _document(config)
        yield from (document.mistake(*one) for one in wrong)


def _wrong(config: WorkflowConfig) -> Iterator[tuple[KeyPath, str, str]]:
    """Where something is wrong, what is found there, and what is expected."""
    given = config.pipeline
    if given is None:
        return
    top: KeyPath = ("pipeline", "steps")
    place: KeyPath
    steps = {step.name: step for step in _steps(config)}
    managers = [*config.task_managers, *config.aliases]
    if not steps:
        yield ("pipeline",), "has no steps", "expected steps:, or ready:"
    for name, step in steps.items():
        settings = given.steps.get(name)
        for i, required in enumerate(step.requires):
            if required not in steps:
                found = f"found {required!r}, which is no step{nearest(required, steps)}"
                place = (*top, name, "requires", i)
                yield place, found, f"expected one of: {listed(steps)}"
        if settings is not None and settings.handler is not None:
            if settings.study is not None:
                place = (*top, name, "handler")
                yield place, "found beside study", "expected one of the two"
            elif settings.job or settings.run:
                place = (*top, name, "handler")
                found = "found beside job or run"
                yield place, found, "expected these for a study's step only"
        elif (step.task or name) not in managers:
            who = step.task or name
            found = f"nothing does it: {who!r} is no task manager{nearest(who, managers)}"
            allowed = "expected study: or handler:, or that name under task_managers"
            place = (*top, name, "study") if step.task else (*top, name)
            yield place, found, allowed
    known = [s.replace(requires=[r for r in s.requires if r in steps]) for s in steps.values()]
    try:
        Pipeline(known)
    except CyclicSteps as error:
        yield (*top, error.cycle[0]), str(error), "expected an order"


def _steps(config: WorkflowConfig) -> list[Step]:
    assert config.pipeline is not None
    given, written = config.pipeline, config["pipeline"].get("steps") or {}
    steps = {step.name: step for step in (READY[given.ready]() if given.ready else ())}
    for name, settings in given.steps.items():
        before = steps.get(name, Step(name))
        steps[name] = Step(
            name,
            settings.requires if "requires" in (written[name] or {}) else before.requires,
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
    directory = config.directory / where.directory
    if not directory.is_dir():
        document = _document(config)
        found = f"found {where.directory!r}, and {directory} is no directory"
        expected = "expected the one that the directories of systems lie in"
        raise ConfigError(
            [document.mistake(("pipeline", "systems", "directory"), found, expected)]
        )
    return find_systems(directory, where.pattern)


def lack_of_systems(config: WorkflowConfig) -> str:
    """That a workflow's pipeline finds no systems, in words."""
    where = None if config.pipeline is None else config.pipeline.systems
    if where is None:
        return "no systems were given"
    if where.directory is None:
        return f"no systems: {config.directory / str(where.file)} lists none"
    directory = config.directory / where.directory
    return f"no systems: no directory in {directory} has a name like {where.pattern!r}"
