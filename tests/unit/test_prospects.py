"""Whether anything can happen in a workflow any more."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from motoko.workflow import executing
from motoko.workflow.prospects import Prospects


class Study:
    """One run, which no counter of runs that execute counts."""

    def __init__(self, **row: Any) -> None:
        row = {"run_name": "a", "state": "MINE", "nonce": "n", **row}
        self.tables = SimpleNamespace(has_run=lambda run_id: True, run=lambda run_id: row)
        self.database = SimpleNamespace(newest=nullcontext)

    def counts(self, run_name: str) -> dict[str, int]:
        """How many runs there are by state."""
        return {"MINE": 1}


class Evaluating:
    """No action is called, and no condition is true."""

    is_firing = False
    n_changes = 0

    def __init__(self) -> None:
        self.rules: dict[tuple[str, str], Any] = {}

    async def evaluate_anew(self) -> int:
        return 0


def is_stalled(study: Study) -> bool:
    """Whether a workflow of this study says so once ``main`` is done."""
    managers = {"mult": SimpleNamespace(base=study)}
    workflow: Any = SimpleNamespace(
        run_name="a", task_managers=managers, databases=[], asked_steps=None
    )
    nobody: Any = None
    prospects = Prospects(workflow, nobody, nobody, Evaluating())
    prospects.is_main_done = True
    anyio.run(prospects.look_for_stall)
    return prospects.stall is not None


def test_a_run_that_executes_in_a_state_of_its_own_is_looked_up_where_no_news_has_come(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(executing, "open_runs", lambda tables: [1])

    assert not is_stalled(Study())
    assert is_stalled(Study(end_time=1.0))
    assert is_stalled(Study(run_name="other"))


@pytest.mark.parametrize("n_awaiting", [1, 2])
def test_runs_that_wait_for_a_step_of_a_pipeline_keep_nothing_going(
    monkeypatch: Any, n_awaiting: int
) -> None:
    monkeypatch.setattr(executing, "open_runs", lambda tables: [])
    monkeypatch.setattr(Study, "counts", lambda self, run_name: {"CREATED": 2})
    monkeypatch.setattr(
        Study, "n_awaiting_step", lambda self, run_name: n_awaiting, raising=False
    )

    assert is_stalled(Study(state="CREATED", nonce=None)) == (n_awaiting == 2)
