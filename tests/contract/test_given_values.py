"""What a task may be given, wherever it is created: in actions, in sessions, in main."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from motoko.errors import SchemaError
from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

BD_YAML = "study: given\njob: {x: float, file: str, l: list}\n"


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, given=BD_YAML) as found:
        yield found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"x": range(3)}, [0.0, 1.0, 2.0]),
        ({"X": (1, 2.5)}, [1.0, 2.5]),
        ({"x": np.linspace(0, 1, 3)}, [0.0, 0.5, 1.0]),
        ({"x": pd.Series([1.0, 2.0])}, [1.0, 2.0]),
        ({"x": Fraction(1, 4)}, [0.25]),
        ({"x": [Fraction(1, 4), None]}, [0.25, None]),
        ({"x": []}, []),
        ({"file": Path("a/b")}, ["a/b"]),
        ({"file": [Path("a"), "b"]}, ["a", "b"]),
        ({"l": range(2)}, [[0, 1]]),
        ({"l": []}, [[]]),
        ({"l": [range(2), (3,)]}, [[0, 1], [3]]),
        ({"l": [[[1], [2]]]}, [[[1], [2]]]),
        ({"l": [[[1], [2]], [[3], [4]]]}, [[[1], [2]], [[3], [4]]]),
    ],
)
def test_an_action_gives_tasks_what_main_may_give_them(
    workflow: Workflow, given: dict[str, Any], expected: list[Any]
) -> None:
    [name] = given

    def values() -> list[Any]:
        return [job[name] for _, job in workflow.given.createTask(**given)]

    async def act(workflow: Workflow, **params: Any) -> None:
        workflow.vars.found = values()
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("act", event=lambda: True, f=act)

    assert run(workflow, main) == 0
    assert workflow.vars.found == expected
    n_runs = len(workflow.given.select())
    assert values() == expected
    assert len(workflow.given.select()) == n_runs


@pytest.mark.parametrize("given", [{"x": "many"}, {"x": [1.0, object()]}, {"z": 1}, {"l": 3}])
def test_what_no_task_may_be_given_is_refused_where_it_is_given(
    workflow: Workflow, given: dict[str, Any]
) -> None:
    with workflow.session(), pytest.raises(SchemaError, match=r"given\b"):
        workflow.given.createTask(**given)
