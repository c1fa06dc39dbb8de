"""Entries of runs and variables: what is read is one's own, and names that are taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motoko.columns import HIDDEN
from motoko.errors import EntryNotFound, SchemaError
from motoko.workflow import Workflow
from tests.support.workflows import no_daemons, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workflow]:
    with served_workflow(tmp_path_factory.mktemp("w"), "mult") as found:
        yield found


def test_what_is_read_of_a_run_is_ones_own(workflow: Workflow) -> None:
    ((run, _),) = workflow.mult.createTask(x=1.0)
    values: dict[str, Any] = {
        "u": np.array([1.0, 2.0]),
        "tags": {"a"},
        "pair": ([1], 2),
        "names": [1],
    }
    for name, value in values.items():
        run[name] = value

    run.u[:] = 0
    run.tags.add("b")
    run.pair[0].append(2)
    run.names.append(2)
    run["u"][:] = 0

    assert run.u.tolist() == [1.0, 2.0]
    assert {name: run[name] for name in ("tags", "pair", "names")} == {
        "tags": {"a"},
        "pair": ([1], 2),
        "names": [1],
    }


def test_what_motoko_keeps_for_itself_is_neither_listed_nor_suggested(
    workflow: Workflow,
) -> None:
    ((run, _),) = workflow.mult.createTask(x=4.0)

    with pytest.raises(EntryNotFound) as caught:
        _ = run.nope

    assert "did you mean" not in str(caught.value)
    for names in (dict(run.items()), list(run), run.keys(), run.entries, caught.value.known):
        assert "create_time" in names
        assert not HIDDEN.intersection(names)
    assert "files" not in run
    assert run.get("files")


def test_what_is_not_known_of_an_attempt_is_none(workflow: Workflow) -> None:
    ((run, _),) = workflow.mult.createTask(x=6.0)
    database = workflow.mult.base.database
    database.write(lambda tables: tables.set_attempt(run.id, 1, {"state": "FAILED"}))

    (attempt,) = run.attempts

    assert (attempt["number"], attempt["state"], attempt["signal"]) == (1, "FAILED", None)


def test_what_is_refused_is_said_once(workflow: Workflow) -> None:
    ((run, _),) = workflow.mult.createTask(x=5.0)

    with pytest.raises(SchemaError, match=r"'state': found ''; a state is text that is not"):
        run.state = ""
    with pytest.raises(SchemaError, match=r"found object <[^<]*; expected"):
        run.obj = object()
    with pytest.raises(SchemaError, match=r"found 1\.5 in a mapping"):
        run.obj = {1.5: 2}


@pytest.mark.parametrize("name", ["update_entries", "items", "job", "file", "study", "_row"])
def test_an_attribute_that_would_be_read_as_something_else_is_refused(
    workflow: Workflow, name: str
) -> None:
    ((run, _),) = workflow.mult.createTask(x=2.0)

    with pytest.raises(SchemaError, match=rf"an entry so named is run\['{name}'\]"):
        setattr(run, name, 1)

    run[name] = 1
    assert run[name] == 1


@pytest.mark.parametrize("name", ["get", "close", "db", "conn", "root", "_raw"])
def test_a_variable_that_would_be_read_as_something_else_is_refused(
    workflow: Workflow, name: str
) -> None:
    with pytest.raises(SchemaError, match="choose another name"):
        setattr(workflow.vars, name, 1)

    assert name not in workflow.vars


POINTS = """\
study: points
job: {l: list, d: dict, x: float}
run: {m: list, f: float}
job_space: {x: 1.0}
"""


def test_what_is_equal_is_the_same_task(tmp_path: Path) -> None:
    with served_workflow(tmp_path, points=POINTS) as workflow:

        def ids(run_params: dict[str, Any] | None = None, **params: Any) -> list[int]:
            return [run.id for run, _ in workflow.points.createTask(run_params, **params)]

        usual = ids()

        assert ids(l=[1, 2]) == ids(l=[1.0, 2.0]) == ids(l=np.array([1.0, 2.0])) != usual
        assert ids(d={"a": 1, "b": 0.0}) == ids(d={"b": -0.0, "a": 1.0}) != usual
        assert ids(x=0.0) == ids(x=-0.0) != usual
        assert ids({"m": [1]}) == ids({"m": [1.0]}) != usual
        assert ids({"replica": 2}) == ids({"replica": 2.0}) != usual
        assert ids({"f": None}) == ids({"nproc": 1}) == ids({"nproc": None}) == usual
        assert ids(l=[1, 2.5]) != ids(l=[1, 2])
