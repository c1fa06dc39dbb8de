"""The pages about ``motoko.yaml`` and ``bd.yaml``, from the models that parse them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from docs.generator.markdown import code, page, table
from motoko.columns import COLUMNS, TIMES
from motoko.config import (
    TYPES,
    FieldConfig,
    StudyConfig,
    TaskManagerConfig,
    WorkflowConfig,
)
from motoko.config.models import WITHOUT_EFFECT, WITHOUT_EFFECT_IN_STUDY
from motoko.config.pipelines import PipelineConfig, StepConfig, SystemsConfig
from motoko.config.sentinels import SentinelsConfig
from motoko.config.values import EXPECTED, Refused


def workflow_page() -> str:
    """The page about ``motoko.yaml``."""
    return page(
        "motoko-yaml.md",
        keys=_keys(WorkflowConfig, WITHOUT_EFFECT),
        task_manager=_keys(TaskManagerConfig, frozenset()),
        pipeline=_keys(PipelineConfig, frozenset()),
        step=_keys(StepConfig, frozenset()),
        systems=_keys(SystemsConfig, frozenset()),
    )


def study_page() -> str:
    """The page about ``bd.yaml``."""
    return page(
        "bd-yaml.md",
        keys=_keys(StudyConfig, WITHOUT_EFFECT_IN_STUDY),
        field=_keys(FieldConfig, frozenset()),
        types=table(["type", "takes"], [[code(kind), EXPECTED[kind]] for kind in TYPES]),
        entries=_entries(),
        sentinels=_keys(SentinelsConfig, frozenset()),
    )


def _entries() -> str:
    rows = []
    for column in COLUMNS:
        if column.is_shown:
            unit = ", seconds since 1970" if column.name in TIMES else ""
            rows.append([code(column.name), column.type + unit, column.meaning])
    return table(["entry", "type", "meaning"], rows)


def _keys(model: type[BaseModel], without_effect: frozenset[str]) -> str:
    rows = [
        [code(name), _allowed(info), _default(info), _description(info)]
        for name, info in model.model_fields.items()
        if name not in without_effect
    ]
    made = table(["key", "value", "default", "meaning"], rows)
    idle = [name for name in model.model_fields if name in without_effect]
    if not idle:
        return made
    names = ", ".join(map(code, idle))
    return f"{made}\n\nRead and checked, but without effect in this version: {names}."


def _description(info: FieldInfo) -> str:
    return info.description or ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    return "" if value in (None, (), {}) or repr(value) == "UNSET" else code(value)


def _allowed(info: FieldInfo) -> str:
    return next(_words(info.annotation, info.metadata), "anything")


def _words(annotation: Any, metadata: list[Any]) -> Iterator[str]:
    """What a type accepts, in the words of its error message."""
    for mark in metadata:
        if isinstance(mark, BeforeValidator):
            try:
                mark.func(object())  # type: ignore[call-arg]
            except Refused as refused:
                yield refused.expected
    if get_origin(annotation) is Literal:
        yield ", ".join(code(value) for value in get_args(annotation))
        return
    for part in get_args(annotation):
        if part is not type(None) and hasattr(part, "__metadata__"):
            yield from _words(part.__origin__, list(part.__metadata__))
