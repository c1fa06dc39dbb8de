"""Artifact stores that several threads or processes change at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from motoko.artifacts import ArtifactStore


def store_and_file(tmp_path: Path) -> tuple[ArtifactStore, Path]:
    file = tmp_path / "given.txt"
    file.write_text("text")
    return ArtifactStore(tmp_path / "store"), file


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    store, file = store_and_file(tmp_path)
    threads = [threading.Thread(target=store.put_file, args=(file, f"x{i}")) for i in range(12)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(store.list_artifacts()) == 12
    assert store.verify() == []


def test_two_writers_lose_nothing_and_one_of_them_gets_a_name_that_both_want(
    tmp_path: Path,
) -> None:
    program = """
import sys
from motoko.artifacts import ArtifactStore
from motoko.errors import ArtifactExists
store, n = ArtifactStore(sys.argv[1]), 0
for i in range(25):
    store.put_file(sys.argv[2], f"{sys.argv[3]}/{i}")
    try:
        store.put_file(sys.argv[2], f"both/{i}")
        n += 1
    except ArtifactExists:
        pass
print(n)
"""
    store, file = store_and_file(tmp_path)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, store.root, file, name], stdout=subprocess.PIPE
        )
        for name in ("one", "two")
    ]

    printed = [writer.communicate()[0] for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0]
    assert sum(map(int, printed)) == 25
    assert len(store.list_artifacts()) == 75
    assert store.verify() == []
    assert [p.name for p in (store.root / ".artifacts").iterdir()] == ["lock"]
