"""Steps of pipelines that are given something else than before under the same run name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import ParametersChanged, StepNotRunnable
from motoko.pipeline import Pipeline, Step
from motoko.store.audit import ledger_problems
from motoko.store.ledger import Ledger, is_former
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from motoko.workflow.actions import ALL_TASKS
from tests.contract.test_pipelines import TEXTS, failing, phases, piped
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

SYSTEMS = [SimSystem(name, f"/work/{name}") for name in "ab"]


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


def heated(t: float, **payload: Any) -> Pipeline:
    """Only the first step, and the function if there is a payload for it, are told of it."""
    return Pipeline(
        [
            Step("prepare", payload={"job": {"t": t}}),
            Step("equil", ["prepare"]),
            Step("look", ["equil"], payload=payload or None),
        ]
    )


class Calls(list[tuple[str, list[int], Any]]):
    """What the function of the last step was called with."""

    def handlers(self) -> dict[str, Callable[..., None]]:
        def look(system: Any, runs: Any, params: Any) -> None:
            self.append((system.name, [found.id for found, _ in runs], params))

        return {"look": look}

    def taken(self) -> list[tuple[str, list[int], Any]]:
        found = sorted(self)
        self.clear()
        return found


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_one_orchestrator_runs_a_pipeline_with_one_payload_after_the_other(
    workflow: Workflow, calls: Calls
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        for t in (300.0, 310.0):
            order = heated(t, value=t)
            await workflow.run_pipeline(order, SYSTEMS[:1], handlers=calls.handlers())
        workflow.finished = True

    for expected in ([("a", [1], {"value": 300.0}), ("a", [2], {"value": 310.0})], []):
        assert run(workflow, main) == 0
        assert calls.taken() == expected

    behind = [
        (r.get("required_runs"), r.get("behind_runs")) for r, _ in workflow.equil.select()
    ]
    assert behind == [("prepare.1", None), (None, "prepare.2")]


def test_other_payload_is_refused_or_done_anew_with_all_that_is_behind_it(
    workflow: Workflow, calls: Calls
) -> None:
    def go(t: float) -> list[Any]:
        piped(workflow, heated(t), SYSTEMS, handlers=calls.handlers())
        return calls.taken()

    assert go(300.0) == [("a", [1], None), ("b", [2], None)]
    with pytest.raises(ParametersChanged) as caught:
        go(310.0)
    assert caught.value.changes == (("pipeline.prepare.payload.job.t", "300.0", "310.0"),)
    assert (calls, len(workflow.prepare.select())) == ([], 2)

    workflow.accepts_changes = True
    assert go(310.0) == [("a", [3], None), ("b", [4], None)]
    workflow.accepts_changes = False
    assert go(310.0) == []
    # It was asked for before: runs have kept what they found, what functions left is gone.
    assert go(300.0) == [("a", [1], None), ("b", [2], None)]
    assert go(300.0) == []
    assert [len(getattr(workflow, name).select()) for name in ("prepare", "equil")] == [4, 4]


def test_function_is_called_again_when_an_old_payload_comes_back_behind_another_one(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[int] = []

    def look(params: int) -> None:
        called.append(params)
        if params == 2:
            raise ValueError("it has written over half of what was there")

    def go(*payloads: int) -> list[int]:
        async def main(workflow: Workflow, **params: Any) -> None:
            for payload in payloads:
                order = Pipeline([Step("look", payload=payload)])
                handlers = {"look": look}
                await workflow.run_pipeline(
                    order, SYSTEMS[:1], handlers=handlers, on_failure="prune"
                )
            workflow.finished = True

        called.clear()
        run(workflow, main)
        return list(called)

    workflow.accepts_changes = True
    assert [go(1, 3), go(1, 3), go(2), go(2)] == [[1, 3], [], [2], []]
    said = "look:a is called again: it had other input since"
    assert said not in caplog.messages
    workflow.accepts_changes = False
    assert [go(3), go(3), go(1, 3), go(1, 3)] == [[3], [], [1, 3], []]
    assert caplog.messages.count(said) == 3
    with workflow.vars.db.read() as ledger:
        assert ledger_problems(ledger) == []


def test_what_is_done_anew_is_named_as_often_as_people_read_it(
    workflow: Workflow,
    calls: Calls,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("motoko.workflow.pipelines.redone._MOST_ALOUD", 1)
    workflow.accepts_changes = True
    for payload in (1, 2):
        order = Pipeline([Step("look", payload=payload)])
        piped(workflow, order, SYSTEMS, handlers=calls.handlers())

    said = [r.getMessage() for r in caplog.records if r.name.endswith("redone")]
    aloud = [
        r for r in caplog.records if r.name.endswith("redone") and r.levelname == "WARNING"
    ]
    assert said[0].endswith(" is called again, with other input")
    assert (len(calls), len(aloud)) == (4, 2)


def test_a_dimension_that_grows_has_what_is_behind_done_anew(
    workflow: Workflow, calls: Calls
) -> None:
    workflow.accepts_changes = True
    for n_windows, expected in ((2, [1, 2]), (3, [1, 2, 3]), (3, None)):
        windows = {"job": {"window": list(range(n_windows))}}
        order = Pipeline([Step("equil", payload=windows), Step("look", ["equil"])])
        piped(workflow, order, SYSTEMS[:1], handlers=calls.handlers())
        assert calls.taken() == ([] if expected is None else [("a", expected, None)])


def test_what_is_known_of_a_system_is_a_parameter_and_where_it_lies_is_none(
    workflow: Workflow, calls: Calls
) -> None:
    def go(root: str, **meta: Any) -> list[Any]:
        systems = [SimSystem("a", root).with_meta(**meta)]
        order = Pipeline([Step("look")])
        piped(workflow, order, systems, handlers=calls.handlers())
        return calls.taken()

    assert go("/work/a", ph=7) == [("a", [], None)]
    assert go("/scratch/a", ph=7) == []
    with pytest.raises(ParametersChanged, match=r"systems\.a\.meta\.ph  7 -> 8"):
        go("/work/a", ph=8)
    workflow.accepts_changes = True
    assert go("/work/a", ph=8) == [("a", [], None)]


def test_function_that_failed_for_good_has_a_new_budget_with_another_payload(
    workflow: Workflow,
) -> None:
    called: list[int] = []

    def look(params: Any) -> None:
        called.append(params)
        if params == 1:
            raise ValueError("no luck")

    def go(payload: int) -> list[str]:
        order = Pipeline([Step("look", payload=payload)])
        handlers = {"look": look}
        return piped(workflow, order, SYSTEMS[:1], handlers=handlers, on_failure="prune")

    workflow.accepts_changes = True
    assert (go(1), go(1), go(2), go(1)) == ([], [], ["a"], [])
    assert called == [1, 2]


def test_what_an_earlier_version_has_recorded_counts_as_done(
    workflow: Workflow, calls: Calls
) -> None:
    def go(payload: Any) -> list[Any]:
        order = Pipeline([Step("prepare"), Step("look", ["prepare"], payload=payload)])
        piped(workflow, order, SYSTEMS[:1], handlers=calls.handlers())
        return calls.taken()

    def forget(ledger: Ledger) -> None:
        ledger.trees["fired"].clear()
        for key, record in ledger.firings().items():
            record.pop("call", None)
            ledger.set_firing(key, record)
        ledger.set_run_name("test", steps={})

    go(1)
    workflow.vars.db.write(forget)
    workflow.prepare.base.database.write(
        lambda tables: tables.update_run(1, {"required_runs": None})
    )

    workflow.accepts_changes = True
    assert go(1) == go(2) == []


def test_interrupted_call_is_not_resumed_with_another_payload(
    workflow: Workflow, calls: Calls
) -> None:
    def go(payload: int) -> list[Any]:
        order = Pipeline([Step("look", payload=payload)])
        piped(workflow, order, SYSTEMS[:1], handlers=calls.handlers())
        return calls.taken()

    def interrupt(ledger: Ledger) -> None:
        [(key, record)] = ledger.firings().items()
        ledger.set_firing(key, {**record, "ended": None})

    go(1)
    workflow.vars.db.write(interrupt)
    workflow.accepts_changes = True

    assert go(2) == [("a", [], 2)]
    with workflow.vars.db.read() as ledger:
        states = [record["ended"] is None for record in ledger.firings().values()]
    assert states == [True, False]


def test_action_runs_a_pipeline_with_another_payload_for_each_of_its_firings(
    workflow: Workflow, calls: Calls
) -> None:
    async def look(workflow: Workflow, runs: Any) -> None:
        for found, _ in runs:
            order = Pipeline([Step("look", payload=found.id)])
            await workflow.run_pipeline(order, SYSTEMS[:1], handlers=calls.handlers())
        workflow.finished = True

    def go(n_tasks: int) -> list[Any]:
        async def main(workflow: Workflow, **params: Any) -> None:
            for window in range(n_tasks):
                workflow.prepare.createTask(system="a", window=window)
            workflow.add_action("each", "prepare", "state = FINISHED", f=look, once=True)

        assert run(workflow, main) == 0
        return [params for _, _, params in calls.taken()]

    assert go(1) == [1]
    assert go(2) == [2]
    with workflow.vars.db.read() as ledger:
        calls = ledger.fired_calls("test", "look:a", ALL_TASKS)
    assert [is_former(call) for call in calls] == [False, False]


def test_payload_that_nobody_can_tell_again_is_refused_before_anything_begins(
    workflow: Workflow,
) -> None:
    order = Pipeline([Step("prepare"), Step("look", payload={"lock": threading.Lock()})])

    with pytest.raises(
        StepNotRunnable, match=r"step 'look': nobody can tell its payload.*lock"
    ):
        piped(workflow, order, handlers={"look": print})
    assert phases(workflow) == {}


def test_function_cannot_change_what_the_others_are_known_by(workflow: Workflow) -> None:
    called: list[str] = []

    def look(system: Any, params: Any) -> None:
        called.append(system.name)
        params["seen"] = len(called)

    for _ in range(2):
        order = Pipeline([Step("look", payload={"seen": 0})])
        piped(workflow, order, SYSTEMS, handlers={"look": look})

    assert sorted(called) == ["a", "b"]


def test_policy_and_files_of_a_pipeline_reach_runs_that_are_there(
    workflow: Workflow, tmp_path: Path
) -> None:
    def go(**options: Any) -> Any:
        sentinels = options.pop("sentinels", None)
        order = Pipeline([Step("equil", sentinels=sentinels)])
        systems = [SimSystem("a", tmp_path / "a")]
        piped(workflow, order, systems, outcome=failing("equil:a"), **options)
        [(found, _)] = workflow.equil.select()
        return found

    assert go(on_failure="prune").on_failure["retry"] == {"infrastructure": 2, "then": "prune"}
    found = go(
        on_failure={"retry": {"attempts": 3, "then": "prune"}}, sentinels={"windows": [1]}
    )
    assert found.on_failure["retry"]["application"] == 3
    assert found.sentinels == {"windows": ("1",), "root": str(tmp_path / "a")}

    workflow.equil.base.database.write(
        lambda tables: tables.update_run(1, {"set_by_hand": {"on_failure": None}})
    )
    assert go(on_failure="prune").on_failure["retry"]["application"] == 3
    assert "sentinels" not in found
