"""A database file ends in a whole transaction, whatever becomes of the one after it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64, z64

from motoko.errors import DatabaseLost
from motoko.store import layout
from motoko.store.database_file import DatabaseFile
from motoko.store.transaction_log import TransactionLog

FIRST = b"f" * 100_000
#: Less than what is gathered before it is written, and more.
SMALL, LARGE = b"j" * 3000, b"j" * 30_000


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DatabaseFile]:
    storage = DatabaseFile(str(tmp_path / "some.db"))
    commit(storage, 1, FIRST)
    yield storage
    storage.close()


def commit(storage: DatabaseFile, number: int, data: bytes) -> bytes:
    """Commit a new object, as a server does; the id of the transaction."""
    meta = TransactionMetaData()
    try:
        storage.tpc_begin(meta)
        storage.store(p64(number), z64, data, "", meta)
        storage.tpc_vote(meta)
        found: bytes = storage.tpc_finish(meta)
        return found
    except BaseException:
        storage.tpc_abort(meta)
        raise


@contextmanager
def no_space_from(position: int) -> Iterator[None]:
    """Let no file of this process grow beyond a byte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (position, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def size(storage: DatabaseFile) -> int:
    return os.stat(storage.getName()).st_size


@contextmanager
def no_cuts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nobody cut a file."""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refused)
        yield


@pytest.mark.parametrize("data", [SMALL, LARGE])
@pytest.mark.parametrize("n_bytes", [0, 1, 22, 23, 2000])
def test_nothing_is_left_of_a_commit_that_finds_no_space(
    file: DatabaseFile, data: bytes, n_bytes: int
) -> None:
    whole = size(file)
    with no_space_from(whole + n_bytes), pytest.raises(OSError, match="too large"):
        commit(file, 2, data)

    assert size(file) == whole
    since = file.lastTransaction()
    last = commit(file, 3, b"short")

    assert [found.tid for found in file.iterator(since)] == [since, last]
    assert len(list(file.iterator())) == 2
    file.close()
    again = DatabaseFile(file.getName())
    assert again.load(p64(1))[0] == FIRST
    assert again.load(p64(3))[0] == b"short"
    assert again.lastTransaction() == last
    again.close()


@pytest.mark.parametrize("is_read_first", [False, True])
def test_what_cannot_be_cut_now_is_cut_before_the_file_is_used(
    file: DatabaseFile, monkeypatch: pytest.MonkeyPatch, is_read_first: bool
) -> None:
    whole, since = size(file), file.lastTransaction()
    with no_cuts(monkeypatch):
        with no_space_from(whole + 2000), pytest.raises(OSError, match="too large"):
            commit(file, 2, SMALL)
        assert size(file) == whole + 2000
        with pytest.raises(OSError, match="No space left"):
            file.iterator(since)
        with pytest.raises(OSError, match="No space left"):
            commit(file, 2, SMALL)
        assert file.load(p64(1))[0] == FIRST

    if is_read_first:
        assert [found.tid for found in file.iterator(since)] == [since]
        assert size(file) == whole
    last = commit(file, 3, b"short")

    assert [found.tid for found in file.iterator(since)] == [since, last]
    with TransactionLog(Path(file.getName())) as log:
        assert log.advance()
        assert log.n_bytes_behind == 0


def test_what_was_read_of_a_failed_commit_is_not_taken_for_what_came_after(
    file: DatabaseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = size(file)
    with no_cuts(monkeypatch):
        with no_space_from(whole + 2000), pytest.raises(OSError, match="too large"):
            commit(file, 2, SMALL)
        with file._files.get() as reader:  # reads ahead
            reader.seek(whole - 8)
            reader.read(8)

    commit(file, 3, b"short")

    assert file.load(p64(3))[0] == b"short"


def test_a_commit_that_does_not_get_to_the_disk_is_dropped(
    file: DatabaseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, since = size(file), file.lastTransaction()

    def full(_: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="quota"):
        patch.setattr(sys.modules[FileStorage.__module__], "fsync", full)
        commit(file, 2, SMALL)

    assert size(file) == whole
    assert file.lastTransaction() == since
    last = commit(file, 2, b"short")
    assert [found.tid for found in file.iterator(since)] == [since, last]
    assert file.load(p64(2))[0] == b"short"


def test_a_commit_that_cannot_be_gathered_is_ended(file: DatabaseFile) -> None:
    meta = TransactionMetaData()
    with no_space_from(0):
        file.tpc_begin(meta)
        with pytest.raises(OSError, match="too large"):
            file.store(p64(2), z64, LARGE, "", meta)
        file.tpc_abort(meta)

    assert file.tpc_transaction() is None
    last = commit(file, 3, b"short")
    assert file.load(p64(3)) == (b"short", last)


def test_commits_behind_one_that_seems_unfinished_are_not_dropped_with_it(
    file: DatabaseFile,
) -> None:
    begin = size(file)
    commit(file, 2, b"short")
    commit(file, 3, b"last")
    file.close()
    path = Path(file.getName())
    content = bytearray(path.read_bytes())
    content[begin + 16 : begin + 17] = b"c"
    path.write_bytes(content)
    Path(f"{path}.index").unlink()

    with pytest.raises(DatabaseLost, match=f"from byte {begin} on"):
        layout.check_not_cut(path)
    with TransactionLog(path) as log:
        log.advance()
        assert not log.is_under_way


def test_a_file_that_was_replaced_leaves_no_index_beside_the_other_one(tmp_path: Path) -> None:
    directory = tmp_path / "calc"
    directory.mkdir()
    removed = DatabaseFile(str(directory / "some.db"))
    commit(removed, 1, FIRST)
    shutil.rmtree(directory)
    directory.mkdir()
    new = DatabaseFile(str(directory / "some.db"))
    commit(new, 1, SMALL)
    index = directory / "some.db.index"
    before = index.read_bytes()

    removed.close()

    layout.check_not_cut(directory / "some.db")
    assert index.read_bytes() == before
    new.close()
    assert index.read_bytes() != before


def test_a_file_of_which_nobody_can_say_whether_it_is_there_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object) -> bool:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    storage = DatabaseFile(str(tmp_path / "some.db"))
    commit(storage, 1, FIRST)
    with monkeypatch.context() as patched:
        patched.setattr("motoko.store.database_file.is_same", stale)
        storage.close()

    DatabaseFile(str(tmp_path / "some.db")).close()  # nobody has its lock
