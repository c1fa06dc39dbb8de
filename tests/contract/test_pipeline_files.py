"""Files that say that steps are finished, and for which values they were made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from tests.contract.test_pipelines import TEXTS, piped
from tests.support.workflows import no_daemons, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

SENTINELS = {"windows": ["w0", "w1"], "success": [["{window}/md.out"]]}
#: What was called; no function binds it.
CALLED: list[Any] = []


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


def sample(system: SimSystem, params: Any) -> None:
    CALLED.append(params)
    for window in ("w0", "w1"):
        system.path(window).mkdir(exist_ok=True)
        system.path(window, "md.out").write_text(str(params))
        if params == "half":
            raise ValueError("it is half done")


def sampled(workflow: Workflow, payload: Any, run_name: str, names: str = "a") -> list[Any]:
    """What the function was called with."""
    CALLED.clear()
    workflow.run_name = run_name
    systems = [SimSystem(name, workflow.directory / "work" / name) for name in names]
    for system in systems:
        system.root.mkdir(parents=True, exist_ok=True)
    order = Pipeline([Step("look", payload=payload, sentinels=SENTINELS)])
    handlers = {"look": sample}
    piped(workflow, order, systems, handlers=handlers, on_failure="prune")
    return list(CALLED)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def test_files_count_for_the_payload_that_they_were_made_for(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    assert sampled(workflow, 1, "one") == [1]
    assert sampled(workflow, 1, "two") == []
    assert warnings(caplog) == []
    assert sampled(workflow, 2, "three") == [2]
    assert sampled(workflow, 2, "four") == []
    assert sampled(workflow, 1, "five") == [1]

    text = "look:a is done anew: files of it were made for other values (payload "
    assert [said.startswith(text) for said in warnings(caplog)] == [True, True]


def test_files_that_were_written_in_part_do_not_make_the_others_count(
    workflow: Workflow,
) -> None:
    assert sampled(workflow, 1, "one") == [1]
    assert sampled(workflow, "half", "two") == ["half"]
    assert (workflow.directory / "work/a/w1/md.out").read_text() == "1"
    assert sampled(workflow, "half", "three") == ["half"]


def test_files_that_somebody_has_put_there_are_believed_and_that_is_said_once_for_a_step(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    for file in ("a/w0", "a/w1", "b/w0", "b/w1"):
        (workflow.directory / "work" / file).mkdir(parents=True)
        (workflow.directory / "work" / file / "md.out").touch()

    assert sampled(workflow, 1, "one", "abc") == [1]
    [said] = warnings(caplog)
    assert said.startswith("step 'look' was taken for finished in 2 cases: files say so")


def test_files_of_runs_that_are_new_are_told_of(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        (workflow.directory / "work" / name).mkdir(parents=True)
        (workflow.directory / "work" / name / "FINISHED").touch()
    systems = [SimSystem(name, workflow.directory / "work" / name) for name in "abc"]
    piped(workflow, Pipeline([Step("equil", sentinels=True)]), systems)

    [said] = warnings(caplog)
    assert said.startswith("step 'equil' was taken for finished in 2 cases: files say so")
