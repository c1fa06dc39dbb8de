"""The pages about ``motoko.yaml`` and ``bd.yaml``, from the models that parse them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

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
from motoko.config.sections import Read, Section
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
        unit = ", seconds since 1970" if column.name in TIMES else ""
        meaning = column.meaning if column.is_shown else f"{column.meaning}; not shown"
        rows.append([code(column.name), column.type + unit, meaning])
    return table(["entry", "type", "meaning"], rows)


def _keys(model: type[Section], without_effect: frozenset[str]) -> str:
    hints = get_type_hints(model, include_extras=True)
    rows = [
        [
            code(key.name),
            next(_words(hints[key.name]), "anything"),
            _default(key),
            key.metadata["description"],
        ]
        for key in fields(model)
        if key.name not in without_effect
    ]
    made = table(["key", "value", "default", "meaning"], rows)
    idle = [name for name in model.known_keys() if name in without_effect]
    if not idle:
        return made
    names = ", ".join(map(code, idle))
    return f"{made}\n\nRead and checked, but without effect in this version: {names}."


def _default(key: Field[Any]) -> str:
    if key.default_factory is not MISSING:
        return ""
    if key.default is MISSING:
        return "required"
    is_usual = key.default in (None, ()) or repr(key.default) == "UNSET"
    return "" if is_usual else code(key.default)


def _words(hint: Any) -> Iterator[str]:
    """What a type accepts, in the words of its error message."""
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, Read):
            try:
                mark.read(object())
            except Refused as refused:
                yield refused.expected
    hint = getattr(hint, "__origin__", hint) if hasattr(hint, "__metadata__") else hint
    if get_origin(hint) is Literal:
        yield ", ".join(code(value) for value in get_args(hint))
        return
    for part in get_args(hint):
        if hasattr(part, "__metadata__"):
            yield from _words(part)
