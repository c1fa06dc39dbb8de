"""Policies of pipelines: what their runs are told, and what becomes of systems."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.errors import ActionFailed, PipelineError, RunsFailed
from motoko.pipeline import Pipeline, Step
from motoko.store.audit import ledger_problems
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.study.waiting import commit_current
from motoko.workflow import Workflow
from motoko.workflow.pipelines import running
from motoko.workflow.pipelines.again import give_new_start
from motoko.workflow.pipelines.progress import Phase, Progress
from tests.contract.test_pipelines import ORDER, STUDIES, SYSTEMS, TEXTS, failing, phases, piped
from tests.support.workflows import conclude, no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


@pytest.mark.slow
def test_runs_are_tried_again_as_the_pipeline_says_and_it_decides_on_the_rest(
    workflow: Workflow,
) -> None:
    policy = {"retry": {"attempts": 2, "out of memory": 4, "then": "prune"}}

    survivors = piped(workflow, outcome=failing("equil:b"), on_failure=policy)

    assert survivors == ["a", "c"]
    assert "check:b" not in phases(workflow)
    told = [
        run.on_failure["retry"]
        for name in STUDIES
        for run, _ in getattr(workflow, name).select()
    ]
    assert len(told) == 8
    assert all((one["application"], one["out of memory"]) == (2, 4) for one in told)
    assert all(one["then"] == "prune" for one in told)


@pytest.mark.parametrize("is_of_study", [True, False])
def test_raise_names_the_systems_whose_phases_failed(tmp_path: Path, is_of_study: bool) -> None:
    texts = dict(TEXTS)
    if is_of_study:
        texts["equil"] += "on_failure: raise\n"
    given = {} if is_of_study else {"on_failure": "raise"}

    with served_workflow(tmp_path, **texts) as workflow, pytest.raises(RunsFailed) as caught:
        piped(workflow, outcome=failing("equil:b"), **given)

    assert "equil:b: equil." in str(caught.value)
    assert "motoko run --run_name test --retry-failed" in caught.value.__notes__[0]


def test_raise_names_every_phase_that_has_failed_by_then(workflow: Workflow) -> None:
    bad = failing("prepare:a", "prepare:c", "equil:b")

    with pytest.raises(RunsFailed) as caught:
        piped(workflow, outcome=bad, on_failure="raise")

    assert [failed.phase for failed in caught.value.failed] == ["prepare:a", "prepare:c"]


def test_raise_names_what_fails_a_moment_later_and_begins_nothing_meanwhile(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_TOGETHER_S", 20.0)

    def outcome(study: Study, row: Mapping[str, Any]) -> str | None:
        system = study.job_row(row["job_id"])["system"]
        return {"a": "FAILED", "b": None, "c": "FINISHED"}[system]

    async def main(workflow: Workflow, **params: Any) -> None:
        database = workflow.prepare.base.database
        later = asyncio.get_running_loop().call_later

        def let_fail(tables: Tables, changed: set[int] | None) -> None:
            if tables.in_state("FAILED") and list(tables.in_state("CREATED")) == [2]:
                stop()
                later(0.2, database.write, partial(conclude, 2, "FAILED", 1))

        stop = workflow.prepare.base.lookout.watch(let_fail)
        await workflow.run_pipeline(ORDER, SYSTEMS, on_failure="raise")

    with pytest.raises(RunsFailed) as caught:
        run(workflow, main, outcome=outcome)

    assert [failed.phase for failed in caught.value.failed] == ["prepare:a", "prepare:b"]
    assert set(phases(workflow)) == {"prepare:a", "prepare:b", "prepare:c"}


def test_raise_names_every_function_that_has_failed_by_then(workflow: Workflow) -> None:
    failed: list[str] = []

    async def look(system: Any, workflow: Workflow) -> None:
        failed.append(system.name)
        if len(failed) == len(SYSTEMS):
            all_failed.set()
        await all_failed.wait()
        raise ValueError(f"no {system.name}")

    all_failed = anyio.Event()
    order = Pipeline([Step("look")])
    with pytest.raises(ActionFailed) as caught:
        piped(workflow, order, handlers={"look": look}, on_failure="raise")

    told = "\n".join([str(caught.value), *caught.value.__notes__])
    assert [name for name in "abc" if f"look:{name}" in told] == ["a", "b", "c"]


def test_function_is_called_again_as_long_as_there_is_budget_and_told_why(
    workflow: Workflow,
) -> None:
    calls: list[tuple[str, list[str]]] = []

    async def check(system: Any, attempts: Any, **params: Any) -> None:
        calls.append((system.name, [one["cause"] for one in attempts]))
        if system.name == "b" or (system.name == "c" and not attempts):
            raise ValueError("no luck")

    policy = {"retry": {"application": 2, "then": "prune"}}
    pipeline = Pipeline([Step("check")])

    survivors = piped(workflow, pipeline, handlers={"check": check}, on_failure=policy)

    why = "ValueError: no luck"
    assert survivors == ["a", "c"]
    assert sorted(calls) == [
        ("a", []),
        ("b", []),
        ("b", [why]),
        ("b", [why, why]),
        ("c", []),
        ("c", [why]),
    ]


@pytest.mark.parametrize("steps", [["equil"], ["equil", "check"]])
def test_failures_in_pipelines_that_actions_await_end_the_workflow(
    workflow: Workflow, steps: list[str]
) -> None:
    async def follow(workflow: Workflow, params: str) -> None:
        await workflow.run_pipeline(Pipeline([Step(params)]), SYSTEMS[:1])

    async def main(workflow: Workflow, **params: Any) -> None:
        for step in steps:
            given = partial(str, step)
            workflow.add_action(step + "_follows", "prepare", "state = FINISHED", given, follow)
        workflow.prepare.createTask(system="a")

    with pytest.raises(RunsFailed):
        run(workflow, main, outcome=failing("equil:a", "check:a"))


BUDGET = {"retry": {"application": 3, "then": "prune"}}


async def until_failed(workflow: Workflow, n_stop: int, check: Any) -> None:
    """End as if killed once so many calls have failed."""

    def have_failed() -> bool:
        return n_kept(workflow) == n_stop

    workflow.add_action("stop", event=have_failed, f=lambda: sys.exit(3))
    order = Pipeline([Step("check"), Step("equil", ["check"])])
    await workflow.run_pipeline(order, SYSTEMS, handlers={"check": check}, on_failure=BUDGET)
    workflow.finished = True


def n_kept(workflow: Workflow) -> int:
    with workflow.vars.db.read() as ledger:
        return sum(map(len, ledger.failures("test").values()))


@pytest.mark.slow
def test_budget_of_a_function_survives_whoever_orchestrates(workflow: Workflow) -> None:
    calls: list[tuple[str, list[int]]] = []

    async def check(workflow: Workflow, system: Any, attempts: Any) -> None:
        if system.name == "b":
            workflow.vars.half = time.monotonic_ns()
            await commit_current()  # as at each wait
            if n_kept(workflow) == workflow.params["n_stop"]:
                await anyio.sleep_forever()
        calls.append((system.name, [one["number"] for one in attempts]))
        if system.name == "b":
            raise ValueError("no luck")

    def called(n_stop: int) -> tuple[int, list[list[int]]]:
        calls.clear()
        again = Workflow(workflow.config_path)
        again.run_name, again.accepts_changes = "test", True
        code = run(again, until_failed, n_stop=n_stop, check=check)
        again.close()
        return code, [before for name, before in calls if name == "b"]

    assert called(2) == (3, [[], [1]])
    assert called(3) == (3, [[1, 2]])
    assert called(9) == (0, [[1, 2, 3]])
    survivors = {job.system for _, job in workflow.equil.select()}
    assert called(9) == (0, [])  # it is left out, and others are done
    assert give_new_start(workflow.vars.db, "test") == 1
    assert called(9) == (0, [[1, 2, 3, 4], *([*range(1, n)] for n in (6, 7, 8))])
    assert survivors == {job.system for _, job in workflow.equil.select()} == {"a", "c"}
    with workflow.vars.db.read() as ledger:
        assert ledger_problems(ledger) == []


def test_error_handler_is_not_called_for_a_system_that_is_left_out(workflow: Workflow) -> None:
    handled: list[str] = []

    def note(runs: Any) -> None:
        handled.extend(job.system for _, job in runs)

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler(f=note)
        workflow.add_error_handler(lambda run, job: run.state == "FAILED", note, event_name="f")
        survivors = await workflow.run_pipeline(ORDER, SYSTEMS, on_failure="prune")
        assert [system and system.name for system in survivors] == ["a", "c"]
        workflow.finished = True

    assert run(workflow, main, outcome=failing("equil:b")) == 0
    assert handled == []


def test_a_policy_that_nobody_knows_is_refused_before_anything_begins(
    workflow: Workflow,
) -> None:
    with pytest.raises(PipelineError, match=r"prone.*did you mean 'prune'"):
        piped(workflow, ORDER, SYSTEMS, on_failure="prone")
    assert phases(workflow) == {}


@pytest.mark.parametrize("does_last", ["function", "study"])
def test_system_that_was_left_out_stays_so_when_the_run_name_is_taken_up_again(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, does_last: str
) -> None:
    prune, is_pruned, called = Progress.prune, anyio.Event(), list[str]()

    def prune_and_tell(self: Progress, phase: Phase) -> bool:
        found = prune(self, phase)
        is_pruned.set()
        return found

    async def look(system: Any) -> None:
        called.append(f"look:{system.name}")
        if system.name == "b":
            await is_pruned.wait()

    def conclude(system: Any) -> None:
        called.append(f"last:{system.name}")

    monkeypatch.setattr(Progress, "prune", prune_and_tell)
    last = Step("last", ["look"], task="check")
    order = Pipeline([*list(ORDER)[:2], Step("look", ["prepare"]), last])
    handlers: dict[str, Any] = {"look": look}
    if does_last == "function":
        handlers["last"] = conclude
    found = []
    for _ in range(3):
        survivors = piped(
            workflow,
            order,
            outcome=failing("equil:b"),
            handlers=handlers,
            on_failure="prune",
        )
        found.append((survivors, sorted(called), phases(workflow)))

    survivors, calls, states = found[0]
    assert survivors == ["a", "c"]
    assert "last:b" not in calls
    assert states.get("check:b") is None
    assert found == [found[0]] * 3


def test_system_whose_failed_run_is_tried_again_is_left_out_no_more(
    workflow: Workflow,
) -> None:
    assert piped(workflow, outcome=failing("equil:b"), on_failure="prune") == ["a", "c"]
    for one, _ in workflow.equil.select("state = FAILED"):
        one.state = "CREATED"

    assert piped(workflow, on_failure="prune") == ["a", "b", "c"]
