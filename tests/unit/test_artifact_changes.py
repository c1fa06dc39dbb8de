"""How artifact stores change: at what cost, all or nothing, and nobody else's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motoko.artifacts import ArtifactStore, ToPut
from motoko.artifacts import manifest as manifest_module
from motoko.errors import ArtifactExists, ManifestUnreadable, PathTaken
from tests.unit.test_artifacts import full_disk, leftovers, source, store, text_file

__all__ = ["source", "store"]


def test_putting_one_writes_and_reads_no_other_anew(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = text_file(tmp_path), ArtifactStore(store.root)
    store.put_file(file, "first")
    for i in range(20):
        store.put_file(file, f"x{i}")
    n_listed = len(other.list_artifacts())
    worked_on: list[str] = []
    for name in ("to_json", "from_json"):
        monkeypatch.setattr(manifest_module, name, noted(name, worked_on))

    store.put_file(file, "y")
    other.put_file(file, "z")
    store.remove("first")

    assert n_listed == 21
    assert worked_on == ["to_json y", "from_json y", "to_json z", "from_json z"]
    assert len(store.list_artifacts()) == len(ArtifactStore(store.root).list_artifacts()) == 22


def noted(name: str, calls: list[str]) -> Callable[[Any], Any]:
    """A function of the manifest's, of whose calls is noted which artifact they were for."""
    called = getattr(manifest_module, name)

    def note(given: Any) -> Any:
        facts = given if isinstance(given, dict) else vars(given)
        calls.append(f"{name} {facts['name']}")
        return called(given)

    return note


def test_what_replaces_takes_the_place_of_what_has_the_name(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    store.put_file(text_file(tmp_path), "x")
    store.put_dir(source, "tree")

    store.put_file(text_file(tmp_path, "other"), "x", run="mult.2", replaces=True)
    store.put_file(text_file(tmp_path, "moved"), "x", "y/z", replaces=True)
    (source / "a.txt").write_text("new")
    store.put_dir(source, "tree", replaces=True)
    store.put_dir(source, "x", "y/z", replaces=True)

    assert [(a.name, a.path) for a in store.list_artifacts()] == [
        ("tree", "tree"),
        ("x", "y/z"),
    ]
    assert (store.path("tree") / "a.txt").read_text() == "new"
    assert not (store.root / "x").exists()
    assert (store.verify(), leftovers(store)) == ([], [])


def test_what_was_to_be_replaced_stays_when_that_fails(
    store: ArtifactStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_file(text_file(tmp_path), "x")
    store.put_dir(source, "tree")
    before = store.list_artifacts()
    puts = [
        lambda: store.put_file(text_file(tmp_path, "other"), "x", replaces=True),
        lambda: store.put_file(text_file(tmp_path, "other"), "tree", replaces=True),
        lambda: store.put_dir(source, "tree", "elsewhere", replaces=True),
    ]

    for place in ("motoko.artifacts.manifest.replace_file", "motoko.artifacts.store.copy_file"):
        monkeypatch.setattr(place, full_disk)
        monkeypatch.setattr("motoko.artifacts.content.copy_file", full_disk)
        for put in puts:
            with pytest.raises(OSError, match="full"):
                put()
        monkeypatch.undo()

    assert store.list_artifacts() == before
    assert (store.verify(), leftovers(store)) == ([], [])


def test_many_are_put_with_one_save_and_those_that_cannot_are_named(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = text_file(tmp_path)
    store.put_file(text_file(tmp_path, "old"), "old")
    file.write_text("new")
    monkeypatch.setattr("motoko.artifacts.store._TOGETHER_S", 1e9)  # on a slow machine, too
    saved: list[int] = []
    write = manifest_module.Manifest.write
    monkeypatch.setattr(
        manifest_module.Manifest,
        "write",
        lambda own, contents: (saved.append(len(contents.artifacts)), write(own, contents)),
    )

    names = ["old", *(f"x{i}" for i in range(9)), "x0", "old/below", "x1/below"]
    things = [ToPut(file, name, {"n": 1}, "mult.1") for name in names]
    refused = store.put_all([*things, ToPut(tmp_path / "none", "none", {}, None)])

    assert {name: type(error) for name, error in refused.items()} == {
        "x0": ArtifactExists,
        "old/below": PathTaken,
        "x1/below": PathTaken,
        "none": FileNotFoundError,
    }
    assert saved == [10]
    assert store.path("old").read_text() == "new"
    assert store.list_artifacts()[-1].metadata == {"n": 1}
    assert (store.verify(), leftovers(store)) == ([], [])


def test_what_comes_to_lie_at_the_place_meanwhile_is_left_alone(
    store: ArtifactStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def come(point: str) -> None:
        if point == "artifacts.intended":
            (store.root / "x").write_text("somebody's own")

    monkeypatch.setattr("motoko.artifacts.changes.reached", come)
    for put, given in ((store.put_file, text_file(tmp_path)), (store.put_dir, source)):
        with pytest.raises(PathTaken):
            put(given, "x")
        assert (store.root / "x").read_text() == "somebody's own"
        (store.root / "x").unlink()

    assert store.list_artifacts() == []
    assert leftovers(store) == []


def test_removal_that_fails_has_not_happened(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_file(text_file(tmp_path), "x")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr("motoko.artifacts.manifest.replace_file", full_disk)
        store.remove("x")

    assert [a.name for a in store.list_artifacts()] == ["x"]
    assert store.verify() == []


def test_metadata_that_were_given_out_are_the_readers_own(
    store: ArtifactStore, tmp_path: Path
) -> None:
    made = store.put_file(text_file(tmp_path), "x", metadata={"n": [1], "m": {"k": 1}})
    for artifact in (made, *store.list_artifacts()):
        artifact.metadata["n"].append(2)
        artifact.metadata["m"]["k"] = 3
    store.put_file(text_file(tmp_path), "y")

    for look in (store, ArtifactStore(store.root)):
        assert look.list_artifacts()[0].metadata == {"n": [1], "m": {"k": 1}}


def test_two_of_one_name_are_no_manifest(store: ArtifactStore, tmp_path: Path) -> None:
    store.put_file(text_file(tmp_path), "x")
    text = store.manifest_file.read_text()
    line = text.splitlines()[3]
    store.manifest_file.write_text(text.replace(line, f"{line},\n{line}"))

    with pytest.raises(ManifestUnreadable, match="two artifacts have the name 'x'"):
        ArtifactStore(store.root).list_artifacts()
