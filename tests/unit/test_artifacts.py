"""Artifact stores: what each name promises."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from motoko.artifacts import ArtifactStore, Problem, existing_store
from motoko.artifacts import store as store_module
from motoko.durable import locked
from motoko.errors import (
    ArtifactError,
    ArtifactExists,
    ArtifactNotFound,
    ArtifactsDamaged,
    ArtifactStoreNotFound,
    ManifestUnreadable,
    PathOutside,
    PathTaken,
    StoreBusy,
    UnknownArchive,
)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a file, a directory, an empty one and links."""
    directory = tmp_path / "source"
    (directory / "deep" / "empty").mkdir(parents=True)
    (directory / "a.txt").write_text("a")
    (directory / "deep" / "b.bin").write_bytes(b"\0b")
    (directory / "latest").symlink_to("deep")
    return directory


def text_file(tmp_path: Path, text: str = "text") -> Path:
    file = tmp_path / "given.txt"
    file.write_text(text)
    return file


def leftovers(store: ArtifactStore) -> list[str]:
    """What lies in the store and is neither data, nor manifest, nor lock."""
    office = store.root / ".artifacts"
    return sorted(p.name for p in office.iterdir() if p.name != "lock")


def test_put_file_stores_a_copy_under_its_name(store: ArtifactStore, tmp_path: Path) -> None:
    file = text_file(tmp_path)

    made = store.put_file(file, "fe/result", metadata={"n": [1]}, run="mult.17")
    file.write_text("changed")

    assert store.path("fe/result") == store.root / "fe" / "result"
    assert store.path("fe/result").read_text() == "text"
    assert (made.name, made.path, made.kind, made.size) == ("fe/result", "fe/result", "file", 4)
    assert (made.metadata, made.run) == ({"n": [1]}, "mult.17")
    assert made.sha256 == "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    assert leftovers(store) == []


def test_dst_rel_says_where_data_come_to_lie(store: ArtifactStore, tmp_path: Path) -> None:
    store.put_file(text_file(tmp_path), "result", "out/./r.txt")

    assert store.path("result") == store.root / "out" / "r.txt"
    assert store.path("result").exists()


def test_put_dir_stores_all_that_is_in_it(store: ArtifactStore, source: Path) -> None:
    made = store.put_dir(source, "tree")

    tree = store.path("tree")
    assert (tree / "a.txt").read_text() == "a"
    assert (tree / "deep" / "b.bin").read_bytes() == b"\0b"
    assert (tree / "deep" / "empty").is_dir()
    assert (tree / "latest").readlink() == Path("deep")
    assert (made.kind, made.size) == ("dir", 3)


def test_link_to_a_file_outside_becomes_that_file(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    (source / "link").symlink_to(text_file(tmp_path))

    store.put_dir(source, "tree")

    assert not (store.path("tree") / "link").is_symlink()
    assert (store.path("tree") / "link").read_text() == "text"


@pytest.mark.parametrize("target", ["nowhere", "/", ".."])
def test_other_links_are_refused_and_leave_nothing(
    store: ArtifactStore, source: Path, target: str
) -> None:
    (source / "link").symlink_to(target)

    with pytest.raises(PathOutside, match="is a link to"):
        store.put_dir(source, "tree")

    assert store.list_artifacts() == []
    assert leftovers(store) == []
    assert not (store.root / "tree").exists()


def test_pipe_is_refused_and_not_waited_for(store: ArtifactStore, source: Path) -> None:
    os.mkfifo(source / "pipe")

    with pytest.raises(PathOutside, match="neither a file nor a directory"):
        store.put_file(source / "pipe", "pipe")
    with pytest.raises(PathOutside, match="neither a file nor a directory"):
        store.put_dir(source, "tree")


def test_name_that_is_taken_is_a_key_error_before_anything_is_copied(
    store: ArtifactStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_file(text_file(tmp_path), "x")
    monkeypatch.setattr(store_module, "copy_file", lambda *_: pytest.fail("copied"))
    monkeypatch.setattr(store_module, "copy_dir", lambda *_: pytest.fail("copied"))

    for put, given in ((store.put_file, text_file(tmp_path)), (store.put_dir, source)):
        with pytest.raises(KeyError) as caught:
            put(given, "x", "elsewhere")
        assert isinstance(caught.value, ArtifactExists)
        assert "'x' is there already" in str(caught.value)
    assert not (store.root / "elsewhere").exists()


def test_what_lies_at_the_path_already_is_left_alone(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    store.put_dir(source, "tree")
    (store.root / "mine.txt").write_text("mine")

    for path in ("tree", "tree/new", "mine.txt", "mine.txt/below"):
        with pytest.raises(PathTaken):
            store.put_file(text_file(tmp_path), "x", path)

    assert (store.root / "mine.txt").read_text() == "mine"
    assert store.verify() == []


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", "", ".", "a\0", "manifest.json", ".artifacts/lock"]
)
def test_path_that_would_leave_the_root_is_refused(
    store: ArtifactStore, source: Path, tmp_path: Path, path: str
) -> None:
    with pytest.raises(PathOutside):
        store.put_file(text_file(tmp_path), "x", path)
    with pytest.raises(PathOutside):
        store.put_dir(source, "x", path)

    assert not (tmp_path / "x").exists()
    assert store.list_artifacts() == []


def test_link_on_the_disk_does_not_lead_out_of_the_root(
    store: ArtifactStore, tmp_path: Path
) -> None:
    store.put_file(text_file(tmp_path), "d/x")
    outside = tmp_path / "outside"
    (store.root / "d").rename(outside)
    (store.root / "d").symlink_to(outside)

    for use in (store.path, store.open, store.remove):
        with pytest.raises(PathOutside, match="through a link"):
            use("x" if use is None else "d/x")
    with pytest.raises(PathOutside, match="through a link"):
        store.put_file(text_file(tmp_path), "d/y")
    assert [p.what for p in store.verify()] == ["changed"]
    assert (outside / "x").exists()


def test_directory_that_holds_the_store_is_refused(
    store: ArtifactStore, tmp_path: Path
) -> None:
    with pytest.raises(PathOutside, match="holds the store"):
        store.put_dir(tmp_path, "all")


def test_open_reads_text_or_bytes_and_writes_nothing(
    store: ArtifactStore, tmp_path: Path
) -> None:
    store.put_file(text_file(tmp_path, "ü"), "x")

    with store.open("x") as text, store.open("x", "rb") as content:
        assert (text.read(), content.read()) == ("ü", "ü".encode())
    with pytest.raises(ValueError, match="mode 'w'"):
        store.open("x", "w")  # type: ignore[arg-type]


def test_remove_takes_the_data_away_and_frees_the_name(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    store.put_dir(source, "x", "deep/er/x")

    store.remove("x")

    assert store.list_artifacts() == []
    assert not (store.root / "deep").exists()
    assert leftovers(store) == []
    store.put_file(text_file(tmp_path), "x", "deep")
    assert store.verify() == []


def test_unknown_name_is_a_key_error_that_names_the_nearest(
    store: ArtifactStore, tmp_path: Path
) -> None:
    store.put_file(text_file(tmp_path), "results")

    for use in (store.path, store.open, store.remove):
        with pytest.raises(KeyError, match="did you mean 'results'") as caught:
            use("result")
        assert isinstance(caught.value, ArtifactNotFound)


def test_list_artifacts_is_sorted_by_name_and_takes_prefix_and_kind(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    for name in ("fe/b", "a", "fe/a"):
        store.put_file(text_file(tmp_path), name)
    store.put_dir(source, "fe/tree")

    def names(**which: str) -> list[str]:
        return [artifact.name for artifact in store.list_artifacts(**which)]

    assert names() == ["a", "fe/a", "fe/b", "fe/tree"]
    assert names(prefix="fe/") == ["fe/a", "fe/b", "fe/tree"]
    assert names(kind="dir") == ["fe/tree"]
    assert names(prefix="fe/", kind="file") == ["fe/a", "fe/b"]
    with pytest.raises(ValueError, match="expected 'file' or 'dir'"):
        names(kind="directory")


def test_verify_names_what_is_missing_or_changed(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    for name in ("good", "lost", "other", "kind"):
        store.put_file(text_file(tmp_path), name)
    for name in ("tree", "added", "moved", "link"):
        store.put_dir(source, name)
    store.path("lost").unlink()
    store.path("other").write_text("tex!")
    store.path("kind").unlink()
    store.path("kind").mkdir()
    (store.path("added") / "new").touch()
    (store.path("moved") / "a.txt").rename(store.path("moved") / "b.txt")
    (store.path("link") / "latest").unlink()
    (store.path("link") / "latest").symlink_to("deep/empty")

    found = store.verify()

    assert {p.name: p.what for p in found} == {
        "added": "changed",
        "kind": "changed",
        "link": "changed",
        "lost": "missing",
        "moved": "changed",
        "other": "changed",
    }
    assert found[0] == Problem("added", store.root / "added", "changed")


def test_rebase_gives_a_view_that_shares_the_manifest(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    store.put_dir(source, "tree")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store.path("tree").rename(elsewhere / "tree")

    view = store.rebase(elsewhere)
    view.put_file(text_file(tmp_path), "x")

    assert view.manifest_file == store.manifest_file
    assert view.path("tree") == elsewhere / "tree"
    assert view.verify() == []
    assert [a.name for a in store.list_artifacts()] == ["tree", "x"]
    assert [(p.name, p.what) for p in store.verify()] == [("tree", "missing"), ("x", "missing")]
    view.remove("x")
    assert [a.name for a in store.list_artifacts()] == ["tree"]
    assert not (elsewhere / "manifest.json").exists()


def test_copy_to_copies_the_data_too(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    store.put_dir(source, "tree", metadata={"a": 1}, run="mult.1")
    store.put_file(text_file(tmp_path), "x", "deep/x")

    copied = store.copy_to(tmp_path / "copy")
    store.remove("x")

    assert copied.root == tmp_path / "copy"
    assert copied.verify() == []
    assert [a.name for a in copied.list_artifacts()] == ["tree", "x"]
    assert copied.list_artifacts()[0] == store.list_artifacts()[0]


def test_copy_to_goes_on_where_it_was_interrupted_and_refuses_damage(
    store: ArtifactStore, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        store.put_file(text_file(tmp_path), name)
    store.path("b").write_text("damaged")

    with pytest.raises(ArtifactsDamaged, match="b is changed"):
        store.copy_to(tmp_path / "copy")
    store.path("b").unlink()
    with pytest.raises(ArtifactsDamaged, match="b is missing"):
        store.copy_to(tmp_path / "copy")
    store.path("b").write_text("text")
    copied = store.copy_to(tmp_path / "copy")

    assert copied.list_artifacts() == store.list_artifacts()
    assert copied.verify() == []
    copied.remove("a")
    copied.put_file(text_file(tmp_path, "another"), "a")
    with pytest.raises(ArtifactExists):
        store.copy_to(tmp_path / "copy")


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.xz"])
def test_exported_archive_is_a_store_where_it_is_unpacked(
    store: ArtifactStore, source: Path, tmp_path: Path, suffix: str
) -> None:
    store.put_dir(source, "tree")
    store.put_file(text_file(tmp_path), "x", run="mult.1")

    written = store.export(tmp_path / f"results{suffix}")
    subprocess.run(["tar", "xf", written], cwd=tmp_path, check=True)

    other = ArtifactStore(tmp_path / "results")
    assert other.list_artifacts() == store.list_artifacts()
    assert other.verify() == []
    with tarfile.open(written) as tar:
        assert {(m.uid, m.uname) for m in tar.getmembers()[1:]} == {(0, "")}


def test_export_overwrites_nothing_and_refuses_damage(
    store: ArtifactStore, tmp_path: Path
) -> None:
    store.put_file(text_file(tmp_path), "x")
    archive = store.export(tmp_path / "results.tar")
    before = archive.read_bytes()

    with pytest.raises(FileExistsError):
        store.export(archive)
    store.path("x").write_text("other")
    with pytest.raises(ArtifactsDamaged, match="x is changed"):
        store.export(tmp_path / "new.tar")

    assert archive.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["given.txt", "results.tar", "store"]


def test_manifest_is_versioned_json(store: ArtifactStore, tmp_path: Path) -> None:
    store.put_file(text_file(tmp_path), "x", run="mult.1")

    document = json.loads(store.manifest_file.read_text())

    assert store.manifest_file == store.root / "manifest.json"
    assert document["format"] == 1
    assert [set(a) for a in document["artifacts"]] == [
        {"name", "path", "kind", "sha256", "size", "metadata", "run"}
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "is no manifest"),
        ('{"artifacts": []}', "has format None"),
        ('{"format": 2, "artifacts": []}', "has format 2, this Motoko reads format 1"),
        ('{"format": 1, "artifacts": [{"name": "x"}]}', "path, kind, sha256, size, kind"),
        (
            '{"format": 1, "artifacts": [{"name": "x", "path": "../x", "kind": "file",'
            ' "sha256": "", "size": 0}]}',
            "outside of the store",
        ),
    ],
)
def test_manifest_that_cannot_be_read_is_an_error_and_kept(
    store: ArtifactStore, tmp_path: Path, text: str, said: str
) -> None:
    store.root.mkdir()
    store.manifest_file.write_text(text)

    for use in (store.list_artifacts, lambda: store.put_file(text_file(tmp_path), "y")):
        with pytest.raises(ManifestUnreadable, match=said):
            use()

    assert store.manifest_file.read_text() == text


def test_metadata_that_json_cannot_hold_are_refused_before_anything_is_copied(
    store: ArtifactStore, tmp_path: Path
) -> None:
    for metadata, kind in (({"a": {1}}, TypeError), ({"a": float("nan")}, ValueError)):
        with pytest.raises(kind):
            store.put_file(text_file(tmp_path), "x", metadata=metadata)

    assert not store.root.exists()


def test_put_that_fails_at_the_manifest_has_not_happened(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_file(text_file(tmp_path), "x")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr("motoko.artifacts.manifest.replace_file", full_disk)
        store.put_file(text_file(tmp_path), "y")

    assert not (store.root / "y").exists()
    assert leftovers(store) == []
    store.put_file(text_file(tmp_path), "y")
    assert store.verify() == []


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "full")


def test_lock_that_nobody_gives_back_is_no_endless_wait(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_file(text_file(tmp_path), "x")
    monkeypatch.setattr("motoko.artifacts.changes._PATIENCE_S", 0.0)

    with (
        locked(store.root / ".artifacts" / "lock", 0),
        pytest.raises(StoreBusy) as caught,
    ):
        store.put_file(text_file(tmp_path), "y")

    assert caught.value.transient
    assert isinstance(caught.value, TimeoutError)
    assert [a.name for a in store.list_artifacts()] == ["x"]


def test_directory_without_manifest_is_no_existing_store(tmp_path: Path) -> None:
    with pytest.raises(ArtifactStoreNotFound, match=r"manifest\.json") as caught:
        existing_store(tmp_path)

    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, ArtifactError)


@pytest.mark.parametrize("kind", ["file", "dir"])
def test_data_that_change_while_they_are_exported_are_no_archive(
    store: ArtifactStore,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    store.put_file(source / "a.txt", "x") if kind == "file" else store.put_dir(source, "x")
    changing = store.path("x") if kind == "file" else store.path("x") / "a.txt"
    add = tarfile.TarFile.addfile

    def add_more(tar: tarfile.TarFile, member: tarfile.TarInfo, file: Any = None) -> None:
        add(tar, member, file)
        if member.name.endswith(("/x", "a.txt")) and member.isfile():
            with open(changing, "a") as more:
                more.write("b")

    monkeypatch.setattr(tarfile.TarFile, "addfile", add_more)
    with pytest.raises(ArtifactsDamaged, match="x is changed"):
        store.export(tmp_path / "results.tar")

    assert not list(tmp_path.glob("*results.tar*"))


@pytest.mark.parametrize("name", ["results", "results.zip", "results.tar.zst", "a.gz"])
def test_archive_whose_name_is_of_another_kind_is_refused(
    store: ArtifactStore, tmp_path: Path, name: str
) -> None:
    store.put_file(text_file(tmp_path), "x")

    with pytest.raises(UnknownArchive, match=r"\.tar, \.tar\.gz"):
        store.export(tmp_path / name)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["given.txt", "store"]


def test_archive_is_unpacked_into_a_directory_of_its_name(
    store: ArtifactStore, tmp_path: Path
) -> None:
    store.put_file(text_file(tmp_path), "x")

    written = store.export(tmp_path / "results.v2.tar.bz2")

    with tarfile.open(written) as tar:
        assert {Path(m.name).parts[0] for m in tar.getmembers()} == {"results.v2"}
