"""What is kept of files is on disk and whole, or leaves nothing."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from motoko.study import files
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


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read and copied."""
    names: list[str] = []
    copy = FileStore._copy

    def noted(store: FileStore, file: Path, found: os.stat_result) -> dict[str, object]:
        names.append(file.name)
        return copy(store, file, found)

    monkeypatch.setattr(FileStore, "_copy", noted)
    return names


def test_a_large_file_is_read_once_for_all_processes(
    store: FileStore, file: Path, monkeypatch: pytest.MonkeyPatch, copied: list[str]
) -> None:
    monkeypatch.setattr(files, "_LARGEST_TEXT", 2)

    # While it may still be written to, its time says too little to others.
    os.utime(file, ns=(far := time.time_ns() + 10**12, far))
    for _ in range(2):
        store.keep(file)
        FileStore(store.directory).keep(file)
    assert len(copied) == 3

    copied.clear()
    os.utime(file, ns=(1, 1))
    entries = [FileStore(store.directory).keep(file) for _ in range(3)]
    assert copied == ["code.py"]
    assert entries[0] == entries[1] == entries[2]

    # Another content, another mode, and a copy that is lost are all found out.
    file.write_text("print(2)\n")
    os.utime(file, ns=(1, 1))
    other = FileStore(store.directory).keep(file)
    assert store.path(other["hash"]).read_text() == "print(2)\n"
    file.chmod(0o755)
    assert FileStore(store.directory).keep(file)["mode"] == 0o755
    store.path(other["hash"]).unlink()
    assert FileStore(store.directory).keep(file)["hash"] == other["hash"]
    assert store.path(other["hash"]).read_text() == "print(2)\n"
    assert len(copied) == 4


def test_a_file_that_was_made_executable_is_given_so(store: FileStore, file: Path) -> None:
    file.chmod(0o600)
    before = store.keep(file)

    file.chmod(0o700)

    assert (before["mode"], store.keep(file)["mode"]) == (0o600, 0o700)


def test_a_file_that_is_written_again_within_a_tick_is_read_again(
    store: FileStore, file: Path, monkeypatch: pytest.MonkeyPatch, copied: list[str]
) -> None:
    moment = [0]
    monkeypatch.setattr(files.time, "monotonic_ns", lambda: moment[0])
    stat = Path.stat

    class Coarse:
        """As a kernel tells that counts the times of files in ticks, all of them in one."""

        st_mtime_ns = st_ctime_ns = time.time_ns() + 10**12

        def __init__(self, found: os.stat_result) -> None:
            self._found = found

        def __getattr__(self, name: str) -> object:
            return getattr(self._found, name)

    def coarse(path: Path, **options: bool) -> object:
        found = stat(path, **options)
        return Coarse(found) if path == file else found

    monkeypatch.setattr(Path, "stat", coarse)

    def kept() -> str:
        return store.path(store.keep(file)["hash"]).read_text()

    assert kept() == "print(1)\n"
    file.write_text("print(2)\n")
    assert kept() == "print(2)\n"
    file.write_text("print(3)\n")
    moment[0] = files._TICK_NS + 1
    assert kept() == "print(3)\n"

    # From now on another content has another time: it is not read for each run.
    monkeypatch.setattr(files, "content_digest", lambda path: 1 / 0)
    assert kept() == "print(3)\n"
    assert len(copied) == 3
