"""``pipeline:`` of ``motoko.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from motoko.config.fields import Flag, Orchestrator, Text, Texts, mapping_of
from motoko.config.policy import OnFailure
from motoko.config.sections import Section
from motoko.config.sentinels import Sentinels
from motoko.config.values import Refused
from motoko.phrases import listed, nearest

Values = Annotated[dict[str, Any], BeforeValidator(mapping_of("names to values"))]


_SYSTEMS: Final = "a file that lists systems, or {directory: ..., pattern: ...}"


class _Strict(Section):
    """A mapping that orchestrators do not read keys of their own from."""

    model_config = ConfigDict(extra="forbid")


class StepConfig(_Strict):
    """A step of a pipeline."""

    requires: Texts = Field((), description="The steps that have to be done before.")
    study: Text | None = Field(
        None, description="The task manager that does it; absent: the one of the step's name."
    )
    handler: Orchestrator | None = Field(
        None, description="The function that does it instead, as module.function."
    )
    job: Values = Field(
        default_factory=dict,
        description="Job values; a list is a dimension, `{system.name}` a fact of the system.",
    )
    run: Values = Field(default_factory=dict, description="Run parameters, in the same way.")
    sentinels: Sentinels | None = Field(
        None,
        description="Files that say that its work for a system is finished, or has failed: as"
        " in bd.yaml, relative to the directory of the system.",
    )
    barrier: Flag = Field(
        False, description="Whether it waits until what it requires is done for all systems."
    )

    @model_validator(mode="before")
    @classmethod
    def _may_be_empty(cls, value: Any) -> Any:
        return mapping_of("settings of a step, or nothing")(value)


class SystemsConfig(_Strict):
    """Where the systems of a pipeline are found."""

    file: Text | None = Field(None, description="The YAML file that lists them.")
    directory: Text | None = Field(None, description="The directory that theirs lie in.")
    pattern: Text = Field("*", description="Which of these directories.")


def _systems(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {"file": value}
    if not isinstance(value, Mapping) or ("file" in value) == ("directory" in value):
        raise Refused(_SYSTEMS)
    return value


class PipelineConfig(_Strict):
    """Steps, the systems that they are done for, and what becomes of failures."""

    ready: Literal["molecular-dynamics", "molecular-dynamics-short"] | None = Field(
        None, description="The pipeline that is taken, and that `steps` adds to or changes."
    )
    steps: Annotated[
        dict[str, StepConfig], BeforeValidator(mapping_of("names of steps to their settings"))
    ] = Field(default_factory=dict, description="The steps by name.")
    systems: Annotated[SystemsConfig, BeforeValidator(_systems)] | None = Field(
        None, description="What the steps are done for, each; absent: each step is done once."
    )
    on_failure: OnFailure | None = Field(
        None,
        description="What becomes of a system when a step has failed for it; absent: what the"
        " step's study says.",
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
