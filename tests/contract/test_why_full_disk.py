"""A full disk is named as what holds runs and events up."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from motoko.workflow.actions import Action
from motoko.workflow.rule import Rule
from motoko.workflow.views import run_reasons
from motoko.workflow.views.event_reasons import Inquiry
from tests.support.workflows import served_workflow


def test_full_disk_is_named_for_runs_that_are_not_over_and_for_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_workflow(tmp_path, "mult") as workflow:
        workflow.mult.createTask(x=[1.0, 2.0, 3.0])
        runs = workflow.mult.base.runs
        runs[2].state = "RUNNING"
        runs[3].state = "FINISHED"
        full = SimpleNamespace(f_bfree=0, f_bavail=0, f_frsize=4096, f_files=9, f_favail=9)
        monkeypatch.setattr(os, "statvfs", lambda place: full)
        rule = Rule(Action("done", "mult", "state = FINISHED", None, None))
        report = {"stall": None, "wait_s": 5.0}

        said = [run_reasons.why(workflow, f"mult.{i}").sentence for i in (1, 2, 3)]
        event = Inquiry(workflow, "test", rule.report(), report).reason([]).sentence

    assert [text.count("less than 1 MB is left on the disk of") for text in (*said, event)] == [
        1,
        1,
        0,
        1,
    ]
    assert event.startswith("done@mult is true and fires next")
