"""Bad input gets a message that says what, where and what to do, and the documented code.

The cases are in ``tests/support/bad_input.py``, what must be said in ``bad_input.json`` beside
this file: exact, with ``{dir}`` for the workflow's directory.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.bad_input import MISTAKES, Case, nothing
from tests.support.workflows import write_workflow

EXPECTED = json.loads(Path(__file__).with_name("bad_input.json").read_text())


def typed(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a program would, in a directory."""
    return warm.run(command, directory, os.environ, 60)


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = write_workflow(tmp_path_factory.mktemp("w"), {"mult": None, "norm": None})
    typed(directory, "create")
    yield directory
    typed(directory, "kill")


def said(directory: Path, done: subprocess.CompletedProcess[str]) -> str:
    """What was found wrong: of ``check`` the lines that are not ok, else standard error."""
    found = [line for line in done.stdout.splitlines() if line.startswith(("mistake", "warn"))]
    text = "\n".join(found) if found else done.stderr.rstrip()
    return text.replace(str(directory), "{dir}")


@pytest.mark.slow
@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.name)
def test_a_mistake_is_explained(case: Case, tmp_path: Path, created: Path) -> None:
    directory = created
    is_own = not (case.is_created and case.change is nothing)
    if is_own:
        directory = write_workflow(tmp_path / "w", {"mult": None, "norm": None})
        case.change(directory)
        if case.is_created:
            typed(directory, "create")

    done = typed(directory, *case.command)
    if is_own and (directory / ".wf").exists():
        typed(directory, "kill")

    assert {"code": done.returncode, "said": said(directory, done)} == EXPECTED[case.name]
    assert "Traceback" not in done.stdout + done.stderr


def test_there_are_enough_cases_and_each_is_different() -> None:
    assert len(MISTAKES) >= 40
    assert sorted(EXPECTED) == sorted(case.name for case in MISTAKES)
    assert len({entry["said"] for entry in EXPECTED.values()}) > len(MISTAKES) - 5
