"""What is kept of files is on disk and whole, or leaves nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from motoko.study.files import FileStore

Keep = Callable[[FileStore, Path], object]


def by_file(store: FileStore, file: Path) -> None:
    store.keep(file)


def by_content(store: FileStore, file: Path) -> None:
    store.keep_content(file.read_bytes())


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "files")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "code.py"
    found.write_text("print(1)\n")
    return found


@pytest.mark.parametrize("keep", [by_file, by_content])
def test_content_and_name_are_on_disk_before_it_counts_as_kept(
    store: FileStore, file: Path, monkeypatch: pytest.MonkeyPatch, keep: Keep
) -> None:
    forced: list[tuple[bool, bytes]] = []
    fsync = os.fsync

    def force(fd: int) -> None:
        name = Path(f"/proc/self/fd/{fd}").readlink()
        kept = [p for p in store.directory.iterdir() if not p.name.startswith(".")]
        forced.append((bool(kept), b"" if name.is_dir() else name.read_bytes()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", force)
    keep(store, file)

    assert forced == [(False, b"print(1)\n"), (True, b"")]


@pytest.mark.parametrize("keep", [by_file, by_content])
def test_what_cannot_be_kept_leaves_nothing_and_is_tried_again(
    store: FileStore, file: Path, monkeypatch: pytest.MonkeyPatch, keep: Keep
) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            keep(store, file)
        assert list(store.directory.iterdir()) == []
    keep(store, file)

    (kept,) = store.directory.iterdir()
    assert kept.read_text() == "print(1)\n"
