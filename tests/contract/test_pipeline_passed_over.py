"""Runs that were put back, and that no step of a pipeline asks for any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from motoko.cli.orchestration import closing_line
from motoko.columns import AWAITS, PASSED_OVER
from motoko.errors import RunsFailed
from motoko.model import states
from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.workflow import Workflow, control
from motoko.workflow.views import overview, run_reasons
from motoko.workflow.views.progress import Progress
from tests.contract.test_pipeline_order import SYSTEMS, Begun, clean, retry, row, sound
from tests.contract.test_pipelines import ORDER, TEXTS, failing, piped
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workflow]:
    monkeypatch.setattr(control, "ensure_served", lambda workflow: None)
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


def heated(t: float) -> Pipeline:
    return Pipeline([Step("prepare", payload={"job": {"t": t}}), Step("equil", ["prepare"])])


def cleaned_at_310(workflow: Workflow) -> list[str]:
    """Clean a pipeline that was run at 300 and then at 310, and run it at 310: what begins."""
    workflow.accepts_changes = True
    for t in (300.0, 310.0):
        piped(workflow, heated(t), SYSTEMS)
    assert len(clean(workflow).awaiting) == 4
    begun = Begun()
    assert piped(workflow, heated(310.0), SYSTEMS, outcome=begun) == ["a"]
    return begun


def test_runs_of_an_earlier_value_that_were_put_back_are_told_of_when_the_run_name_has_ended(
    workflow: Workflow,
) -> None:
    begun = cleaned_at_310(workflow)

    assert begun == ["prepare.2 behind nothing", "equil.2 behind prepare.2#2"]
    line = closing_line(workflow, Progress(workflow, "test"), 0)
    assert (
        "; 2 runs are of no present step of a pipeline (prepare.1, equil.1),"
        " `motoko why prepare.1`; results in"
    ) in line
    found = overview.look(workflow, (), None)
    said = [(study.name, study.awaiting, study.passed_over) for study in found.studies]
    assert said[:2] == [(n, {"test": 1}, {"test": [1]}) for n in ("prepare", "equil")]
    reason = run_reasons.why(workflow, "equil.1")
    assert "test came to its end" in reason.sentence
    assert "its step 'equil' of a pipeline has other values" in reason.sentence
    assert "`motoko runs retry equil.1 --out-of-order` executes it at once" in reason.sentence
    left = retry(workflow, "equil", 1).left["equil.1"]
    assert "waits for its step 'equil', which did not ask for it: test came to" in left
    sound(workflow)


def test_they_are_executed_when_their_value_comes_back(workflow: Workflow) -> None:
    cleaned_at_310(workflow)
    assert PASSED_OVER in row(workflow, "equil", 1)
    begun = Begun()

    piped(workflow, heated(300.0), SYSTEMS, outcome=begun)

    assert begun == ["prepare.1 behind nothing", "equil.1 behind prepare.1#2"]
    for name in ("prepare", "equil"):
        assert not {AWAITS, PASSED_OVER} & row(workflow, name, 1).keys()
    sound(workflow)


def test_a_run_of_a_system_that_is_left_out_is_told_of_and_may_be_given_up(
    workflow: Workflow,
) -> None:
    systems = [*SYSTEMS, SimSystem("b", "/work/b")]
    piped(workflow, ORDER, systems)
    for name in ("prepare", "equil"):
        retry(workflow, name, 2)

    found = piped(workflow, ORDER, systems, outcome=failing("prepare:b"), on_failure="prune")

    assert found == ["a"]
    assert PASSED_OVER in row(workflow, "equil", 2)
    workflow.equil.base.database.write(lambda t: t.update_run(2, {"state": "CANCELLED"}))
    assert PASSED_OVER not in row(workflow, "equil", 2)
    sound(workflow)


def test_a_run_that_is_put_back_behind_the_pipeline_is_asked_for_next_time(
    workflow: Workflow,
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        await workflow.run_pipeline(ORDER, SYSTEMS)
        if not begun:
            await anyio.to_thread.run_sync(lambda: retry(workflow, "check", 1))
        workflow.finished = True

    begun = Begun()
    run(workflow, main)
    found = row(workflow, "check", 1)
    assert states.awaits_step(found) and PASSED_OVER not in found
    assert "goes through the pipeline" in run_reasons.why(workflow, "check.1").sentence

    begun.append("again")
    run(workflow, main, outcome=begun)
    assert begun == ["again", "check.1 behind equil.1"]


@pytest.mark.parametrize("is_called", [False, True])
def test_a_run_of_a_pipeline_that_an_action_awaits_is_told_of_when_that_is_not_called_again(
    workflow: Workflow, is_called: bool
) -> None:
    async def follow(workflow: Workflow, runs: Any) -> None:
        await workflow.run_pipeline(Pipeline([Step("equil")]), SYSTEMS)
        for run, _ in runs:
            run.state = "FOLLOWED"
        workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("follow", "prepare", "state = FINISHED", f=follow)
        workflow.prepare.createTask(system="a")

    run(workflow, main)
    retry(workflow, "equil", 1)
    if is_called:
        retry(workflow, "prepare", 1)
    begun = Begun()
    run(workflow, main, outcome=begun)

    if is_called:
        assert begun == ["prepare.1 behind nothing", "equil.1 behind nothing"]
        return
    assert begun == [] and PASSED_OVER in row(workflow, "equil", 1)
    line = closing_line(workflow, Progress(workflow, "test"), 0)
    assert "; 1 run is of no present step of a pipeline (equil.1)" in line
    reason = run_reasons.why(workflow, "equil.1")
    assert "an action that was not called again" in reason.sentence


def test_who_leaves_before_any_pipeline_has_begun_says_nothing_of_its_runs(
    workflow: Workflow,
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        raise SystemExit(3)

    piped(workflow, ORDER, SYSTEMS)
    retry(workflow, "check", 1)

    assert run(workflow, main) == 3
    assert PASSED_OVER not in row(workflow, "check", 1)


def test_a_run_that_a_pipeline_has_not_come_to_may_be_asked_for_next_time(
    workflow: Workflow,
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        with suppress(RunsFailed):
            await workflow.run_pipeline(ORDER, SYSTEMS)
        workflow.finished = True

    piped(workflow, ORDER, SYSTEMS)
    for name in ("prepare", "check"):
        retry(workflow, name, 1)
    run(workflow, main, outcome=failing("prepare:a"))

    found = row(workflow, "check", 1)
    assert states.awaits_step(found) and PASSED_OVER not in found
    assert "goes through the pipeline" in run_reasons.why(workflow, "check.1").sentence
