"""A database, and a new workflow, on a disk that is full."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.studies import ROOT, open_study, server_process, write_study

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


def test_create_on_a_full_disk_says_where_everything_was_moved(disk: Path) -> None:
    with new_workflow(disk / "demo") as here:
        here.run("create")
        here.run("kill")
        fill(disk)

        refused = here.run("create", "--validated", code=9)

        (backup,) = here.directory.glob("motoko-backup-*")
    assert (backup / "sample" / ".bd" / "motoko.db").exists()
    assert refused.stderr.endswith(f"\nwhat was there is in {backup}\n")


def test_child_of_a_detached_start_on_a_full_disk_says_why(disk: Path) -> None:
    with new_workflow(disk / "demo") as here:
        fill(disk)

        refused = here.run("orchestrator", "start", "-n", "first", "-d", code=9)

    assert "orchestrator-first.lock" in refused.stderr or "server.lock" in refused.stderr
    assert "No space left on device" in refused.stderr
