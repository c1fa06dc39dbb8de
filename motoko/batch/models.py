"""Jobs of a batch, the record of each, and the manifest of them all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from motoko.batch.kinds import MotionFormatKind, RobotKind, RunStatus
from motoko.durable import replace_file
from motoko.errors import BatchUnreadable

SCHEMA_VERSION = 1


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


#: A time without a zone is taken for UTC.
UtcTime = Annotated[datetime, AfterValidator(_in_utc)]


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class BatchJob(BaseModel):
    """One input, the output that it shall become, and what the worker may want to know."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    id: str
    motion: Path
    output: Path
    name: str | None = None
    motion_format: MotionFormatKind | None = None
    robot: RobotKind | None = None
    config_path: Path | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)


class BatchRunRecord(BaseModel):
    """What became of a job. ``provenance`` is what its worker returned, or why it was skipped;
    that of a failed job has its ``traceback``."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    job_id: str
    motion: Path
    output: Path
    status: RunStatus
    started_at: UtcTime
    finished_at: UtcTime
    message: str = ""
    error_type: str | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """How long it took, in seconds."""
        return (self.finished_at - self.started_at).total_seconds()


class BatchManifest(BaseModel):
    """The records of a batch, in the order of its jobs, and how many ended how."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    schema_version: int = SCHEMA_VERSION
    created_at: UtcTime
    updated_at: UtcTime
    input_dir: Path | None = None
    output_dir: Path | None = None
    pattern: str = ""
    total: int = 0
    success_count: int = 0
    skipped_count: int = 0
    failed_count: int = 0
    records: tuple[BatchRunRecord, ...] = ()

    @classmethod
    def from_records(
        cls,
        *,
        records: Iterable[BatchRunRecord],
        total: int,
        created_at: datetime,
        input_dir: Path | None = None,
        output_dir: Path | None = None,
        pattern: str = "",
    ) -> Self:
        """The manifest of these records, counted, as of now. ``total`` is of all jobs."""
        kept = tuple(records)
        statuses = [record.status for record in kept]
        return cls(
            created_at=created_at,
            updated_at=now(),
            input_dir=input_dir,
            output_dir=output_dir,
            pattern=pattern,
            total=total,
            success_count=statuses.count(RunStatus.SUCCESS),
            skipped_count=statuses.count(RunStatus.SKIPPED),
            failed_count=statuses.count(RunStatus.FAILED),
            records=kept,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a manifest. Raises BatchUnreadable for another thing or a newer version."""
        content = Path(path).read_bytes()
        try:
            found = json.loads(content).get("schema_version", SCHEMA_VERSION)
            if found != SCHEMA_VERSION:
                why = f"has version {found!r}, this Motoko reads version {SCHEMA_VERSION}"
                raise BatchUnreadable(str(path), why)
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            why = f"is no manifest of a batch: {place}: {first['msg']}"
        except (ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, BatchUnreadable):
                raise
            why = f"is no manifest of a batch: {error}"
        raise BatchUnreadable(str(path), why)

    def save_json(self, path: str | os.PathLike[str]) -> Path:
        """Write it in one step, a line for each record; the path."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        records = [record.model_dump_json().encode() for record in self.records]
        replace_file(file, document(self, records))
        return file

    def records_by_id(self) -> dict[str, BatchRunRecord]:
        """The records by the id of their job."""
        return {record.job_id: record for record in self.records}


def document(
    manifest: BatchManifest, records: Iterable[bytes], others: Sequence[bytes] = ()
) -> list[bytes]:
    """A manifest in JSON, with these encoded records in the place of its own, and those of
    ``others`` that are none of its jobs."""
    head = manifest.model_dump_json(exclude={"records", "others"}).encode()
    beside = [b',"others":[\n', b",\n".join(others), b"\n]"] if others else []
    return [head[:-1], *beside, b',"records":[\n', b",\n".join(records), b"\n]}\n"]
