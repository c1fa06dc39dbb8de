"""Jobs, records, manifests and kinds of batches: what each name promises."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from motoko.batch import (
    BatchJob,
    BatchManifest,
    BatchRunRecord,
    MotionFormatKind,
    RobotKind,
    RunStatus,
)
from motoko.errors import BatchUnreadable

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class MyRobot(RobotKind):
    """Robots of ours."""

    ATLAS = "atlas"


class Theirs(StrEnum):
    """An ordinary enumeration of somebody else's."""

    HUMANOID = "humanoid"


def record(job_id: str = "a", **changes: Any) -> BatchRunRecord:
    facts: dict[str, Any] = {
        "job_id": job_id,
        "motion": Path("in"),
        "output": Path("out"),
        "status": RunStatus.SUCCESS,
        "started_at": NOON,
        "finished_at": NOON + timedelta(seconds=1.5),
    }
    return BatchRunRecord(**facts | changes)


def manifest(*records: BatchRunRecord) -> BatchManifest:
    return BatchManifest.from_records(records=records, total=len(records), created_at=NOON)


#: What is printed: the fields in their order, with their defaults where there are any.
PRINTED: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (
        BatchJob,
        {
            "id": ...,
            "motion": ...,
            "output": ...,
            "name": None,
            "motion_format": None,
            "robot": None,
            "config_path": None,
            "provenance": {},
        },
    ),
    (
        BatchRunRecord,
        {
            "job_id": ...,
            "motion": ...,
            "output": ...,
            "status": ...,
            "started_at": ...,
            "finished_at": ...,
            "message": "",
            "error_type": None,
            "provenance": {},
        },
    ),
    (
        BatchManifest,
        {
            "schema_version": 1,
            "created_at": ...,
            "updated_at": ...,
            "input_dir": None,
            "output_dir": None,
            "pattern": "",
            "total": 0,
            "success_count": 0,
            "skipped_count": 0,
            "failed_count": 0,
            "records": (),
        },
    ),
]


@pytest.mark.parametrize(("model", "printed"), PRINTED, ids=lambda value: str(value)[:40])
def test_models_have_the_printed_fields_and_defaults(
    model: type[BaseModel], printed: dict[str, Any]
) -> None:
    fields = {
        name: ... if info.is_required() else info.get_default(call_default_factory=True)
        for name, info in model.model_fields.items()
    }

    assert fields == printed
    assert list(fields) == list(printed)
    assert model.model_config == {"arbitrary_types_allowed": True}


def test_run_status_has_the_four_printed_members() -> None:
    assert [status.value for status in RunStatus] == ["success", "partial", "failed", "skipped"]


def test_duration_s_is_in_seconds() -> None:
    assert record().duration_s == 1.5


@pytest.mark.parametrize(
    "given",
    [
        datetime(2026, 1, 2, 13, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 1, 2, 12),
        "2026-01-02T12:00:00",
        "2026-01-02T14:00:00+02:00",
    ],
)
def test_times_are_in_utc_whatever_zone_they_are_given_in(given: Any) -> None:
    made = record(started_at=given)

    assert made.started_at == NOON
    assert made.started_at.tzinfo == UTC
    assert json.loads(made.model_dump_json())["started_at"] == "2026-01-02T12:00:00Z"


def test_from_records_counts_and_keeps_the_order() -> None:
    records = [
        record("b"),
        record("a", status="failed"),
        record("d", status="skipped"),
        record("c", status="partial"),
        record("e"),
    ]

    made = BatchManifest.from_records(
        records=iter(records),
        total=9,
        created_at=NOON,
        input_dir=Path("in"),
        output_dir=Path("out"),
        pattern="*.bvh",
    )

    assert [r.job_id for r in made.records] == ["b", "a", "d", "c", "e"]
    assert (made.success_count, made.failed_count, made.skipped_count) == (2, 1, 1)
    assert (made.total, made.schema_version, made.created_at) == (9, 1, NOON)
    assert (made.input_dir, made.output_dir, made.pattern) == (Path("in"), Path("out"), "*.bvh")
    assert made.updated_at.tzinfo == UTC
    assert made.updated_at > NOON


def test_records_by_id_finds_each_record_by_its_job() -> None:
    made = manifest(record("a"), record("b"))

    assert made.records_by_id() == {"a": made.records[0], "b": made.records[1]}


def test_save_json_and_load_give_back_the_same(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "manifest.json"
    made = manifest(record("a", provenance={"n": [1, {"x": None}]}), record("ü\n"))

    assert made.save_json(file) == file
    assert BatchManifest.load(file) == made
    assert BatchManifest.load(str(file)) == made
    assert json.loads(file.read_text())["records"][1]["job_id"] == "ü\n"
    assert [p.name for p in file.parent.iterdir()] == ["manifest.json"]
    assert BatchManifest.load(manifest().save_json(file)).records == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no manifest of a batch"),
        ("[]", "is no manifest of a batch"),
        ('{"created_at": "x"}', "created_at"),
        ('{"schema_version": 2}', "has version 2, this Motoko reads version 1"),
    ],
)
def test_load_says_what_is_wrong_with_a_file(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(text)

    with pytest.raises(BatchUnreadable, match=said) as caught:
        BatchManifest.load(file)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(FileNotFoundError):
        BatchManifest.load(tmp_path / "none")


@pytest.mark.parametrize("kind", [MotionFormatKind, RobotKind])
def test_kinds_take_any_text_and_are_strings(kind: type[RobotKind]) -> None:
    value = kind("my own")

    assert (value, value.value, value.name) == ("my own", "my own", None)
    assert isinstance(value, kind)
    assert kind("my own") == value
    assert pickle.loads(pickle.dumps(value)) == value
    for wrong in ("", 3):
        with pytest.raises(ValueError, match="expected text"):
            kind(wrong)  # type: ignore[arg-type]


def test_named_members_of_a_kind_are_found_by_value() -> None:
    assert MotionFormatKind("bvh") is MotionFormatKind.BVH
    assert MotionFormatKind.BVH.name == "BVH"  # type: ignore[attr-defined]
    assert MotionFormatKind.BVH in list(MotionFormatKind)
    assert "fbx" in MotionFormatKind
    assert "atlas" not in MotionFormatKind


def test_users_extend_kinds_with_members_of_their_own() -> None:
    assert isinstance(MyRobot.ATLAS, RobotKind)
    assert MyRobot("atlas") is MyRobot.ATLAS
    assert list(MyRobot) == ["atlas"]
    assert list(RobotKind) == []
    assert RobotKind("atlas") == MyRobot.ATLAS
    assert repr(MyRobot.ATLAS) == "<MyRobot.ATLAS: 'atlas'>"
    assert pickle.loads(pickle.dumps(MyRobot.ATLAS)) is MyRobot.ATLAS


def test_jobs_take_members_of_users_and_plain_text() -> None:
    def job(**kinds: Any) -> BatchJob:
        return BatchJob(id="a", motion=Path("i"), output=Path("o"), **kinds)

    own = job(robot=MyRobot.ATLAS, motion_format="bvh")
    other = job(robot=Theirs.HUMANOID, motion_format=MotionFormatKind("mine"))

    assert own.robot is MyRobot.ATLAS
    assert own.motion_format is MotionFormatKind.BVH
    assert other.robot == RobotKind("humanoid")
    for made in (own, other):
        assert BatchJob.model_validate_json(made.model_dump_json()) == made
        assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(ValidationError):
        job(robot=3)


@pytest.mark.slow
def test_manifest_with_members_of_users_loads_where_nobody_knows_them(tmp_path: Path) -> None:
    made = manifest(record(provenance={"robot": MyRobot.ATLAS, "format": Theirs.HUMANOID}))
    file = made.save_json(tmp_path / "manifest.json")
    program = (
        "import sys; from motoko.batch import BatchManifest, RobotKind\n"
        "found = BatchManifest.load(sys.argv[1]).records[0].provenance\n"
        "print(RobotKind(found['robot']) == 'atlas', found['format'])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, file], capture_output=True, text=True, check=True
    )

    assert done.stdout == "True humanoid\n"
    assert BatchManifest.load(file) == made


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_jobs_have_a_schema_in_json_in_which_kinds_are_text(mode: Any) -> None:
    fields = BatchJob.model_json_schema(mode=mode)["properties"]

    for name in ("robot", "motion_format"):
        assert {"type": "string", "minLength": 1} in fields[name]["anyOf"]
