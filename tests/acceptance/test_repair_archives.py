"""``motoko repair`` and ``restore`` bring packed runs back from their archives."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.varied import changed, copied, picture, run_dirs, varied_once

__all__ = ["varied_once"]


@pytest.fixture
def here(varied_once: Path, tmp_path: Path) -> CommandLine:
    return copied(varied_once, tmp_path / "w")


def packed(here: CommandLine) -> Path:
    """Pack all runs; the archive."""
    here.run("archive", "calc", "runs.id > 0")
    assert not any((here.directory / "calc/BD-calc-runs").glob("run-*"))
    [file] = (here.directory / "calc/BD-calc-archives").glob("*.zip")
    return file


def lose_database(here: CommandLine) -> None:
    for file in (here.directory / "calc/.bd").glob("motoko.db*"):
        file.unlink()


def findings(here: CommandLine) -> Any:
    return here.json("verify")["findings"]


@pytest.mark.slow
def test_packed_runs_are_back_from_their_archive(here: CommandLine) -> None:
    packed(here)
    before = picture(here.directory)
    lose_database(here)

    done = here.run("repair")

    assert "calc: runs 1, 2, 3, 4, 5 and 3 more: back from archives" in done.stdout
    assert picture(here.directory) == before
    assert findings(here) == []
    assert "8 runs unpacked" in here.run("archive", "calc", "--unpack").stdout
    assert findings(here) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["calc/.bd/motoko.db", ".wf/wf.db"])
def test_no_database_is_made_beside_the_archives_of_one_that_is_gone(
    here: CommandLine, name: str
) -> None:
    packed(here)
    for file in here.directory.glob(f"{name}*"):
        file.unlink()

    done = here.run("run", "--run_name", "second", code=7)

    assert "motoko repair" in done.stderr
    assert not (here.directory / name).exists()
    here.run("create", "--validated")


@pytest.mark.slow
def test_runs_that_were_packed_after_a_backup_are_packed_after_it_is_put_back(
    here: CommandLine,
) -> None:
    here.run("backup", "--to", "b")
    packed(here)
    before = picture(here.directory)

    here.run("kill")
    here.run("backup", "--restore", "b")

    assert picture(here.directory) == before
    assert findings(here) == []


@pytest.mark.slow
def test_deleted_runs_stay_deleted(here: CommandLine) -> None:
    packed(here)
    here.run("runs", "delete", "calc.1")
    before = picture(here.directory)

    assert findings(here) == []
    here.run("repair")

    assert picture(here.directory) == before


@pytest.mark.slow
def test_a_run_that_only_an_archive_has_is_found(here: CommandLine) -> None:
    packed(here)
    before = picture(here.directory)
    with changed(here.directory) as workflow:
        database = workflow.calc.base.database
        database.write(lambda tables: tables.update_run(1, {"archive": None}))

    [finding] = here.json("verify", code=10)["findings"]
    here.run("repair")

    assert "an archive has them" in finding["what"] and "motoko repair" in finding["advice"]
    assert picture(here.directory) == before


@pytest.mark.slow
def test_a_damaged_archive_is_named_and_directories_count_for_more(here: CommandLine) -> None:
    dirs = here.directory / "calc/BD-calc-runs"
    shutil.copytree(dirs, here.directory / "kept", symlinks=True)
    file = packed(here)
    file.write_bytes(file.read_bytes()[:-40])
    shutil.rmtree(dirs)
    (here.directory / "kept").rename(dirs)
    before = run_dirs(here.directory)
    lose_database(here)

    done = here.run("repair", code=10)

    assert "archive-1.zip" in done.stdout
    assert "8 runs" not in done.stderr and len(picture(here.directory)) == 8
    assert run_dirs(here.directory) == before
