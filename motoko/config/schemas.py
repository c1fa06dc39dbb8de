"""JSON Schema of both files, for completion and checks in an editor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from motoko.columns import RUN_ENTRIES
from motoko.config.fields import NAME_PATTERN
from motoko.config.models import FileConfig, StudyConfig, WorkflowConfig
from motoko.config.retry import Retry
from motoko.config.validation import adapter
from motoko.config.values import TYPES, UNSET

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VALUE: dict[str, dict[str, Any]] = {
    "float": {"type": "number"},
    "int": {"type": "integer"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "dict": {"type": "object"},
}
_OPTIONS = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "null"},
    ]
}


def workflow_schema() -> dict[str, Any]:
    """JSON Schema of ``motoko.yaml``."""
    schema = _file_schema(WorkflowConfig, "motoko.yaml")
    properties = schema["properties"]
    properties["task_managers"]["propertyNames"] = {"pattern": NAME_PATTERN}
    properties["task_managers"]["additionalProperties"] = {
        "anyOf": [properties["task_managers"]["additionalProperties"], {"type": "null"}]
    }
    schema["required"].remove("orchestrator")
    schema["anyOf"] = [{"required": ["orchestrator"]}, {"required": ["pipeline"]}]
    return schema


def study_schema(config: StudyConfig | None = None) -> dict[str, Any]:
    """JSON Schema of ``bd.yaml``; given a study, with its own parameters and their types."""
    schema = _file_schema(StudyConfig, "bd.yaml")
    properties, definitions = schema["properties"], schema["$defs"]
    short = {"enum": list(TYPES)}
    definitions["FieldConfig"] = {"anyOf": [short, definitions["FieldConfig"]]}
    for section in ("job", "run", "job_space", "run_space", "run_params"):
        properties[section]["type"] = ["object", "null"]
    if config is None:
        return schema
    jobs = {name: field.type for name, field in config.job.items()}
    runs = {**RUN_ENTRIES, **{name: field.type for name, field in config.run.items()}}
    properties["job_space"]["properties"] = _spelled(config, "job", jobs, is_space=True)
    properties["job_space"]["additionalProperties"] = False
    properties["run_space"]["properties"] = _spelled(config, "run", runs, is_space=True)
    properties["run_params"]["properties"] = _spelled(config, "run", runs, is_space=False)
    return schema


def _file_schema(model: type[FileConfig], name: str) -> dict[str, Any]:
    schema = adapter(model).json_schema()
    required = schema.get("required", [])
    usual: dict[str, Any] = {field.name: field.default for field in fields(model)}
    for key, entry in schema["properties"].items():
        entry.pop("title", None)
        if entry.get("default", UNSET) is None:
            del entry["default"]
        if isinstance(usual[key], Retry):
            entry["default"] = usual[key].as_data()
        if key not in required:
            schema["properties"][key] = _or_empty(entry)
    pattern = {"^.+_options$": _OPTIONS}
    return {"$schema": _DIALECT, **schema, "title": name, "patternProperties": pattern}


def _or_empty(entry: dict[str, Any]) -> dict[str, Any]:
    """The same, or nothing behind the colon."""
    kind = entry.get("type")
    if "enum" in entry:
        return {**entry, "type": ["string", "null"], "enum": [*entry["enum"], None]}
    if isinstance(kind, str):
        return {**entry, "type": [kind, "null"]}
    if "anyOf" in entry and {"type": "null"} not in entry["anyOf"]:
        return {**entry, "anyOf": [*entry["anyOf"], {"type": "null"}]}
    return entry


def _spelled(
    config: StudyConfig, section: str, types: Mapping[str, str], *, is_space: bool
) -> dict[str, Any]:
    """The schema of every name, also as the file spells it where it declares it."""
    written = config.get(section) or {}
    spellings = {name: name for name in types} | {name: name.lower() for name in written}
    return {
        spelling: _value_schema(types[name], is_space=is_space)
        for spelling, name in spellings.items()
    }


def _value_schema(kind: str, *, is_space: bool) -> dict[str, Any]:
    one = {**_VALUE[kind], "type": [_VALUE[kind]["type"], "null"]}
    if not is_space or kind == "list":
        return one
    return {"anyOf": [one, {"type": "array", "items": one}]}
