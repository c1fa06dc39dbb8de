"""A workflow with a pipeline that is copied, and whose policy is another one then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

pytestmark = pytest.mark.slow

YAML = """\
task_managers:
  sim:
pipeline:
  systems: {directory: work}
  on_failure: prune
  steps:
    sim:
      sentinels: {directory: ., success: [[done]]}
"""
SCRIPT = 'cd "__BLACKDYNAMITE__system_dir__" && pwd >>log && echo 1 >job_attempt.txt\nexit 1\n'


def test_copy_works_on_its_own_systems_as_its_pipeline_says_by_then(tmp_path: Path) -> None:
    original, copy = tmp_path / "one", tmp_path / "two"
    for name in ("sim", "work/s1"):
        (original / name).mkdir(parents=True)
    (original / "motoko.yaml").write_text(YAML)
    (original / "sim/bd.yaml").write_text("study: sim\njob: {system: str}\n")
    (original / "sim/launch.sh").write_text(SCRIPT)
    CommandLine(original).run("run", "--run_name", "r")
    (original / "work/s1/FAILED").touch()

    shutil.copytree(original, copy, ignore=shutil.ignore_patterns("*.sock"))
    line = CommandLine(copy)
    line.run("place", "--copied")
    cleared = line.run("clean", "--failures").stdout
    policy = "{retry: {attempts: 2, then: prune}}"
    (copy / "motoko.yaml").write_text(YAML.replace("prune", policy))
    line.run("run", "--run_name", "r", "--accept-changes", "--retry-failed")

    own = sorted(path.name for path in (original / "work/s1").iterdir())
    assert own == ["FAILED", "job_attempt.txt", "log"]
    assert "removed 3 files" in cleared
    assert line.json("runs", "list", "sim")[0]["entries"]["system_dir"] == f"{copy}/work/s1"
    places = (copy / "work/s1/log").read_text().split()
    assert places == [f"{original}/work/s1", *3 * [f"{copy}/work/s1"]]
