"""Which files of a directory are inputs of a batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from motoko.batch import find_jobs
from motoko.errors import BatchMistake


def made(top: Path, *names: str) -> None:
    """Empty files of these names."""
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()


def test_what_lies_in_an_output_directory_inside_is_no_input(tmp_path: Path) -> None:
    made(tmp_path, "clips/a.bvh", "out/clips/a.bvh", "out.bvh")

    jobs = find_jobs(tmp_path, tmp_path / "out", "**/*.bvh")

    assert [job.id for job in jobs] == ["clips/a.bvh", "out.bvh"]


def test_an_output_directory_above_takes_nothing_away(tmp_path: Path) -> None:
    made(tmp_path, "out/clips/a.bvh")

    jobs = find_jobs(tmp_path / "out/clips", tmp_path / "out", "*.bvh", ".npz")

    assert [(job.id, job.output) for job in jobs] == [("a.bvh", tmp_path / "out/a.npz")]


def test_outputs_beside_their_inputs_are_no_inputs(tmp_path: Path) -> None:
    made(tmp_path, "a.bvh", "a.npz", "b.bvh", "b.npz.partial")

    jobs = find_jobs(tmp_path, tmp_path, "*", ".npz")

    assert [job.id for job in jobs] == ["a.bvh", "b.bvh"]


@pytest.mark.parametrize("input_dir", [".", None])
def test_a_file_that_would_be_its_own_output_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input_dir: str | None
) -> None:
    made(tmp_path, "a.bvh")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BatchMistake, match="the output would be the input"):
        find_jobs(input_dir or tmp_path, tmp_path, "*")


def test_a_name_that_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    made(tmp_path, "a.bvh", os.fsdecode(b"b\xff.bvh"))

    with pytest.raises(BatchMistake, match=r"b\\xff\.bvh.*not UTF-8"):
        find_jobs(tmp_path, tmp_path / "out", "*.bvh")


def test_what_is_written_down_of_a_batch_is_no_input(tmp_path: Path) -> None:
    made(tmp_path, "a.bvh", "manifest.json", ".manifest.json.journal", "mine.json")
    made(tmp_path, ".0123456789abcdef.begun")
    made(tmp_path, "manifest.motoko/motoko.yaml", "manifest.motoko/jobs/bd.yaml")

    usual = find_jobs(tmp_path, tmp_path, "**/*", ".npz")
    other = find_jobs(tmp_path, tmp_path, "**/*", ".npz", manifest_path=tmp_path / "mine.json")

    assert [job.id for job in usual] == ["a.bvh", "mine.json"]
    assert "mine.json" not in {job.id for job in other}
    assert "manifest.json" in {job.id for job in other}
