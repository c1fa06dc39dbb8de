"""What is told of functions of pipelines that wait, fail, or are left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from motoko.cli.orchestration import closing_line
from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from motoko.workflow.upkeep.check import check
from motoko.workflow.views import event_reasons, overview
from motoko.workflow.views.progress import Progress
from tests.contract.test_pipelines import TEXTS, YAML, written
from tests.support.workflows import finish_all, no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

SYSTEMS = [SimSystem(name, f"/work/{name}") for name in "abc"]
ORDER = Pipeline([Step("look"), Step("note", ["look"]), Step("sum", ["look"], barrier=True)])


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


def test_it_is_told_what_a_function_waits_for_has_failed_for_or_is_left_out_for(
    workflow: Workflow,
) -> None:
    said: dict[str, str] = {}

    async def look(system: Any, attempts: Any) -> None:
        if system.name == "b" or (system.name == "c" and not attempts):
            raise ValueError("no luck")
        if system.name == "c":
            await ask()

    async def ask() -> None:
        def question() -> None:
            for name in ("look", "look:b", "look:c", "note:b", "note:c", "sum:a"):
                [reason] = event_reasons.why(workflow, name)
                said[name] = reason.sentence

        while said.get("look") != "look is 1 begun, 1 done, 1 system left out":
            await anyio.to_thread.run_sync(question)
        await anyio.to_thread.run_sync(question)

    async def main(workflow: Workflow, **params: Any) -> None:
        policy = {"retry": {"application": 1, "then": "prune"}}
        handlers: dict[str, Any] = {"look": look, "sum": lambda: None}
        handlers["note"] = lambda: None
        await workflow.run_pipeline(ORDER, SYSTEMS, handlers=handlers, on_failure=policy)
        workflow.finished = True

    assert run(workflow, main, outcome=finish_all) == 0

    assert said["look:b"] == "look:b failed, called 2 times: ValueError: no luck"
    assert said["look:c"].startswith("look:c is in flight since ")
    assert said["note:b"] == "note:b is left out, since look:b failed"
    assert said["note:c"] == "note:c waits for look:c (begun)"
    assert said["sum:a"] == "sum:a waits until look is done for all systems"
    [reason] = event_reasons.why(workflow, "look:b")
    assert reason.sentence.endswith(
        "`motoko run --run_name test --retry-failed` calls it again"
    )
    line = closing_line(workflow, Progress(workflow, "test"), 0)
    assert "no runs; 1 function FAILED (look:b); results in" in line
    [failed] = overview.look(workflow, (), None).as_json()["failed_functions"]
    assert (failed["function"], failed["number"], failed["retry_at"]) == ("look:b", 2, None)


MISTAKES = [
    (
        "[equil], handler: functions.report",
        "[equil], handler: functions.reprt",
        "steps.report.handler: found 'functions.reprt'; ",
    ),
    ("systems.yaml", "{directory: wrk}", ":6: pipeline.systems.directory: found 'wrk'"),
    (
        "t: ",
        "temp: ",
        "steps.equil.job.temp: found 'temp', which is no job value of study equil",
    ),
    (
        "[0, 1], t",
        "[], t",
        ":13: pipeline.steps.equil.job.window: job value 'window' is a list",
    ),
    ("{system.meta.t}", "{system.meta.u}", "steps.equil: it has {system.meta.u}, which system"),
    (
        "windows: [0, 1]}",
        "windows: [0, 1], success: [done]}",
        "steps.prepare.sentinels.success: found a list ['done']; expected {window} in a",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_check_tells_one_mistake_of_a_pipeline_once_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in YAML
    directory = written(tmp_path, YAML.replace(old, new, 1))

    found = [one.text for one in check(directory) if one.level == "mistake"]

    assert len(found) == 1
    assert found[0].startswith(f"{directory}/motoko.yaml:")
    assert message in found[0]


def test_check_says_that_there_are_no_systems(tmp_path: Path) -> None:
    places = "{directory: ., pattern: 'x*'}"
    directory = written(tmp_path, YAML.replace("systems.yaml", places).replace("job:", "#"))

    found = [one.text for one in check(directory) if one.about == "pipeline"]

    assert found == [
        f"prepare, equil, report: no systems: no directory in {directory} has a name like 'x*'"
    ]
