"""``pipeline:`` of ``motoko.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from motoko.config.fields import Flag, Orchestrator, Text, Texts, mapping_of
from motoko.config.policy import OnFailure
from motoko.config.sections import Read, Section, Strict, means
from motoko.config.sentinels import Sentinels
from motoko.config.values import Refused
from motoko.phrases import listed, nearest

Values = Annotated[dict[str, Any], Read(mapping_of("names to values"))]


_SYSTEMS: Final = "a file that lists systems, or {directory: ..., pattern: ...}"


@dataclass(frozen=True, kw_only=True)
class StepConfig(Strict):
    """A step of a pipeline."""

    requires: Texts = field(
        default=(), metadata=means("The steps that have to be done before.")
    )
    study: Text | None = field(
        default=None,
        metadata=means("The task manager that does it; absent: the one of the step's name."),
    )
    handler: Orchestrator | None = field(
        default=None, metadata=means("The function that does it instead, as module.function.")
    )
    job: Values = field(
        default_factory=dict,
        metadata=means(
            "Job values; a list is a dimension, `{system.name}` a fact of the system."
        ),
    )
    run: Values = field(
        default_factory=dict, metadata=means("Run parameters, in the same way.")
    )
    sentinels: Sentinels | None = field(
        default=None,
        metadata=means(
            "Files that say that its work for a system is finished, or has failed: as"
            " in bd.yaml, relative to the directory of the system."
        ),
    )
    barrier: Flag = field(
        default=False,
        metadata=means("Whether it waits until what it requires is done for all systems."),
    )


@dataclass(frozen=True, kw_only=True)
class SystemsConfig(Strict):
    """Where the systems of a pipeline are found."""

    file: Text | None = field(default=None, metadata=means("The YAML file that lists them."))
    directory: Text | None = field(
        default=None, metadata=means("The directory that theirs lie in.")
    )
    pattern: Text = field(default="*", metadata=means("Which of these directories."))


def _systems(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"file": value}
    if not isinstance(value, Mapping) or ("file" in value) == ("directory" in value):
        raise Refused(_SYSTEMS)
    return value


@dataclass(frozen=True, kw_only=True)
class PipelineConfig(Strict):
    """Steps, the systems that they are done for, and what becomes of failures."""

    ready: Literal["molecular-dynamics", "molecular-dynamics-short"] | None = field(
        default=None,
        metadata=means("The pipeline that is taken, and that `steps` adds to or changes."),
    )
    steps: Annotated[
        dict[str, Annotated[StepConfig, Read(mapping_of("settings of a step, or nothing"))]],
        Read(mapping_of("names of steps to their settings")),
    ] = field(default_factory=dict, metadata=means("The steps by name."))
    systems: Annotated[SystemsConfig, Read(_systems)] | None = field(
        default=None,
        metadata=means("What the steps are done for, each; absent: each step is done once."),
    )
    on_failure: OnFailure | None = field(
        default=None,
        metadata=means(
            "What becomes of a system when a step has failed for it; absent: what the"
            " step's study says."
        ),
    )


def unknown_key(path: tuple[str | int, ...]) -> str:
    """What is expected in the place of a key that a pipeline cannot have."""
    kind: type[Section] = PipelineConfig
    if "steps" in path[1:-1]:
        kind = StepConfig
    elif "systems" in path[1:-1]:
        kind = SystemsConfig
    known = kind.known_keys()
    return f"expected one of: {listed(known)}{nearest(str(path[-1]), known)}"


def step_settings(config: StepConfig) -> Mapping[str, Any] | None:
    """The payload of a step, None if nothing is given."""
    given = {"job": config.job, "run": config.run}
    return {key: value for key, value in given.items() if value} or None
