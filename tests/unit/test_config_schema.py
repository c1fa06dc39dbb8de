"""JSON Schema of both files."""

from __future__ import annotations

import json

from motoko.config import StudyConfig, WorkflowConfig, read_study, study_schema, workflow_schema


def test_workflow_schema_has_every_key_with_a_description():
    schema = workflow_schema()

    assert set(schema["properties"]) == set(WorkflowConfig.model_fields)
    assert all(entry["description"] for entry in schema["properties"].values())
    assert schema["required"] == ["task_managers"]
    assert schema["anyOf"] == [{"required": ["orchestrator"]}, {"required": ["pipeline"]}]
    assert list(schema["patternProperties"]) == ["^.+_options$"]
    assert schema["additionalProperties"] is True
    json.dumps(schema)


def test_study_schema_has_every_key_with_a_description():
    schema = study_schema()

    assert set(schema["properties"]) == set(StudyConfig.model_fields)
    assert all(entry["description"] for entry in schema["properties"].values())
    assert schema["required"] == ["study", "job"]
    assert schema["properties"]["completion"]["enum"] == ["exit", "explicit", None]
    assert schema["properties"]["nproc"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
    }
    assert schema["properties"]["job_space"]["additionalProperties"] is True


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
