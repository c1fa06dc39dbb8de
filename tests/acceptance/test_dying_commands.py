"""Commands that look after databases may die between their steps: the same command again."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

from motoko.crashpoints import VARIABLE
from tests.support.command_line import CommandLine
from tests.support.varied import copied, picture, varied_once

__all__ = ["varied_once"]
pytestmark = pytest.mark.slow


@pytest.fixture
def here(varied_once: Path, tmp_path: Path) -> CommandLine:
    return copied(varied_once, tmp_path / "w")


def die(here: CommandLine, point: str, *command: str) -> None:
    """Have a command die at a point; what it started is ended."""
    crash_at = {VARIABLE: f"{point}:{here.directory / 'died'}"}
    with here.started(*command, **crash_at) as process:
        said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    here.run("kill")


def findings(here: CommandLine) -> Any:
    return here.json("verify")["findings"]


@pytest.mark.parametrize("point", ["archive.made", "archive.told"])
def test_run_directories_are_packed_by_the_next_call(here: CommandLine, point: str) -> None:
    before = picture(here.directory)

    die(here, point, "archive", "calc")
    here.run("archive", "calc")

    rows, finished = picture(here.directory), 0
    for run_id, (row, *rest) in rows.items():
        finished += row.pop("archive", None) is not None
        assert (row, *rest) == before[run_id]
    assert finished > 0
    assert findings(here) == []
    here.run("archive", "calc", "--unpack")
    assert findings(here) == []


def test_run_directories_are_unpacked_by_the_next_call(here: CommandLine) -> None:
    before = picture(here.directory)
    here.run("archive", "calc")

    die(here, "archive.unpacked", "archive", "calc", "--unpack")
    here.run("archive", "calc")
    here.run("archive", "calc", "--unpack")

    assert findings(here) == []
    assert picture(here.directory).keys() == before.keys()


def test_a_backup_is_there_as_a_whole_or_not(here: CommandLine) -> None:
    die(here, "backup.copied", "backup", "--to", "b")
    assert not (here.directory / "b").exists()

    here.run("backup", "--to", "b")
    assert sorted(path.name for path in here.directory.glob("b*")) == ["b"]


@pytest.mark.parametrize("point", ["restore.aside", "restore.replaced"])
def test_a_backup_is_put_back_by_the_next_call(here: CommandLine, point: str) -> None:
    before = picture(here.directory)
    here.run("backup", "--to", "b")
    die(here, point, "backup", "--restore", "b")
    here.run("backup", "--restore", "b")

    assert picture(here.directory) == before
    assert findings(here) == []


@pytest.mark.parametrize("point", ["repair.aside", "repair.replaced"])
def test_a_database_is_rebuilt_by_the_next_call(here: CommandLine, point: str) -> None:
    before = picture(here.directory)
    os.truncate(here.directory / "calc/.bd/motoko.db", 9000)

    die(here, point, "repair")
    assert here.run("run", "-n", "again", code=7 if point == "repair.aside" else 5).stderr
    here.run("kill")
    here.run("repair")

    known = picture(here.directory)
    assert {run_id: known[run_id] for run_id in before} == before
    assert findings(here) == []


@pytest.mark.parametrize("point", ["place.disowned", "place.settled"])
def test_a_copy_is_settled_by_the_next_call(
    varied_once: Path, tmp_path: Path, point: str
) -> None:
    before = picture(varied_once)
    here = CommandLine(
        copytree(varied_once, tmp_path / "copy", ignore=ignore_patterns("*.sock"))
    )

    die(here, point, "place", ".", "--copied")
    here.run("place", ".", "--copied")

    assert here.run("place", ".").stdout.endswith("is where it was\n")
    assert picture(here.directory) == before
    assert findings(here) == []


def test_directories_of_runs_that_were_half_deleted_are_named(here: CommandLine) -> None:
    before = picture(here.directory)

    die(here, "delete.removed", "runs", "delete", "calc.1")
    assert 1 not in picture(here.directory)
    [found] = here.json("verify", code=10)["findings"]
    here.run("repair")

    assert found["what"].startswith("run 1: ")
    assert picture(here.directory) == before
