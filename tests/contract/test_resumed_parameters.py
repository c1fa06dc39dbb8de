"""A run name stands for what it was begun with, whoever goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import ParametersChanged
from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

BD_YAML = "study: solve\njob: {x: float}\njob_space: {x: [1.0, 2.0]}\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, solve=BD_YAML) as found:
        yield found


async def main(workflow: Workflow, **params: Any) -> None:
    workflow.solve.createTask()
    workflow.finished = True


def again(served: Workflow) -> Workflow:
    """The workflow as another process would open it."""
    found = Workflow(served.config_path)
    found.run_name = served.run_name
    return found


def test_run_name_does_not_go_on_with_other_parameters_unless_they_are_accepted(
    served: Workflow,
) -> None:
    assert run(served, main, n=1, far=object()) == 0

    assert run(served, main, n=1, far=object()) == 0
    with pytest.raises(ParametersChanged) as caught:
        run(served, main, n=2)
    file = served.directory / "solve" / "bd.yaml"
    file.write_text(file.read_text().replace("2.0", "3.0"))
    changed = again(served)
    with pytest.raises(ParametersChanged) as of_file:
        run(changed, main, n=1)

    assert [c[0] for c in caught.value.changes] == ["options.n"]
    assert "  options.n  1 -> 2\n" in str(caught.value)
    assert of_file.value.changes == (("solve.job_space.x", "[1.0, 2.0]", "[1.0, 3.0]"),)
    assert len(served.solve.select()) == 2
    changed.accepts_changes = True
    assert run(changed, main, n=2) == 0
    changed.accepts_changes = False
    assert run(changed, main, n=2) == 0  # that is what it stands for now
    changed.run_name = "another"
    assert run(changed, main, n=3) == 0
    changed.close()


def test_execute_refuses_other_parameters_before_anything_is_called(served: Workflow) -> None:
    assert run(served, main, n=1) == 0
    called: list[int] = []

    async def note(workflow: Workflow, n: int) -> None:
        called.append(n)

    other = again(served)
    other.orchestrator_function = note

    with pytest.raises(ParametersChanged, match=r"options\.n  1 -> 2"):
        other.execute(n=2)

    assert called == []
    other.close()
