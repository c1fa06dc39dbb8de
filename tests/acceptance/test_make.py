"""The Makefile, the lock and the check script: a clone, make and a Python are enough."""

import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import kill_processes_of, wait_for

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "dev.lock"
TARGETS = ("run", "test", "test-all", "check", "bench", "clean")


MAKE = shutil.which("make") or "make"
#: Without what a make that runs the tests hands on to those below it.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}


def make(*words: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """What a make command does."""
    done = subprocess.run(
        [MAKE, *words],
        cwd=cwd,
        env={**ENVIRONMENT, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    print(done.stdout, done.stderr, sep="\n")
    return done


def executable(file: Path, text: str) -> Path:
    """A shell script that can be called."""
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def test_help_is_what_make_says_by_default():
    done = make()

    assert done.returncode == 0
    for target in TARGETS:
        assert f"make {target} " in done.stdout


def test_without_a_python_make_says_what_it_needs(tmp_path):
    (tmp_path / "sh").symlink_to("/bin/sh")

    done = make("find-python", PATH=str(tmp_path))

    assert done.returncode != 0
    assert "no Python of version 3.11 or later" in done.stderr


def test_python_without_its_venv_module_is_reported(tmp_path):
    executable(tmp_path / "python3", 'case "$2" in *ensurepip*) exit 1 ;; esac')

    done = make("find-python", PATH=str(tmp_path))

    assert done.returncode != 0
    assert "python3-venv" in done.stderr


def test_python_that_does_not_answer_or_is_too_old_is_passed_over(tmp_path):
    executable(tmp_path / "python3", "exit 127")
    executable(tmp_path / "python3.12", "exit 0")

    done = make("find-python", PATH=str(tmp_path))

    assert done.stdout.split() == ["python3.12"]


def names(requirements: list[str]) -> set[str]:
    """The names that requirements begin with, as package indexes compare them."""
    found = (re.match(r"[A-Za-z0-9._-]+", text) for text in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def test_lock_pins_all_dependencies_with_hashes_and_names_no_host():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lock = LOCK.read_text()
    pins = re.findall(r"^([a-z0-9-]+)==(?:[^\\\n]|\\\n)*", lock, re.MULTILINE)
    blocks = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]

    wanted = names(
        [
            *project["project"]["dependencies"],
            *project["project"]["optional-dependencies"]["plot"],
            *project["dependency-groups"]["dev"],
        ]
    )

    assert wanted <= set(pins)
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in lock
    assert "--index" not in lock


def test_check_script_is_strict_and_parses():
    script = ROOT / ".ci" / "run"

    parsed = subprocess.run(["/bin/bash", "-n", str(script)], capture_output=True, timeout=20)

    assert parsed.returncode == 0, parsed.stderr
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()


@pytest.fixture
def clone(tmp_path):
    """The files of the project, as a clone has them, in an empty directory."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert listed.returncode == 0, listed.stderr
    target = tmp_path / "clone"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    yield target
    kill_processes_of(target)


def results(directory: Path) -> list[str]:
    """What both examples say, in the order in which they run."""
    return [
        (directory / "examples" / name / "result.txt").read_text()
        for name in ("quickstart", "convergence")
    ]


def kill_in_the_middle(target: str, directory: Path, is_middle: Callable[[], bool]) -> int:
    """Begin to make a target and kill everything once it is half done; what was killed."""
    with (directory / "killed.log").open("w") as log:
        begun = subprocess.Popen(
            [MAKE, target], cwd=directory, env=ENVIRONMENT, stdout=log, stderr=log
        )
        wait_for(is_middle, deadline_s=300)
        n_killed = kill_processes_of(directory)
        assert begun.wait(timeout=60) == -signal.SIGKILL
    return n_killed


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_make_run_works_in_a_clone_twice_and_after_everything_was_killed(clone):
    packages = clone / ".venv" / "lib"
    kill_in_the_middle(
        "environment", clone, lambda: any(packages.glob("*/site-packages/click"))
    )
    first = make("run", cwd=clone)
    first_results = results(clone)
    second = make("run", cwd=clone)
    second_results = results(clone)

    solve_dir = clone / "examples" / "convergence" / "solve" / "BD-solve-runs"
    shutil.rmtree(solve_dir)
    n_killed = kill_in_the_middle("run", clone, (solve_dir / "run-3").exists)
    third = make("run", cwd=clone)
    imported = subprocess.run(
        [clone / ".venv/bin/python", "-c", "import motoko, numpy, ZEO, matplotlib"],
        capture_output=True,
        timeout=60,
    )

    assert [first.returncode, second.returncode, third.returncode] == [0, 0, 0]
    assert ["making .venv" in done.stdout for done in (first, second)] == [True, False]
    assert imported.returncode == 0, imported.stderr
    assert n_killed >= 3
    assert first_results == second_results == results(clone)
    for text in first_results:
        assert text in first.stdout
