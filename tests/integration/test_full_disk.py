"""A database, and a new workflow, on a disk that is full."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ZODB.utils import p64, u64

from motoko.errors import NoSpaceLeft
from motoko.store.address import Served
from motoko.store.database import Write
from motoko.store.transaction_log import TransactionLog
from motoko.study.study import Study
from tests.support.command_line import CommandLine, new_workflow
from tests.support.studies import (
    ROOT,
    open_study,
    process_serving,
    server_process,
    write_study,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")

CLIENT = """\
import sys
from pathlib import Path
from motoko.errors import DatabaseUnavailable
from tests.support.studies import open_study

study = open_study(Path(sys.argv[1]))
for size in (100_000, 10):
    try:
        study.database.write(lambda tables: tables.set_fact("big", "x" * size))
    except DatabaseUnavailable as error:
        print(error.why)
study.close()
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", directory], check=True)
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all space that is left."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"0" * 4096)
    return filler


@pytest.mark.slow
def test_commit_on_a_full_disk_says_so_in_one_message(disk: Path) -> None:
    study = open_study(write_study(disk / "mult"))
    with server_process(study):
        study.initialise()
        study.close()
        fill(disk)
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, study.directory],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    why = "no space is left on its disk; free some, nothing is lost"
    assert set(done.stdout.splitlines()) == {why}
    assert done.stderr == ""


def note_until_it_is_full(study: Study) -> int:
    """Commit until there is no space for it; how many times that was done."""
    for number in range(1000):
        try:
            study.database.write(lambda tables, n=number: tables.set_fact("last", n))
        except NoSpaceLeft:
            return number
    raise AssertionError("there is space for a thousand commits")


def test_a_database_goes_on_by_itself_once_there_is_space_again(disk: Path) -> None:
    study = open_study(write_study(disk / "mult"))
    with server_process(study):
        study.initialise()
        filler = fill(disk)
        n_noted = note_until_it_is_full(study)
        change = Write(study.database, lambda tables: tables.set_fact("later", 1))
        with pytest.raises(NoSpaceLeft):
            change()
        with pytest.raises(NoSpaceLeft):
            change()  # asks first whether it has been made
        assert study.tables.fact("last") == n_noted - 1

        filler.unlink()
        change()
        study.close()

        assert study.tables.fact("last") == n_noted - 1
        assert study.tables.fact("later") == 1
        study.close()
    with TransactionLog(study.database_file) as log:
        assert log.advance()
        assert log.n_bytes_behind == 0


@pytest.mark.slow
@pytest.mark.parametrize("n_bytes", [1, 22, 23, 100])
@pytest.mark.parametrize("is_full", [False, True])
def test_what_a_commit_left_is_dropped_by_the_next_server(
    disk: Path, n_bytes: int, is_full: bool
) -> None:
    study = open_study(write_study(disk / "mult"))
    with process_serving([Served(study.database_file, study.address)]) as server:
        study.initialise()
        study.database.write(lambda tables: tables.set_fact("last", 7))
        since = study.database.last_transaction()
        study.close()
        server.kill()
        header = struct.pack(">8sQcHHH", p64(u64(since) + 1), 4000, b"c", 0, 0, 0)
        with open(study.database_file, "ab") as file:
            file.write((header + b"j" * 100)[:n_bytes])
        filler = fill(disk)

        study.database.open_file(study.database_file)
        assert study.tables.fact("last") == 7
        study.close()
        if not is_full:
            filler.unlink()
        server.start()

        assert study.tables.fact("last") == 7
        filler.unlink(missing_ok=True)
        study.database.write(lambda tables: tables.set_fact("later", 1))
        study.close()
    with TransactionLog(study.database_file) as log:
        assert log.advance()
        assert log.n_bytes_behind == 0
    assert not list(study.database_file.parent.glob("*.tr*"))


@pytest.mark.parametrize("was_there", [False, True])
def test_new_on_a_full_disk_leaves_nothing_and_can_be_repeated(
    disk: Path, was_there: bool
) -> None:
    here = CommandLine(disk)
    if was_there:
        (disk / "demo").mkdir()
    filler = fill(disk)

    refused = here.run("new", "demo", code=9)
    left = list((disk / "demo").iterdir()) if was_there else (disk / "demo").exists()
    filler.unlink()
    here.run("new", "demo")

    assert "No space left on device; free some, then go on with the same command" in (
        refused.stderr
    )
    assert not left
    assert (disk / "demo" / "motoko.yaml").exists()


@pytest.mark.slow
@pytest.mark.parametrize("n_pages", [0, 2, 3, 12])
def test_first_start_on_a_full_disk_says_so_and_can_be_repeated(
    disk: Path, n_pages: int
) -> None:
    with new_workflow(disk / "demo") as here:
        filler = fill(disk)
        os.truncate(filler, filler.stat().st_size - n_pages * 4096)

        refused = here.run("run", "-n", "first", code=9)
        filler.unlink()
        info = here.run("info").stdout
        here.run("run", "-n", "first")

    assert re.search(r"no space (is )?left", refused.stderr.lower())
    assert str(disk) in refused.stderr
    assert "without a word" not in refused.stderr
    assert "sample: no database yet; `motoko run` or `motoko create` makes it" in info


@pytest.mark.slow
def test_create_on_a_full_disk_says_where_everything_was_moved(disk: Path) -> None:
    with new_workflow(disk / "demo") as here:
        here.run("create")
        here.run("kill")
        fill(disk)

        refused = here.run("create", "--validated", code=9)

        (backup,) = here.directory.glob("motoko-backup-*")
    assert (backup / "sample" / ".bd" / "motoko.db").exists()
    assert refused.stderr.endswith(f"\nwhat was there is in {backup}\n")


@pytest.mark.slow
def test_child_of_a_detached_start_on_a_full_disk_says_why(disk: Path) -> None:
    with new_workflow(disk / "demo") as here:
        fill(disk)

        refused = here.run("orchestrator", "start", "-n", "first", "-d", code=9)

    assert "orchestrator-first.lock" in refused.stderr or "server.lock" in refused.stderr
    assert "No space left on device" in refused.stderr
