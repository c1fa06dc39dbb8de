"""What is said of files that are there in another form than they should be."""

from __future__ import annotations

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
