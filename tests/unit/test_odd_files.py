"""What is said of files that are there in another form than they should be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from motoko.cli.places import find_directory
from motoko.errors import StudyNotFound
from motoko.workflow.upkeep.check import MISTAKE, WARNING, Finding, check


@pytest.mark.parametrize("given", [None, ".", "motoko.yaml"])
def test_motoko_yaml_that_is_a_directory_is_said_to_be_one(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "motoko.yaml").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StudyNotFound, match=r"motoko\.yaml: is a directory, and has to be"):
        find_directory(given)


def found_in(directory: Path, manager: str, study: str) -> list[Finding]:
    text = f"task_managers:\n  {manager}:\norchestrator: orchestrator.main\n"
    (directory / "motoko.yaml").write_text(text)
    (directory / "orchestrator.py").write_text("async def main(workflow): ...\n")
    (directory / "solve").mkdir()
    (directory / "solve" / "bd.yaml").write_text(study)
    return list(check(directory))


def test_key_that_yaml_reads_as_true_is_to_be_quoted(tmp_path: Path) -> None:
    found = found_in(tmp_path, "off", "study: solve\njob: {n: int}\n")
    (tmp_path / "motoko.yaml").write_text(
        "on: 1\ntask_managers:\n  solve:\norchestrator: orchestrator.main\n"
    )
    (tmp_path / "solve" / "bd.yaml").write_text("study: solve\njob: {yes: int}\n")
    found += check(tmp_path)

    said = "found on, yes or true without quotes, which YAML reads as true"
    texts = [one.text for one in found if one.level == MISTAKE]
    assert sum(said in text for text in texts) == 2
    assert sum("found off, no or false without quotes" in text for text in texts) == 1


def test_check_tells_of_a_missing_usual_script_and_of_another_name(tmp_path: Path) -> None:
    found = found_in(tmp_path, "solve", "study: other\njob: {n: int}\n")

    missing = next(one.text for one in found if "launch.sh" in one.text)
    assert "every run executes it, unless exec_file of" in missing
    [name] = [one.text for one in found if one.level == WARNING and "calls it" in one.text]
    assert "'other'" in name and "BD-other-runs" in name


def solve_in(directory: Path, study: str = "solve", script: bytes = b"true\n") -> list[Finding]:
    """What is found about a study that lacks nothing."""
    (directory / "solve").mkdir(exist_ok=True)
    (directory / "solve" / "launch.sh").write_bytes(script)
    (directory / "motoko.yaml").write_text(
        "task_managers:\n  solve:\norchestrator: orchestrator.main\n"
    )
    (directory / "orchestrator.py").write_text("async def main(workflow): ...\n")
    (directory / "solve" / "bd.yaml").write_text(study)
    return warnings_of(directory)


def warnings_of(directory: Path) -> list[Finding]:
    """The warnings about the study."""
    return [f for f in check(directory) if f.level == WARNING and f.about == "study solve"]


STUDY = "study: solve\njob: {n: int}\n"


@pytest.mark.slow
def test_check_tells_of_a_script_with_line_ends_of_windows_and_what_removes_them(
    tmp_path: Path,
) -> None:
    script = b"#!/bin/bash\nif true; then\r\necho $1\r\nfi\n"

    [finding] = solve_in(tmp_path, STUDY, script)
    remedy = finding.text.split("`")[1]
    subprocess.run(["bash", "-c", remedy], check=True)

    file = tmp_path / "solve/launch.sh"
    assert finding.text.startswith(f"{file}:2: ends as lines do on Windows")
    assert file.read_bytes() == script.replace(b"\r", b"")
    assert warnings_of(tmp_path) == []


def test_check_tells_of_directories_of_runs_that_a_renamed_study_has_left(
    tmp_path: Path,
) -> None:
    (tmp_path / "solve/BD-before-runs/run-1").mkdir(parents=True)

    [finding] = solve_in(tmp_path, STUDY)
    remedy = finding.text.split("`")[1]
    subprocess.run(["bash", "-c", remedy], check=True)

    assert f"{tmp_path}/solve/BD-before-runs has directories of runs" in finding.text
    assert (tmp_path / "solve/BD-solve-runs/run-1").is_dir()
    assert warnings_of(tmp_path) == []


@pytest.mark.parametrize("outpath", ["", "outpath: ..\n"])
def test_directories_of_runs_of_others_are_no_sign_of_a_renamed_study(
    tmp_path: Path, outpath: str
) -> None:
    (tmp_path / "BD-other-runs/run-1").mkdir(parents=True)
    (tmp_path / "solve/BD-solve-runs").mkdir(parents=True)
    (tmp_path / "solve/BD-before-runs/run-1").mkdir(parents=True)

    assert solve_in(tmp_path, STUDY + outpath) == []
