"""Runs whose programs leave directories read-only are tried again, cleaned and deleted."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from motoko.workflow import control
from motoko.workflow.upkeep import ending, run_changes
from motoko.workflow.workflow import Workflow
from tests.support.launch_session import YAML, attempts, create, launching, new_study, row
from tests.support.launch_session import wait_for_attempts as wait_for
from tests.support.powers import without_powers
from tests.support.workflows import conclude, served_workflow

SCRIPT = """\
mkdir -p out/deep
echo $MOTOKO_ATTEMPT > out/deep/number
chmod 555 out/deep out .
exit 3
"""


def test_a_run_that_left_all_read_only_is_tried_again(tmp_path: Path) -> None:
    yaml = f"{YAML}retry: {{application: 1, delay: 0}}\n"
    with new_study(tmp_path / "s", SCRIPT, yaml) as study, without_powers(), launching(study):
        create(study)
        wait_for(study, 2)

        assert [one["cause"] for one in attempts(study)] == ["exit code 3"] * 2
        assert [one["class"] for one in attempts(study)] == ["application"] * 2
        run_dir = study.run_dir(row(study)["id"])
        aside = run_dir / "attempt-1" / "out"
        assert (aside / "deep" / "number").exists()
        assert [path.stat().st_mode & 0o777 for path in (aside, aside / "deep")] == [0o555] * 2


def clean(workflow: Workflow) -> object:
    return ending.clean(workflow, ["mult"], [], keep_backup=True, current_files=False)


def clean_for_ever(workflow: Workflow) -> object:
    return ending.clean(workflow, ["mult"], [], keep_backup=False, current_files=False)


def retry(workflow: Workflow) -> object:
    how = run_changes.Retry(is_dir_cleaned=True)
    return run_changes.retry(workflow, {workflow.mult.base: [1]}, how)


def delete(workflow: Workflow) -> object:
    return run_changes.delete(workflow, {workflow.mult.base: [1]}, keeps_files=True)


def delete_for_ever(workflow: Workflow) -> object:
    return run_changes.delete(workflow, {workflow.mult.base: [1]}, keeps_files=False)


@pytest.mark.parametrize("remove", [clean, clean_for_ever, retry, delete, delete_for_ever])
def test_what_cannot_be_moved_is_said_before_anything_is_changed_and_what_can_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remove: Callable[[Workflow], object]
) -> None:
    monkeypatch.setattr(control, "ensure_served", lambda workflow: None)
    with served_workflow(tmp_path / "w", "mult") as workflow:
        workflow.mult.createTask(x=1.0)
        study = workflow.mult.base
        study.database.write(partial(conclude, 1, "FINISHED", 1))
        run_dir = study.run_dir(1)
        (run_dir / "out").mkdir(parents=True)
        (run_dir / "out" / "result").touch()
        for path in (run_dir / "out", run_dir):
            path.chmod(0o555)

        study.runs_dir.chmod(0o555)
        with without_powers(), pytest.raises(PermissionError, match=f"{study.runs_dir}`"):
            remove(workflow)
        study.runs_dir.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(run_dir, 65534, 65534)
            with without_powers(), pytest.raises(PermissionError, match=f"{run_dir}`"):
                remove(workflow)
            os.chown(run_dir, 0, 0)
        assert row(study)["state"] == "FINISHED"
        assert (run_dir / "out" / "result").exists()
        with without_powers():
            remove(workflow)

        assert not run_dir.exists()
        kept = list(workflow.directory.glob("motoko-backup-*/mult/*/run-1"))
        assert len(kept) == (0 if "for_ever" in remove.__name__ else 1)
        assert all(path.stat().st_mode & 0o777 == 0o555 for path in kept)
