"""Copies of packed run directories are given up when they are many, or old."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from pathlib import Path

import pytest

from motoko.study import copies
from motoko.study.archive_file import Archive, add, open_archive
from motoko.study.copies import Keeper

HOUR = 3600.0
DEADLINE_S = 60.0


def make(directory: Path, name: str, age_s: float) -> Path:
    """A copy of 8 kB that was used last so long ago."""
    place = directory / "study" / "archive-1-abc" / name
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "file").write_bytes(os.urandom(8192))
    used = time.time() - age_s
    os.utime(place, (used, used))
    return place


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("study/*/*"))


def test_longest_unused_goes_when_all_together_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_BYTES", 3 * 8192)
    for hours in (2, 5, 3, 4):
        make(tmp_path, f"run-{hours}", hours * HOUR)

    Keeper(tmp_path).bound(time.time())

    assert left(tmp_path) == ["run-2", "run-3", "run-4"]


def test_what_was_just_used_stays_however_much_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_BYTES", 8192)
    make(tmp_path, "run-1", 2 * HOUR)
    make(tmp_path, "run-2", 0.0)
    make(tmp_path, "run-3", 60.0)

    Keeper(tmp_path).bound(time.time())

    assert left(tmp_path) == ["run-2", "run-3"]


def test_what_is_asked_for_while_somebody_looks_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_BYTES", 8192)
    asked_for = make(tmp_path, "run-3", 3 * HOUR)
    make(tmp_path, "run-2", 2 * HOUR)
    n_bytes = copies._n_bytes

    def asking(place: Path) -> int:
        os.utime(asked_for)
        return n_bytes(place)

    monkeypatch.setattr(copies, "_n_bytes", asking)
    Keeper(tmp_path).bound(time.time())

    assert left(tmp_path) == ["run-3"]


def test_two_threads_that_unpack_one_run_get_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run-1"
    directory.mkdir()
    for name in ("a", "b", "c"):
        (directory / name).write_text(name)
    with zipfile.ZipFile(tmp_path / "archive-1.zip", "w") as file:
        add(file, directory, "run-1")
    archive = open_archive(tmp_path / "archive-1.zip")
    is_half_done, has_other_begun = threading.Event(), threading.Event()
    extract_one = Archive._extract_one
    place = tmp_path / "copy"
    first = threading.Thread(target=archive.extract, args=(1, place))

    def in_turns(self: Archive, info: zipfile.ZipInfo, aside: Path) -> None:
        if threading.current_thread() is not first:
            has_other_begun.set()
            first.join(DEADLINE_S)
        elif info.filename.endswith("c"):
            is_half_done.set()
            assert has_other_begun.wait(DEADLINE_S)
        extract_one(self, info, aside)

    monkeypatch.setattr(Archive, "_extract_one", in_turns)
    first.start()
    assert is_half_done.wait(DEADLINE_S)
    archive.extract(1, place)

    assert not first.is_alive()
    assert sorted(os.listdir(place)) == ["a", "b", "c"]
    assert sorted(os.listdir(tmp_path)) == ["archive-1.zip", "copy", "run-1"]


def test_a_forked_process_reads_an_archive_by_itself(tmp_path: Path) -> None:
    directory = tmp_path / "run-1"
    directory.mkdir()
    content = os.urandom(1 << 17)  # more than is read ahead
    (directory / "a").write_bytes(content)
    file = tmp_path / "archive-1.zip"
    with zipfile.ZipFile(file, "w") as written:
        add(written, directory, "run-1")
        add(written, directory, "run-2")
    own = open_archive(file)._archive.fp
    assert own is not None
    place = os.lseek(own.fileno(), 0, os.SEEK_CUR)

    child = os.fork()
    if not child:
        open_archive(file).extract(1, tmp_path / "copy")
        os._exit(0)
    os.waitpid(child, 0)

    assert (tmp_path / "copy" / "a").read_bytes() == content
    assert os.lseek(own.fileno(), 0, os.SEEK_CUR) == place


def test_what_nobody_has_used_in_a_week_goes_however_little_it_is(tmp_path: Path) -> None:
    make(tmp_path, "run-1", 8 * 24 * HOUR)
    make(tmp_path, ".run-2.1234", 8 * 24 * HOUR)  # of one that was killed
    make(tmp_path, "run-3", 6 * 24 * HOUR)

    Keeper(tmp_path).bound(time.time())

    assert left(tmp_path) == ["run-3"]


def test_it_is_looked_once_an_hour_or_when_much_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_looks: list[float] = []
    monkeypatch.setattr(Keeper, "bound", lambda self, now: n_looks.append(now))
    monkeypatch.setattr(copies, "MOST_BYTES", 1000)
    keeper = Keeper(tmp_path)

    keeper.note(10)
    keeper.note(10)
    assert len(n_looks) == 1
    keeper.note(100)
    assert len(n_looks) == 2
    os.utime(tmp_path / "looked", (0, 0))
    keeper.note(10)
    assert len(n_looks) == 3
