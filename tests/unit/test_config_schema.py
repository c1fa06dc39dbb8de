"""JSON Schema of both files."""

from __future__ import annotations

import json

import pytest

from motoko.config import StudyConfig, WorkflowConfig, read_study, study_schema, workflow_schema


def test_workflow_schema_has_every_key_with_a_description():
    schema = workflow_schema()

    assert set(schema["properties"]) == set(WorkflowConfig.known_keys())
    assert all(entry["description"] for entry in schema["properties"].values())
    assert schema["required"] == ["task_managers"]
    assert schema["anyOf"] == [{"required": ["orchestrator"]}, {"required": ["pipeline"]}]
    assert list(schema["patternProperties"]) == ["^.+_options$"]
    assert schema["additionalProperties"] is True
    json.dumps(schema)


def test_study_schema_has_every_key_with_a_description():
    schema = study_schema()

    assert set(schema["properties"]) == set(StudyConfig.known_keys())
    assert all(entry["description"] for entry in schema["properties"].values())
    assert schema["required"] == ["study", "job"]
    assert schema["properties"]["completion"]["enum"] == ["exit", "explicit", None]
    assert schema["properties"]["nproc"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
    }
    assert schema["properties"]["job_space"]["additionalProperties"] is True


def holds(schema, value, definitions):
    """Whether a value is one of a schema, as far as ours go."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    kinds = {
        "null": type(None), "string": str, "array": list, "object": dict, "boolean": bool,
        "integer": int, "number": (int, float),
    }  # fmt: skip
    types = schema.get("type", list(kinds))
    types = [types] if isinstance(types, str) else types
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not any(isinstance(value, kinds[kind]) for kind in types):
        return False
    if "anyOf" in schema:
        return any(holds(one, value, definitions) for one in schema["anyOf"])
    if value not in schema.get("enum", [value]):
        return False
    if is_number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, list):
        return all(holds(schema.get("items", {}), one, definitions) for one in value)
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        return all(
            holds(known[name], one, definitions) if name in known else others is not False
            for name, one in value.items()
        )
    return True


@pytest.mark.parametrize("schema", [workflow_schema(), study_schema()])
def test_defaults_are_what_the_schema_itself_allows(schema):
    definitions = schema["$defs"]
    entries = [
        (name, entry)
        for section in (schema, *definitions.values())
        for name, entry in section.get("properties", {}).items()
        if "default" in entry
    ]

    assert len(entries) > 3
    assert [n for n, e in entries if not holds(e, e["default"], definitions)] == []


def test_schema_of_a_study_knows_its_parameters(tmp_path):
    (tmp_path / "bd.yaml").write_text(
        "study: s\njob: {Size: float, points: list}\nrun: {remark: str}\n"
    )

    schema = study_schema(read_study(tmp_path))["properties"]

    number = {"type": ["number", "null"]}
    dimension = {"anyOf": [number, {"type": "array", "items": number}]}
    assert schema["job_space"]["additionalProperties"] is False
    assert schema["job_space"]["properties"] == {
        "size": dimension,
        "Size": dimension,
        "points": {"type": ["array", "null"]},
    }
    assert schema["run_params"]["additionalProperties"] is True
    assert schema["run_params"]["properties"]["remark"] == {"type": ["string", "null"]}
    assert schema["run_params"]["properties"]["nproc"] == {"type": ["integer", "null"]}


def test_schema_of_one_study_does_not_leak_into_another(tmp_path):
    (tmp_path / "bd.yaml").write_text("study: s\njob: {x: float}\n")

    study_schema(read_study(tmp_path))

    assert "properties" not in study_schema()["properties"]["job_space"]
