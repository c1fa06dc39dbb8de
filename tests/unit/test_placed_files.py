"""What runs are given is theirs alone: whatever they do with it, others get what was kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from motoko.launch.rundir import Kit
from motoko.study import files
from motoko.study.files import FileStore

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "files")


@pytest.fixture
def entry(store: FileStore, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "big.dat").write_bytes(CONTENT)
    return store.keep(tmp_path / "big.dat")


def run_dir(tmp_path: Path, name: str) -> Path:
    found = tmp_path / name
    found.mkdir()
    return found


def kit(store: FileStore, entry: dict[str, Any]) -> Kit:
    return Kit(store, {"exec": "launch.sh", "files": [entry]})


def test_a_script_that_makes_its_input_writable_changes_it_for_nobody_else(
    store: FileStore, entry: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    first, second = run_dir(tmp_path, "run-1"), run_dir(tmp_path, "run-2")
    files.place(store, entry, first)

    (first / "big.dat").chmod(0o600)
    with open(first / "big.dat", "r+b") as mine:
        mine.write(b"other")

    files.place(store, entry, second)
    assert (second / "big.dat").read_bytes() == CONTENT
    assert store.path(entry["hash"]).read_bytes() == CONTENT


@pytest.mark.parametrize("shares", [True, False])
def test_blocks_are_shared_where_the_file_system_can_do_that(
    store: FileStore,
    entry: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shares: bool,
) -> None:
    def ioctl(target: int, request: int, source: int) -> int:
        assert request == 0x40049409
        if not shares:
            raise OSError("Operation not supported")
        return os.write(target, b"shared with ") + os.write(target, os.read(source, 4))

    monkeypatch.setattr(files.fcntl, "ioctl", ioctl)
    files.place(store, entry, place := run_dir(tmp_path, "run-1"))

    expected = b"shared with " + CONTENT[:4] if shares else CONTENT
    assert (place / "big.dat").read_bytes() == expected
    assert (place / "big.dat").stat().st_mode & 0o777 == entry["mode"]


def test_a_kept_copy_that_was_changed_is_given_to_no_run(
    store: FileStore, entry: dict[str, Any], tmp_path: Path
) -> None:
    given = kit(store, entry)
    given.place(str(run_dir(tmp_path, "run-1")), {})
    assert given.altered == []

    kept = store.path(entry["hash"])
    kept.chmod(0o600)
    kept.write_bytes(b"other" + CONTENT[5:])

    given.place(str(run_dir(tmp_path, "run-2")), {})
    assert given.altered == ["big.dat"]
    assert not (tmp_path / "run-2" / "big.dat").exists()


def test_a_kept_copy_that_is_changed_while_it_is_copied_is_given_to_no_run(
    store: FileStore, entry: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = files.place

    def slow(store: FileStore, entry: dict[str, Any], place_dir: Path) -> None:
        kept = store.path(entry["hash"])
        kept.chmod(0o600)
        kept.write_bytes(b"other")
        place(store, entry, place_dir)

    monkeypatch.setattr(files, "place", slow)
    given = kit(store, entry)

    given.place(str(run_dir(tmp_path, "run-1")), {})

    assert given.altered == ["big.dat"]


def test_a_kept_copy_is_read_again_only_when_it_may_have_been_changed(
    store: FileStore, entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    digest = files.content_digest
    monkeypatch.setattr(files, "content_digest", lambda file: read.append(file) or digest(file))
    kept = store.path(entry["hash"])
    later = kept.stat().st_ctime_ns + 10**9
    monkeypatch.setattr(files.time, "time_ns", lambda: later)

    states = [store.proven(entry["hash"]) for _ in range(3)]
    kept.chmod(0o600)
    monkeypatch.setattr(files.time, "time_ns", lambda: kept.stat().st_ctime_ns)
    within_a_tick = [store.proven(entry["hash"]) for _ in range(2)]

    assert None not in states and None not in within_a_tick
    assert len(read) == 1 + 2
