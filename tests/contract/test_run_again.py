"""One workflow that is run several times, as in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult") as found:
        yield found


def test_what_main_has_registered_is_not_called_in_the_next_run(workflow: Workflow) -> None:
    called: list[str | None] = []

    async def clip(workflow: Workflow, **params: Any) -> None:
        called.append(workflow.run_name)
        workflow.finished = True

    async def main(workflow: Workflow, clips: bool, **params: Any) -> None:
        if clips:
            workflow.add_action("clip", "mult", "state = FINISHED", f=clip)
        await workflow.mult.createTask(x=1.0)

    assert run(workflow, main, clips=True) == 0
    assert list(workflow.actions) == [("mult", "clip")]  # to be looked at
    workflow.run_name = "second"
    assert run(workflow, main, clips=False) == 0

    assert called == ["test"]
    assert list(workflow.actions) == []


def test_what_is_registered_before_the_first_run_is_called_in_each(workflow: Workflow) -> None:
    called: list[str | None] = []

    async def end(workflow: Workflow, **params: Any) -> None:
        called.append(workflow.run_name)
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)

    workflow.add_action("end", "mult", "state = FINISHED", f=end)
    assert run(workflow, main) == 0
    workflow.run_name = "second"
    assert run(workflow, main) == 0

    assert called == ["test", "second"]


def test_what_is_registered_between_two_runs_takes_the_place_of_an_earlier_one(
    workflow: Workflow,
) -> None:
    called: list[str] = []

    async def first(workflow: Workflow, **params: Any) -> None:
        called.append("first")
        workflow.finished = True

    async def second(workflow: Workflow, **params: Any) -> None:
        called.append("second")
        workflow.finished = True

    async def main(workflow: Workflow, registers: bool, **params: Any) -> None:
        if registers:
            workflow.add_action("end", "mult", "state = FINISHED", f=first)
        workflow.mult.createTask(x=1.0)

    assert run(workflow, main, registers=True) == 0
    workflow.add_action("end", "mult", "state = FINISHED", f=second)
    workflow.run_name = "second"
    assert run(workflow, main, registers=False) == 0

    assert called == ["first", "second"]
