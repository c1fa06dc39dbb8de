"""Putting runs back while a launcher claims some of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from motoko.launch.work import Work
from motoko.workflow import control
from motoko.workflow.upkeep import ending
from tests.support.studies import delay_news, open_study
from tests.support.workflows import served_workflow


def test_a_run_that_was_claimed_just_before_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ensure_served", lambda workflow: None)
    with served_workflow(tmp_path / "w", "mult") as workflow:
        workflow.mult.createTask(x=1.0)
        study = workflow.mult.base
        study.run_dir(1).mkdir(parents=True)
        launcher = open_study(study.directory)
        late = delay_news(study.database, monkeypatch)
        launcher.database.write(Work("1", (), {}, 1, frozenset(), is_first=True).apply)
        assert late.wait(20)

        cleaned = ending.clean(workflow, ["mult"], [], keep_backup=True, current_files=False)

        launcher.close()
        assert (cleaned.n_runs, cleaned.n_active) == (0, 1)
        assert study.run_dir(1).exists()
