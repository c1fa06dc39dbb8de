"""Files that are whole at every moment, and one writer at a time."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from motoko.durable import force_file_system, locked, replace_file


def test_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    aside = tmp_path / ".file.new"
    aside.write_text("left by somebody who died, and longer than what comes")
    seen = []

    def look() -> None:
        seen.append((file.read_text(), aside.read_text()))

    for is_forced in (True, False):
        replace_file(file, [b"ne", b"w"], is_forced=is_forced, between=look)

    assert seen == [("old", "new"), ("new", "new")]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_put_there_is_named_itself(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for file in (tmp_path / "missing" / "x.csv", tmp_path / "taken"):
        with pytest.raises(OSError, match=f"'{file}'$"):
            replace_file(file, [b"x"])


def test_only_one_is_inside_and_the_others_do_not_wait_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "lock"

    with (
        locked(file, 0),
        pytest.raises(TimeoutError, match="locked by another process"),
        locked(file, 0.02),
    ):
        pytest.fail("two are inside")
    with locked(file, 0):
        pass


def test_who_waited_for_a_file_that_was_removed_locks_the_one_that_is_there(
    tmp_path: Path,
) -> None:
    file = tmp_path / "lock"
    inside, same = threading.Event(), []

    def wait() -> None:
        with locked(file, 30) as fd:
            same.append(os.path.samestat(os.fstat(fd), file.stat()))
            inside.set()

    with locked(file, 0):
        waiting = threading.Thread(target=wait)
        waiting.start()
        file.unlink()
    waiting.join()

    assert inside.is_set()
    assert same == [True]


def test_lock_holds_on_the_machine_where_the_file_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, flock = tmp_path / "lock", fcntl.flock
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def without_locks(fd: int, operation: int) -> Any:
        if file.exists() and os.path.samestat(os.fstat(fd), file.stat()):
            raise OSError(errno.ENOLCK, "no locks")
        return flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", without_locks)

    with locked(file, 0), pytest.raises(TimeoutError), locked(file, 0.02):
        pytest.fail("two are inside")
    with locked(file, 0):
        pass


def test_no_other_file_system_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sync")

    force_file_system(tmp_path)


def test_a_disk_that_fails_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def syncfs(_fd: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syncfs=syncfs))

    with pytest.raises(OSError, match=str(tmp_path)) as raised:
        force_file_system(tmp_path)

    assert raised.value.errno == errno.EIO


def test_a_system_that_cannot_name_one_waits_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_waited = []
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    monkeypatch.setattr(os, "sync", lambda: n_waited.append(1))

    force_file_system(tmp_path)

    assert n_waited == [1]
