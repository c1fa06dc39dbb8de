"""Values that equal nothing, or only item by item, are worked with as any others."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motoko.crashpoints import VARIABLE
from motoko.errors import ParametersChanged
from motoko.store.codec import is_same
from motoko.store.session import Session, entered
from motoko.workflow import Workflow
from motoko.workflow.upkeep import run_changes
from tests.support.studies import ROOT
from tests.support.waiting import wait_until
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

ARRAY = np.array([1.0, 2.0])


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult") as found:
        yield found


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (math.nan, math.nan, True),
        ([math.nan], [math.nan], True),
        (math.nan, 1.0, False),
        (1, 1.0, True),
        ([1, {"a": 2.0}], [1.0, {"a": 2}], True),
        (ARRAY, ARRAY.copy(), True),
        (ARRAY, np.array([1.0, 3.0]), False),
        (ARRAY, np.array([1.0]), False),
        (np.array([]), np.array([]), True),
        ([ARRAY, 1], [ARRAY.copy(), 1], True),
        (ARRAY, None, False),
        (None, None, True),
        ("1", 1, False),
    ],
)
def test_two_values_are_the_same_or_not(one: Any, other: Any, expected: bool) -> None:
    assert is_same(one, other) is expected
    assert is_same(other, one) is expected


@pytest.mark.parametrize("value", [ARRAY, math.nan, [ARRAY]])
def test_a_session_rests_on_values_that_are_what_they_were(
    workflow: Workflow, value: Any
) -> None:
    ((found, _),) = workflow.mult.createTask(x=1.0)
    found.state = "SEEN"
    found.weights = value
    session = Session()
    with entered(session):
        _ = found.weights
        found.state = "DONE"
    found.note = "of somebody else"

    session.commit()

    assert (found.state, found.note) == ("DONE", "of somebody else")


@pytest.mark.slow
@pytest.mark.parametrize("value", [ARRAY, math.nan])
def test_a_decided_change_of_such_a_value_is_completed(workflow: Workflow, value: Any) -> None:
    ((found, _),) = workflow.mult.createTask(x=1.0)
    found.residual = found.other = value
    program = f"""
from motoko.workflow import Workflow
workflow = Workflow({str(workflow.directory)!r})
with workflow.session():
    workflow.mult.base.run(1).residual = 0.5
    workflow.vars.count = 1
"""
    environment = {**os.environ, VARIABLE: f"commit.decided:{workflow.directory / 'crashed'}"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: workflow.vars.get("count") == 1, "word of the decision")

    workflow.recover()

    assert found.residual == 0.5
    assert is_same(found.other, value)


def test_runs_with_arrays_are_deleted(workflow: Workflow) -> None:
    ((found, _),) = workflow.mult.createTask(x=1.0)
    found.weights = ARRAY
    directory = workflow.mult.base.run_dir(1)
    directory.mkdir(parents=True)

    changes = run_changes.delete(workflow, {workflow.mult.base: [1]}, keeps_files=True)

    assert changes.done == ["mult.1"]
    assert not directory.exists()


def test_arrays_are_options_as_others(workflow: Workflow) -> None:
    async def main(workflow: Workflow, grid: Any, **params: Any) -> None:
        workflow.mult.createTask(x=grid)
        workflow.finished = True

    assert run(workflow, main, grid=ARRAY) == 0
    assert run(workflow, main, grid=ARRAY.copy()) == 0
    with pytest.raises(ParametersChanged, match=r"options\.grid"):
        run(workflow, main, grid=np.array([1.0, 3.0]))

    assert [job.x for _, job in workflow.mult.select()] == [1.0, 2.0]
