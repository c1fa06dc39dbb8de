"""A batch that another executor has begun: nobody else does what its runs may be doing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motoko.batch import BatchJob, BatchRunner
from motoko.batch.doing import do
from motoko.batch.study import StudyCrew
from motoko.errors import BatchRunning
from tests.support.batch_workers import copy, jobs_in


@pytest.fixture
def jobs(tmp_path: Path) -> list[BatchJob]:
    found = jobs_in(tmp_path, 2)
    for job in found:
        job.motion.write_text("x")
    return found


def hand_on(crew: StudyCrew, indexes: list[int], on_result: Callable[..., object]) -> None:
    """Give all jobs to the study, and be stopped."""
    crew._write_files({crew._jobs[i].id for i in indexes})
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", [None, "elsewhere"])
@pytest.mark.parametrize("other", [{}, {"executor": "motoko", "workflow_dir": "another"}])
@pytest.mark.parametrize("force", [False, True])
def test_jobs_whose_runs_may_go_on_are_left_to_those(
    tmp_path: Path,
    jobs: list[BatchJob],
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
    other: dict[str, Any],
    force: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(StudyCrew, "work", hand_on)
    manifest = tmp_path / "manifest.json"
    own = {"executor": "motoko", "workflow_dir": name}
    with pytest.raises(KeyboardInterrupt):
        BatchRunner.run(jobs, copy, manifest_path=manifest, **own)  # type: ignore[arg-type]

    for _ in range(2):
        with pytest.raises(BatchRunning, match=name or "manifest.motoko"):
            BatchRunner.run(jobs, copy, manifest_path=manifest, force=force, **other)

    assert not any(job.output.exists() for job in jobs)
    with pytest.raises(KeyboardInterrupt):  # but by the same call
        BatchRunner.run(jobs, copy, manifest_path=manifest, **own)  # type: ignore[arg-type]


def do_all(crew: StudyCrew, indexes: list[int], on_result: Callable[..., object]) -> None:
    """Do the jobs here and now."""
    for index in indexes:
        on_result(index, do(crew._jobs[index], copy, Path.cwd()))
    crew._close()


def test_jobs_that_a_call_does_not_have_are_left_to_one_that_has_them(
    tmp_path: Path, jobs: list[BatchJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "manifest.json"
    monkeypatch.setattr(StudyCrew, "work", hand_on)
    with pytest.raises(KeyboardInterrupt):
        BatchRunner.run(jobs, copy, manifest_path=manifest, executor="motoko")
    monkeypatch.setattr(StudyCrew, "work", do_all)

    BatchRunner.run(jobs[:1], copy, manifest_path=manifest, executor="motoko")

    other = tmp_path / "other.json"
    with pytest.raises(BatchRunning):
        BatchRunner.run(jobs, copy, manifest_path=other)
    assert BatchRunner.run(jobs[:1], copy, manifest_path=other).skipped_count == 1
    BatchRunner.run(jobs, copy, manifest_path=manifest, executor="motoko")
    assert BatchRunner.run(jobs, copy, manifest_path=other).skipped_count == 2
    assert not list(tmp_path.glob(".*"))
