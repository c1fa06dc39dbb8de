"""``motoko verify`` looks into the archives that runs are said to be in."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from motoko.job.layout import RUN_FILE
from tests.support.command_line import CommandLine
from tests.support.finished import finished_once, here

__all__ = ["finished_once", "here"]


def found(here: CommandLine) -> list[str]:
    return [f"{f['what']} -- {f['advice']}" for f in here.json("verify", code=10)["findings"]]


def archive(here: CommandLine) -> Path:
    return here.directory / "sample/BD-sample-archives/archive-1.zip"


def rewrite(here: CommandLine, number: int) -> None:
    """Have the archive say that what it has of run 1 is this attempt, and another one."""
    with zipfile.ZipFile(archive(here)) as old:
        content = {info: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(archive(here), "w") as new:
        for info, raw in content.items():
            if info.filename == f"run-1/{RUN_FILE}":
                raw = json.dumps({**json.loads(raw), "nonce": "0", "attempt": number}).encode()
            new.writestr(info, raw)


@pytest.mark.slow
def test_packed_runs_are_no_finding(here: CommandLine) -> None:
    here.run("archive", "sample")

    assert "checked sample: 5 packed runs" in here.run("verify").stdout.splitlines()


@pytest.mark.slow
def test_an_archive_that_is_gone_or_damaged_is_found(here: CommandLine) -> None:
    here.run("archive", "sample")
    whole = archive(here).read_bytes()

    for damage in (
        lambda: archive(here).unlink(),
        lambda: archive(here).write_bytes(whole[:90]),
    ):
        damage()
        [finding] = found(here)
        assert finding.startswith("runs 1, 2, 3, 4, 5: the archive that they are packed in")


@pytest.mark.slow
def test_an_archive_of_another_attempt_is_found(here: CommandLine) -> None:
    here.run("archive", "sample")

    rewrite(here, 0)
    [earlier] = found(here)
    rewrite(here, 2)
    [later] = found(here)

    assert earlier.startswith("run 1: its archive has another attempt than the database")
    assert later.startswith("run 1: the run directory is of a later attempt") and (
        "motoko repair" in later
    )


@pytest.mark.slow
def test_a_packed_run_that_has_a_directory_is_found(here: CommandLine) -> None:
    here.run("archive", "sample")
    with zipfile.ZipFile(archive(here)) as packed:
        names = [name for name in packed.namelist() if name.startswith("run-2/")]
        packed.extractall(here.directory / "sample/BD-sample-runs", names)

    [finding] = found(here)

    assert finding.startswith("run 2: it is said to be packed, and its directory is there too")
    here.run("archive", "sample", "--unpack", "runs.id = 2")
    here.run("verify")
