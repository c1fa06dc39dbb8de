"""The journal: what is written is read back once, and damage costs one line."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from motoko.job import journal as journal_module
from motoko.job.journal import Journal, encode, list_journals, read_journal


def line(op: str, nonce: str = "n", **facts: object) -> bytes:
    return encode({"n": nonce, "t": 1.0, "op": op, **facts})


def ops(path: str | Path, offset: int = 0, nonce: str = "n") -> list[str]:
    return [entry["op"] for entry in read_journal(path, offset, nonce).entries]


def test_entries_come_back_in_order_with_time_and_nonce(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1, "n", now=iter([5.0, 6.0]).__next__)

    journal.append("start", durable=True)
    journal.append("set", name="y", value=[1, "é\n"])

    (path,) = list_journals(tmp_path, 1)
    assert read_journal(path, 0, "n").entries == [
        {"n": "n", "t": 5.0, "op": "start"},
        {"n": "n", "t": 6.0, "op": "set", "name": "y", "value": [1, "é\n"]},
    ]


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1, "n")
    journal.append("start")
    (path,) = list_journals(tmp_path, 1)
    first = read_journal(path, 0, "n")

    journal.append("finish")
    second = read_journal(path, first.offset, "n")

    assert [entry["op"] for entry in second.entries] == ["finish"]
    assert read_journal(path, second.offset, "n") == ([], second.offset, [])
    assert second.offset == Path(path).stat().st_size


@pytest.mark.parametrize("cut", range(1, len(line("finish"))))
def test_torn_last_line_waits_for_its_end(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line("start") + line("finish")[:-cut])

    part = read_journal(path, 0, "n")
    path.write_bytes(line("start") + line("finish"))

    assert [entry["op"] for entry in part.entries] == ["start"]
    assert (part.offset, part.damage) == (len(line("start")), [])
    assert ops(path, part.offset) == ["finish"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (line("finish").replace(b"finish", b"f1nish"), "checksum"),
        (b"nonsense\n", "checksum"),
        (b"\0\0\0\r\n", "checksum"),
        (b"- {broken\n", "not JSON"),
        (b'- {"n":"n","op":"finish"}\n', "no nonce (n), time (t) or op"),
        (b"- [1]\n", "no nonce (n), time (t) or op"),
    ],
)
def test_damaged_line_is_reported_and_skipped(tmp_path: Path, bad: bytes, why: str) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line("start") + bad + line("fail"))

    part = read_journal(path, 0, "n")

    assert [entry["op"] for entry in part.entries] == ["start", "fail"]
    assert len(part.damage) == 1
    assert f"journal, byte {len(line('start'))}: " in part.damage[0]
    assert why in part.damage[0]
    assert part.offset == path.stat().st_size


def test_entries_of_another_attempt_are_ignored_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line("fail", nonce="old") + line("finish"))

    part = read_journal(path, 0, "n")

    assert [entry["op"] for entry in part.entries] == ["finish"]
    assert part.damage == []


def test_shell_may_write_without_checksum(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'- {"n":"n","t":1,"op":"finish"}\n')

    assert ops(path) == ["finish"]


def test_journal_that_shrank_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line("start"))

    part = read_journal(path, 10_000, "n")

    assert part.entries == []
    assert "10000 were read before" in part.damage[0]
    assert read_journal(path, part.offset, "n").damage == []


def test_absent_journal_and_absent_directory_read_as_empty(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none", 7, "n") == ([], 7, [])
    assert list_journals(tmp_path / "none", 1) == []


def test_attempts_do_not_see_each_others_journals(tmp_path: Path) -> None:
    Journal(tmp_path, 1, "a").append("start")
    Journal(tmp_path, 11, "b").append("start")

    assert len(list_journals(tmp_path, 1)) == 1
    assert len(list_journals(tmp_path, 11)) == 1


def test_fork_writes_a_journal_of_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1, "n")
    journal.append("start")

    pid = os.fork()
    if pid == 0:
        journal.append("set", name="child", value=1)
        os._exit(0)
    os.waitpid(pid, 0)
    journal.append("finish")

    contents = sorted(ops(path) for path in list_journals(tmp_path, 1))
    assert contents == [["set"], ["start", "finish"]]


def test_threads_share_one_journal_and_lose_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1, "n")

    def write(thread: int) -> None:
        for i in range(50):
            journal.append("set", name="x", value=[thread, i])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (path,) = list_journals(tmp_path, 1)
    part = read_journal(path, 0, "n")
    assert part.damage == []
    assert {tuple(entry["value"]) for entry in part.entries} == {
        (thread, i) for thread in range(8) for i in range(50)
    }


def test_line_cut_by_a_full_disk_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, 1, "n")
    journal.append("start")

    def half(fd: int, content: bytes) -> None:
        os.write(fd, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "write_all", half)
        with pytest.raises(OSError, match="No space left"):
            journal.append("set", name="lost", value=1)
    journal.append("finish", durable=True)

    (path,) = list_journals(tmp_path, 1)
    part = read_journal(path, 0, "n")
    assert [entry["op"] for entry in part.entries] == ["start", "finish"]
    assert len(part.damage) == 1


def test_only_durable_entries_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journal = Journal(tmp_path, 1, "n")

    journal.append("set", name="x", value=1)
    before = len(synced)
    journal.append("finish", durable=True)

    assert (before, len(synced)) == (0, 1)


def test_line_is_the_public_format(tmp_path: Path) -> None:
    Journal(tmp_path, 1, "n", now=lambda: 2.5).append("start")

    (path,) = list_journals(tmp_path, 1)
    check, _, text = Path(path).read_bytes().partition(b" ")

    import zlib

    assert int(check, 16) == zlib.crc32(text[:-1])
    assert json.loads(text) == {"n": "n", "t": 2.5, "op": "start"}
