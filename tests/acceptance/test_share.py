"""A workflow that another user reads."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.processes import kill_processes_of
from tests.support.workflows import write_workflow


@pytest.fixture
def line() -> Iterator[CommandLine]:
    # Not below the directory of all tests: who starts others makes that private again.
    with tempfile.TemporaryDirectory() as found:
        place = Path(found)
        write_workflow(place / "w", {"mult": None})
        yield CommandLine(place / "w")
        kill_processes_of(place)


def as_another(line: CommandLine, read: str) -> str:
    """What Python prints as a user of no name, who has loaded what may be private to others."""
    preamble = """
import os, sys, encodings.utf_8_sig, encodings.cp437
import BTrees, BTrees.LOBTree, BTrees.OOBTree, BTrees.IOBTree
import ZODB, ZODB.FileStorage, ZODB.fsIndex, zodbpickle, persistent.mapping
import importlib, pkgutil, motoko
for found in pkgutil.walk_packages(motoko.__path__, "motoko."):
    if not found.name.endswith("__main__") and ".names" not in found.name:
        importlib.import_module(found.name)
import pandas
pandas.DataFrame({"a": pandas.to_datetime([1.5], unit="s", utc=True)}).to_csv()
os.setgid(65534)
os.setuid(65534)
os.environ.pop("XDG_RUNTIME_DIR", None)
from motoko.workflow import Workflow, opening
workflow = Workflow(".")
study = workflow.mult.base
"""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", preamble + read],
        cwd=line.directory,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def opened_to_all(directory: Path) -> None:
    """Let other users come into a directory of the tests."""
    while directory.is_relative_to(tempfile.gettempdir()) and directory != Path(
        tempfile.gettempdir()
    ):
        os.chmod(directory, 0o755)
        directory = directory.parent


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_reads_results_in_directories_and_archives(line: CommandLine) -> None:
    (line.directory / "mult" / "launch.sh").write_text("echo $MOTOKO_RUN_ID > result\n")
    (line.directory / "orchestrator.py").write_text(
        "async def main(workflow, **params):\n"
        "    await workflow.mult.createTask(x=[1.0, 2.0])\n"
    )
    line.run("run", "--run_name", "a")
    line.run("archive", "mult", "runs.id = 1")
    line.run("share")
    opened_to_all(line.directory)
    read = (
        "opening.open_all(workflow)\n"
        "print([study.run(i).file('result').read_text().strip() for i in (1, 2)])\n"
        "print(list(workflow.mult.dataframe().state))\n"
    )

    assert as_another(line, read) == "['1', '2']\n['FINISHED', 'FINISHED']\n"


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_reads_what_is_shared_and_changes_nothing(line: CommandLine) -> None:
    opened_to_all(line.directory)
    line.run("create", "--validated")
    line.run("server", "start")
    read = "opening.open_all(workflow)\nprint(study.tables.n_runs)\n"

    assert "Permission denied" in as_another(line, read)
    line.run("share")

    assert as_another(line, read) == "0\n"
    create = "study.create_tasks({'x': 1.0}, None, run_name='a', event_name='')\n"
    assert "mult/.bd/files: Permission denied; what runs are given" in as_another(
        line, read + create
    )
    line.run("server", "stop")
    assert as_another(line, read) == "0\n"
    start = "from motoko.workflow import control\ncontrol.ensure_served(workflow)\n"
    assert "others may read it, and change nothing" in as_another(line, start)
    line.run("share", "--off")
    assert "Permission denied" in as_another(line, read)
