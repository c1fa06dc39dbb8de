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
def line(tmp_path: Path) -> Iterator[CommandLine]:
    write_workflow(tmp_path / "w", {"mult": None})
    yield CommandLine(tmp_path / "w")
    kill_processes_of(tmp_path)


def as_another(line: CommandLine, read: str) -> str:
    """What Python prints as a user of no name, who has loaded what may be private to others."""
    preamble = """
import os, sys, encodings.utf_8_sig, BTrees, BTrees.LOBTree, BTrees.OOBTree, BTrees.IOBTree
import ZODB, ZODB.FileStorage, ZODB.fsIndex, zodbpickle, persistent.mapping
import importlib, pkgutil, motoko
for found in pkgutil.walk_packages(motoko.__path__, "motoko."):
    if not found.name.endswith("__main__") and ".names" not in found.name:
        importlib.import_module(found.name)
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


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_reads_what_is_shared_and_changes_nothing(line: CommandLine) -> None:
    os.chmod(line.directory, 0o755)
    place = line.directory.parent
    while place.is_relative_to(tempfile.gettempdir()) and place != Path(tempfile.gettempdir()):
        os.chmod(place, 0o755)
        place = place.parent
    line.run("create", "--validated")
    line.run("server", "start")
    read = "opening.open_all(workflow)\nprint(study.tables.n_runs)\n"

    assert "Permission denied" in as_another(line, read)
    line.run("share")

    assert as_another(line, read) == "0\n"
    create = "study.create_tasks({'x': 1.0}, None, run_name='a', event_name='')\n"
    assert "read" in as_another(line, read + create).lower()
    line.run("server", "stop")
    assert as_another(line, read) == "0\n"
    line.run("share", "--off")
    assert "Permission denied" in as_another(line, read)
