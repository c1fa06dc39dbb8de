"""The pages about what stands beside workflows: pipelines, systems, artifacts, batches."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel

from docs.generator.markdown import code, page, prose, table
from docs.generator.python_names import class_text, items
from motoko import artifacts, batch, pipeline, systems
from motoko.workflow import Workflow


def artifacts_page() -> str:
    """The page about artifact stores."""
    return page(
        "artifacts.md",
        ArtifactStore=class_text(artifacts.ArtifactStore),
        Artifact=_described(artifacts.Artifact),
        Problem=_described(artifacts.Problem),
        ToPut=_described(artifacts.ToPut),
    )


def systems_page() -> str:
    """The page about systems."""
    return page(
        "systems.md",
        SimSystem=_described(systems.SimSystem),
        SystemMeta=_described(systems.SystemMeta),
        functions=items(find_systems=systems.find_systems, read_systems=systems.read_systems),
    )


def batch_page() -> str:
    """The page about batches."""
    described = (batch.BatchJob, batch.BatchRunRecord, batch.BatchManifest)
    return page(
        "batch.md",
        BatchRunner=class_text(batch.BatchRunner),
        functions=items(find_jobs=batch.find_jobs),
        RunStatus=_values(batch.RunStatus),
        kinds=prose(batch.RobotKind.__mro__[1]),
        formats=", ".join(code(f"{kind.name} = {kind!s}") for kind in batch.MotionFormatKind),
        **{kind.__name__: _described(kind) for kind in described},
    )


def pipelines_page() -> str:
    """The page about pipelines."""
    return page(
        "pipelines.md",
        Step=_described(pipeline.Step),
        Pipeline=class_text(pipeline.Pipeline),
        ready=items(molecular_dynamics=pipeline.molecular_dynamics),
        picture=items(picture=pipeline.picture),
        run_pipeline=items(run_pipeline=Workflow.run_pipeline),
    )


def _described(kind: type) -> str:
    """What a class of named values is, its fields, and its members."""
    text, _, members = class_text(kind).partition("\n\n- ")
    parts = [text.strip("\n"), table(["field", "type", "default"], _fields(kind))]
    if members:
        parts.append(f"- {members}")
    return "\n\n".join(parts)


def _fields(kind: type) -> Iterator[list[str]]:
    annotations = inspect.get_annotations(kind)
    for name, default in _defaults(kind):
        yield [code(name), code(annotations[name]), default]


def _defaults(kind: type) -> Iterator[tuple[str, str]]:
    if issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            value = info.get_default(call_default_factory=True, validated_data={})
            yield name, "required" if info.is_required() else code(repr(value))
        return
    for field in dataclasses.fields(kind):
        has_factory = field.default_factory is not dataclasses.MISSING
        value: Any = field.default_factory() if has_factory else field.default
        yield field.name, "required" if value is dataclasses.MISSING else code(repr(value))


def _values(kind: type[Enum]) -> str:
    return ", ".join(code(f"{member.name} = {member.value!r}") for member in kind)
