"""Named places where a process may be made to die."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import motoko
from motoko import crashpoints
from motoko.crashpoints import POINTS, VARIABLE, in_shell, reached
from motoko.job.shell import TEXT
from motoko.other_crashpoints import OTHER_POINTS

PACKAGE = Path(motoko.__file__).parent
TESTS = Path(__file__).parents[1]
PROGRAM = "from motoko.crashpoints import reached\nfor _ in range(3): reached('token.linked')"


def named_in(file: Path) -> set[str]:
    """The points that a module reaches."""
    text = file.read_text()
    found = set(re.findall(r"@POINT ([a-z.]+)@", text))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reached":
            words = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            found.update(word for word in words if isinstance(word, str))
    return found


def die(place: str, tmp_path: Path, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    """Run a program that reaches a point three times."""
    environment = {**os.environ, VARIABLE: f"{place}:{tmp_path / 'it died'}"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_every_point_of_the_table_is_reached_somewhere_and_no_other() -> None:
    named = set().union(*map(named_in, PACKAGE.rglob("*.py")))

    assert named == {*POINTS, *OTHER_POINTS}
    assert not POINTS.keys() & OTHER_POINTS.keys()


def test_some_test_has_a_process_die_at_every_point() -> None:
    texts = [file.read_text() for file in TESTS.rglob("test_*.py")]
    all_of = ("artifacts.", "batch.")  # whose tests go through the table

    named = {point for point in OTHER_POINTS if any(f'"{point}' in text for text in texts)}

    assert {p for p in OTHER_POINTS if not p.startswith(all_of)} <= named


def test_every_point_says_what_has_happened_and_what_comes_of_it() -> None:
    points = [*POINTS.values(), *OTHER_POINTS.values()]

    assert all(point.process and point.here and point.then for point in points)


def test_nothing_happens_at_a_point_that_was_not_chosen(tmp_path: Path) -> None:
    reached("token.linked")

    assert die("token.written", tmp_path).returncode == 0
    assert in_shell("script.ended") == ""
    assert "POINT" not in TEXT
    assert "kill" not in TEXT


def test_the_first_process_dies_and_no_other(tmp_path: Path) -> None:
    codes = [die("token.linked", tmp_path).returncode for _ in range(2)]

    assert codes == [-signal.SIGKILL, 0]
    assert (tmp_path / "it died").exists()


@pytest.mark.parametrize(("place", "code"), [("#3", -signal.SIGKILL), ("#4", 0)])
def test_a_process_dies_at_the_time_that_was_said(
    tmp_path: Path, place: str, code: int
) -> None:
    assert die(f"token.linked{place}", tmp_path).returncode == code
    assert (tmp_path / "it died").exists() == bool(code)


def test_one_of_several_points_is_enough(tmp_path: Path) -> None:
    assert die("token.linked#9:/nowhere;token.linked", tmp_path).returncode == -signal.SIGKILL


def test_a_shell_dies_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "it's dead"
    monkeypatch.setattr(
        crashpoints, "_chosen", {"script.ended": crashpoints._Chosen(1, str(file))}
    )
    text = f"{in_shell('script.ended')}\necho on"

    done = [subprocess.run(["/bin/bash", "-c", text], capture_output=True) for _ in range(2)]

    assert [d.returncode for d in done] == [-signal.SIGKILL, 0]
    assert [d.stdout for d in done] == [b"", b"on\n"]
