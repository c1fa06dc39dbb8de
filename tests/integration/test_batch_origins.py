"""What an output was made of: names alone do not make an input the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from motoko.batch import BatchManifest, BatchRunner, find_jobs
from motoko.errors import BatchMistake
from tests.support.batch_workers import copy


def make_inputs(place: Path, prefix: str = "") -> Path:
    """Two inputs in a directory."""
    place.mkdir(parents=True)
    for name in ("a.bvh", "b.bvh"):
        (place / name).write_text(f"{prefix}{name}")
    return place


def go(
    source: Path, target: Path, *, force: bool = False, pattern: str = "*.bvh"
) -> BatchManifest:
    """Each of them in capitals in another directory."""
    jobs = find_jobs(source, target, pattern)
    manifest = target / "manifest.json"
    return BatchRunner.run(jobs, copy, manifest_path=manifest, output_dir=target, force=force)


def test_outputs_of_other_inputs_are_refused_before_anything_is_changed(tmp_path: Path) -> None:
    one, two = make_inputs(tmp_path / "one"), make_inputs(tmp_path / "two", "other ")
    out = tmp_path / "out"
    go(one, out)
    before = {file: file.read_bytes() for file in out.iterdir()}

    with pytest.raises(BatchMistake, match=r"one/a\.bvh, not of .*two/a\.bvh \(and 1 more"):
        go(two, out)

    assert {file: file.read_bytes() for file in out.iterdir()} == before
    assert go(two, out, force=True).success_count == 2
    assert (out / "a.bvh").read_text() == "OTHER A.BVH"
    assert go(two, out).skipped_count == 2


def test_a_call_with_fewer_jobs_forgets_nothing_of_the_others(tmp_path: Path) -> None:
    one, two = make_inputs(tmp_path / "one"), make_inputs(tmp_path / "two", "other ")
    out = tmp_path / "out"
    go(one, out)
    for _ in range(2):
        made = go(one, out, pattern="a.bvh")

    assert [record.job_id for record in made.records] == ["a.bvh"]
    with pytest.raises(BatchMistake, match=r"one/b\.bvh, not of .*two/b\.bvh: have"):
        go(two, out, pattern="b.bvh")
    (out / "b.bvh").unlink()
    assert go(two, out, pattern="b.bvh").success_count == 1
    assert "others" in (out / "manifest.json").read_text()
    (out / "a.bvh").unlink()
    go(two, out, pattern="b.bvh")
    assert "others" not in (out / "manifest.json").read_text()


def test_inputs_that_hold_the_same_are_no_others(tmp_path: Path) -> None:
    one, two = make_inputs(tmp_path / "one"), make_inputs(tmp_path / "two")
    go(one, tmp_path / "out")

    made = go(two, tmp_path / "out")

    assert [record.message for record in made.records] == ["the output exists"] * 2


def test_outputs_of_inputs_that_are_gone_are_skipped_with_words(tmp_path: Path) -> None:
    one, out = make_inputs(tmp_path / "one"), tmp_path / "out"
    go(one, out)
    two = one.rename(tmp_path / "two")

    made = go(two, out)

    assert made.skipped_count == 2
    assert made.records[0].message == (
        f"the output exists, made of {one / 'a.bvh'}, which is not there any more"
    )
    assert made.records[0].provenance["made_of"] == str(one / "a.bvh")


@pytest.mark.parametrize("is_absolute", [True, False])
def test_inputs_and_outputs_that_were_renamed_together_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_absolute: bool
) -> None:
    make_inputs(tmp_path / "old" / "in")
    first = tmp_path / "old" if is_absolute else Path("old")
    monkeypatch.chdir(tmp_path)
    go(first / "in", first / "out")
    new = (tmp_path / "old").rename(tmp_path / "new")
    make_inputs(tmp_path / "old" / "in", "other ")
    monkeypatch.chdir(new)

    made = go(Path("in"), Path("out"))

    assert [record.message for record in made.records] == ["the output exists"] * 2


@pytest.mark.parametrize("is_absolute", [True, False])
def test_relative_inputs_of_another_directory_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_absolute: bool
) -> None:
    out = tmp_path / "out" if is_absolute else Path("..", "out")
    make_inputs(tmp_path / "one" / "in")
    make_inputs(tmp_path / "two" / "in", "other ")
    monkeypatch.chdir(tmp_path / "one")
    go(Path("in"), out)
    monkeypatch.chdir(tmp_path / "two")

    with pytest.raises(BatchMistake, match=r"one/in/a\.bvh, not of in/a\.bvh"):
        go(Path("in"), out)

    monkeypatch.chdir(tmp_path / "one")
    assert [record.message for record in go(Path("in"), out).records] == [
        "the output exists"
    ] * 2


def test_relative_inputs_of_a_directory_that_is_gone_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path("..", "out")
    one = make_inputs(tmp_path / "one" / "in").parent
    monkeypatch.chdir(one)
    go(Path("in"), out)
    monkeypatch.chdir(one.rename(tmp_path / "two"))

    made = go(Path("in"), out)

    assert made.records[0].provenance["made_of"] == str(one / "in" / "a.bvh")


@pytest.mark.parametrize("is_renamed", [True, False])
def test_relative_inputs_of_the_same_place_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_renamed: bool
) -> None:
    old = tmp_path / "old"
    make_inputs(old / "one" / "in")
    monkeypatch.chdir(old / "one")
    go(Path("in"), Path("..", "out"))
    new = old.rename(tmp_path / "new") if is_renamed else old
    monkeypatch.chdir(new / "one")

    made = go(Path("in"), Path("..", "out"))

    assert [record.message for record in made.records] == ["the output exists"] * 2


def test_output_put_there_by_hand_is_skipped_whatever_the_input(tmp_path: Path) -> None:
    one, two = make_inputs(tmp_path / "one"), make_inputs(tmp_path / "two", "other ")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("a.bvh", "b.bvh"):
        (out / name).write_text("by hand")

    first, second = go(one, out), go(two, out)

    assert first.skipped_count == second.skipped_count == 2
    assert {(out / name).read_text() for name in ("a.bvh", "b.bvh")} == {"by hand"}


def test_record_of_an_output_with_another_suffix_says_nothing_of_this_one(
    tmp_path: Path,
) -> None:
    one, out = make_inputs(tmp_path / "one"), tmp_path / "out"
    go(one, out)
    (out / "a.npz").write_text("by hand")
    jobs = find_jobs(make_inputs(tmp_path / "two", "other "), out, "*.bvh", ".npz")

    made = BatchRunner.run(jobs, copy, manifest_path=out / "manifest.json", output_dir=out)

    assert [record.status for record in made.records] == ["skipped", "success"]
    assert made.records[0].provenance == {"resumed": True}


def test_outputs_that_links_make_one_file_are_refused(tmp_path: Path) -> None:
    one, out = make_inputs(tmp_path / "one"), tmp_path / "out"
    out.mkdir()
    (out / "a.bvh").symlink_to("b.bvh")

    with pytest.raises(BatchMistake, match="have one output"):
        go(one, out)
