"""What is moved into a backup keeps its place there, also what lies outside of the workflow."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from motoko.cli import failures
from motoko.study import moving
from motoko.workflow import Workflow, making
from tests.support.workflows import write_workflow

YAML = "study: {name}\njob: {{x: float}}\noutpath: {outpath}\n"


@pytest.fixture(params=["{tmp_path}/scratch", "../../scratch", "../runs"])
def workflow(request: pytest.FixtureRequest, tmp_path: Path) -> Workflow:
    """Two studies whose run directories lie in one place, each with one of a run 1."""
    outpath = request.param.format(tmp_path=tmp_path)
    yamls = {name: YAML.format(name=name, outpath=outpath) for name in ("a", "b")}
    found = Workflow(str(write_workflow(tmp_path / "w", yamls)))
    for name in yamls:
        run_dir = found.task_manager(name).base.run_dir(1)
        run_dir.mkdir(parents=True)
        (run_dir / f"of-{name}").touch()
    return found


def kept_in(backup: Path) -> list[str]:
    """The files of a backup: their run directory's parent, run directory and name."""
    files = (file for file in backup.rglob("*") if file.is_file())
    return sorted("/".join(file.parts[-3:]) for file in files)


def test_run_directories_of_several_studies_are_kept_apart(workflow: Workflow) -> None:
    backup = making.new_backup(workflow)

    for manager in workflow.task_managers.values():
        making.move_into(backup, manager.base.run_dir(1), workflow)

    assert kept_in(backup) == ["BD-a-runs/run-1/of-a", "BD-b-runs/run-1/of-b"]


def test_all_that_is_set_aside_is_in_the_backup(workflow: Workflow) -> None:
    backup = making.set_aside(workflow, keep_backup=True)

    assert backup is not None
    assert kept_in(backup) == ["BD-a-runs/run-1/of-a", "BD-b-runs/run-1/of-b"]
    assert not any(m.base.runs_dir.exists() for m in workflow.task_managers.values())


def test_a_move_that_fails_says_where_the_rest_is(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    move = moving.move

    def move_one(path: Path, target: Path) -> None:
        if "b" in path.parts or "BD-b-runs" in path.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        move(path, target)

    monkeypatch.setattr(moving, "move", move_one)
    with pytest.raises(OSError, match="No space") as full:
        making.set_aside(workflow, keep_backup=True)
    failures.report(full.value)

    (backup,) = workflow.directory.glob("motoko-backup-*")
    (backup / ".unfinished").unlink()  # by which the next call finds where to go on
    assert kept_in(backup) == ["BD-a-runs/run-1/of-a"]
    assert capsys.readouterr().err.endswith(f"\nwhat was moved before that is in {backup}\n")


def test_nothing_is_left_of_what_is_removed(workflow: Workflow, tmp_path: Path) -> None:
    making.set_aside(workflow, keep_backup=False)

    assert not list(tmp_path.rglob("of-*"))
