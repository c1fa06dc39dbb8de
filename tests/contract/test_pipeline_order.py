"""Runs of pipelines that are done again: each waits for its step, and others follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.columns import AWAITS, BEHIND, REQUIRED
from motoko.errors import RunsFailed
from motoko.model import states
from motoko.pipeline import Pipeline, Step
from motoko.store.audit import problems
from motoko.store.tables import Tables
from motoko.study.order import n_times
from motoko.study.study import Study
from motoko.systems import SimSystem
from motoko.workflow import Workflow, control
from motoko.workflow.upkeep import ending, run_changes
from motoko.workflow.upkeep.changes import Changes
from motoko.workflow.upkeep.run_changes import Retry
from motoko.workflow.upkeep.run_values import Values
from motoko.workflow.views import overview, run_reasons
from tests.contract.test_pipelines import ORDER, TEXTS, failing, phases, piped
from tests.support.workflows import no_daemons, run, served_workflow, until

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

SYSTEMS = [SimSystem("a", "/work/a")]


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workflow]:
    monkeypatch.setattr(control, "ensure_served", lambda workflow: None)
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


class Begun(list[str]):
    """The runs that were executed, in their order, each with what it was done behind."""

    def __call__(self, study: Study, row: Mapping[str, Any]) -> str:
        behind = row.get(BEHIND, row.get(REQUIRED)) or "nothing"
        self.append(f"{study.name}.{row['id']} behind {behind}")
        return "FINISHED"

    def taken(self) -> list[str]:
        found = list(self)
        self.clear()
        return found


def clean(workflow: Workflow) -> ending.Cleaned:
    return ending.clean(workflow, (), [], keep_backup=True, current_files=False)


def retry(workflow: Workflow, study: str, *ids: int, **how: Any) -> Changes:
    chosen = {getattr(workflow, study).base: list(ids)}
    return run_changes.retry(workflow, chosen, Retry(**how))


def row(workflow: Workflow, study: str, run_id: int) -> Mapping[str, Any]:
    with getattr(workflow, study).base.database.read() as tables:
        return dict(tables.run(run_id))


def sound(workflow: Workflow) -> None:
    for manager in workflow.task_managers.values():
        with manager.base.database.read() as tables:
            assert problems(tables) == []


# put back while no pipeline runs


@pytest.mark.slow
def test_runs_that_were_put_back_are_executed_in_the_order_of_their_pipeline(
    workflow: Workflow,
) -> None:
    begun, calls = Begun(), list[str]()
    order = Pipeline([*ORDER, Step("look", ["check"])])

    def look(system: SimSystem) -> None:
        calls.append(system.name)

    def go() -> list[str]:
        piped(workflow, order, SYSTEMS, outcome=begun, handlers={"look": look})
        return begun.taken()

    first = ["prepare.1 behind nothing", "equil.1 behind prepare.1", "check.1 behind equil.1"]
    assert go() == first
    assert go() == []

    cleaned = clean(workflow)

    assert cleaned.awaiting == dict.fromkeys(("prepare.1", "equil.1", "check.1"), "test")
    for name in ("prepare", "equil", "check"):
        with getattr(workflow, name).base.database.read() as tables:
            assert tables.ready(9) == [] and tables.counts() == {"CREATED": 1}
    assert go() == [
        "prepare.1 behind nothing",
        "equil.1 behind prepare.1#2",
        "check.1 behind equil.1#2",
    ]
    assert calls == ["a", "a"]  # the function behind them is called again, too
    assert go() == []
    assert [len(getattr(workflow, name).select()) for name in TEXTS] == [1, 1, 1]
    sound(workflow)


@pytest.mark.slow
def test_what_has_finished_behind_a_run_that_was_executed_again_is_done_anew_beside(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    begun = Begun()
    piped(workflow, ORDER, SYSTEMS, outcome=begun)
    begun.clear()

    retry(workflow, "prepare", 1)
    workflow.accepts_changes = True
    piped(workflow, ORDER, SYSTEMS, outcome=begun)

    assert begun.taken() == [
        "prepare.1 behind nothing",
        "equil.2 behind prepare.1#2",
        "check.2 behind equil.2",
    ]
    assert "equil:a is done anew behind prepare.1#2, besides what there is" in caplog.messages
    piped(workflow, ORDER, SYSTEMS, outcome=begun)
    assert begun.taken() == []
    clean(workflow)
    piped(workflow, ORDER, SYSTEMS, outcome=begun)
    again = begun.taken()
    assert again == [
        "prepare.1 behind nothing",
        "equil.1 behind prepare.1#3",
        "check.1 behind equil.1#2",
    ]
    # Those beside them were done behind what is no more: somebody has to give them up.
    assert all(states.awaits_step(row(workflow, name, 2)) for name in ("equil", "check"))
    reason = run_reasons.why(workflow, "equil.2")
    assert reason.sentence.endswith("`motoko runs cancel equil.2` gives it up")
    piped(workflow, ORDER, SYSTEMS, outcome=begun)
    assert begun.taken() == []
    sound(workflow)


def test_a_run_that_needed_several_attempts_is_what_it_is(workflow: Workflow) -> None:
    begun = Begun()

    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        if study.name == "prepare" and not row.get("attempt"):
            return "FAILED"
        return begun(study, row)

    with pytest.raises(RunsFailed):
        piped(workflow, ORDER, SYSTEMS, outcome=outcome)
    run_changes.retry_failed(workflow, "test")
    for expected in (["prepare.1", "equil.1", "check.1"], []):
        piped(workflow, ORDER, SYSTEMS, outcome=outcome)
        assert [text.split()[0] for text in begun.taken()] == expected
    assert row(workflow, "equil", 1)[REQUIRED] == "prepare.1#2"


def test_what_failed_behind_a_step_with_another_value_waits_for_that(
    workflow: Workflow,
) -> None:
    with pytest.raises(RunsFailed):
        piped(workflow, ORDER, SYSTEMS, outcome=failing("equil:a"))
    begun = Begun()
    study = workflow.prepare.base
    values = {study.name: Values({"label": "other"}, {})}

    changes = retry(workflow, "prepare", 1, values=values)
    again = run_changes.retry_failed(workflow, "test")

    assert [*changes.awaiting, *again.awaiting] == ["prepare.1", "equil.1"]
    assert piped(workflow, ORDER, SYSTEMS, outcome=begun) == ["a"]
    assert begun[:2] == ["prepare.1 behind nothing", "equil.1 behind prepare.1#2"]
    assert row(workflow, "prepare", 1)["label"] == "other"


@pytest.mark.slow
def test_windows_that_were_put_back_are_told_from_those_that_stay(workflow: Workflow) -> None:
    begun = Begun()
    windows = Step("equil", ["prepare"], payload={"job": {"window": [0, 1]}})
    order = Pipeline([Step("prepare"), windows])
    piped(workflow, order, SYSTEMS, outcome=begun)
    begun.clear()

    retry(workflow, "equil", 2)
    piped(workflow, order, SYSTEMS, outcome=begun)
    assert begun.taken() == ["equil.2 behind prepare.1"]

    retry(workflow, "equil", 2)
    retry(workflow, "prepare", 1)
    for expected in (["prepare.1", "equil.2", "equil.3"], []):
        piped(workflow, order, SYSTEMS, outcome=begun)
        assert sorted(text.split()[0] for text in begun.taken()) == sorted(expected)
    assert row(workflow, "equil", 1)[REQUIRED] == "prepare.1"
    assert {row(workflow, "equil", i)[BEHIND] for i in (2, 3)} == {"prepare.1#2"}
    sound(workflow)


@pytest.mark.slow
def test_each_payload_gets_back_its_own_runs(workflow: Workflow) -> None:
    begun = Begun()

    async def main(workflow: Workflow, **params: Any) -> None:
        for t in (300.0, 310.0):
            first = Step("prepare", payload={"job": {"t": t}})
            await workflow.run_pipeline(Pipeline([first, *list(ORDER)[1:2]]), SYSTEMS)
        workflow.finished = True

    for _ in range(3):
        run(workflow, main, outcome=begun)
        clean(workflow)

    assert begun[:4] == [
        "prepare.1 behind nothing",
        "equil.1 behind prepare.1",
        "prepare.2 behind nothing",
        "equil.2 behind prepare.2",
    ]
    assert begun[4:8] == [
        "prepare.1 behind nothing",
        "equil.1 behind prepare.1#2",
        "prepare.2 behind nothing",
        "equil.2 behind prepare.2#2",
    ]
    assert begun[9::2] == ["equil.1 behind prepare.1#3", "equil.2 behind prepare.2#3"]
    sound(workflow)


@pytest.mark.slow
def test_runs_that_were_not_begun_yet_wait_for_those_before_them_that_are_cleaned(
    workflow: Workflow,
) -> None:
    piped(workflow, ORDER, SYSTEMS)
    workflow.check.base.database.write(lambda t: t.update_run(1, {"state": "CREATED"}))
    begun = Begun()

    assert list(clean(workflow).awaiting) == ["prepare.1", "equil.1", "check.1"]
    piped(workflow, ORDER, SYSTEMS, outcome=begun)
    assert [text.split()[0] for text in begun] == ["prepare.1", "equil.1", "check.1"]


def test_runs_that_no_pipeline_has_made_wait_for_none(workflow: Workflow) -> None:
    workflow.prepare.createTask(system="a")
    workflow.prepare.base.database.write(lambda t: t.update_run(1, {"state": "FINISHED"}))

    assert (clean(workflow).awaiting, retry(workflow, "prepare", 1).awaiting) == ({}, {})
    with workflow.prepare.base.database.read() as tables:
        assert tables.ready(9) == [1]


def test_a_run_on_another_job_is_none_of_the_pipeline_and_waits_for_none(
    workflow: Workflow,
) -> None:
    piped(workflow, ORDER, SYSTEMS)
    values = {"equil": Values({}, {"window": 7})}

    assert retry(workflow, "equil", 1, values=values).made == {"equil.1": "equil.2"}

    assert REQUIRED not in row(workflow, "equil", 2)
    with workflow.equil.base.database.read() as tables:
        assert tables.ready(9) == [2]


@pytest.mark.parametrize("is_outdated", [False, True])
def test_a_step_takes_a_run_on_another_job_unless_what_comes_before_was_executed_again(
    workflow: Workflow, is_outdated: bool
) -> None:
    piped(workflow, ORDER, SYSTEMS)
    retry(workflow, "equil", 1, values={"equil": Values({}, {"window": 7})})
    piped(workflow, ORDER, SYSTEMS)
    if is_outdated:
        retry(workflow, "prepare", 1)
        piped(workflow, ORDER, SYSTEMS)
    begun, workflow.accepts_changes = Begun(), True
    windows = Step("equil", ["prepare"], {"job": {"window": [7]}})

    piped(workflow, Pipeline([Step("prepare"), windows]), SYSTEMS, outcome=begun)

    assert begun == (["equil.4 behind prepare.1#2"] if is_outdated else [])
    sound(workflow)


def test_an_attempt_that_files_had_made_needless_is_no_execution(workflow: Workflow) -> None:
    piped(workflow, ORDER, SYSTEMS)
    database = workflow.prepare.base.database

    def again(tables: Tables, number: int, **facts: Any) -> None:
        tables.set_attempt(1, number, {"state": "FINISHED", **facts})
        tables.update_run(1, {"attempt": number})

    found = []
    needless = {"executed": False}
    for number, facts in ((2, needless), (3, {}), (4, needless), (5, needless)):
        database.write(lambda t, n=number, f=facts: again(t, n, **f))
        with database.read() as tables:
            found.append(n_times(tables, 1))

    assert found == [1, 3, 3, 3]


# regardless of the order


def test_somebody_may_have_a_run_executed_regardless_of_the_order(workflow: Workflow) -> None:
    piped(workflow, ORDER, SYSTEMS)

    assert list(retry(workflow, "equil", 1).awaiting) == ["equil.1"]
    left = retry(workflow, "equil", 1).left["equil.1"]
    assert left.startswith("is CREATED already, and waits for its step 'equil' to begin: ")
    changes = retry(workflow, "equil", 1, is_in_order=False)

    assert (changes.done, changes.awaiting) == (["equil.1"], {})
    with workflow.equil.base.database.read() as tables:
        assert tables.ready(9) == [1] and AWAITS not in tables.run(1)
    sound(workflow)


def test_a_run_that_waits_says_so_and_what_goes_on(workflow: Workflow) -> None:
    piped(workflow, ORDER, SYSTEMS)
    retry(workflow, "equil", 1)

    reason = run_reasons.why(workflow, "equil.1")
    found = overview.look(workflow, (), None)

    assert reason.reason == "pipeline"
    assert "its step 'equil' of a pipeline begins when" in reason.sentence
    assert "`motoko run --run_name test` goes through the pipeline" in reason.sentence
    assert "`motoko runs retry equil.1 --out-of-order` executes it at once" in reason.sentence
    assert {s.name: s.awaiting for s in found.studies}["equil"] == {"test": 1}


def test_a_workflow_whose_pipeline_does_not_come_to_a_run_ends_all_the_same(
    workflow: Workflow,
) -> None:
    systems = [*SYSTEMS, SimSystem("b", "/work/b")]
    piped(workflow, ORDER, systems)
    retry(workflow, "check", 1)
    retry(workflow, "equil", 2)

    short = Pipeline(list(ORDER)[:2])
    found = piped(workflow, short, systems, outcome=failing("equil:b"), on_failure="prune")

    assert found == ["a"]
    assert states.awaits_step(row(workflow, "check", 1))


def test_a_state_that_is_set_lets_go_of_a_run_that_waits(workflow: Workflow) -> None:
    piped(workflow, ORDER, SYSTEMS)
    retry(workflow, "check", 1)

    workflow.check.base.database.write(lambda t: t.update_run(1, {"state": "CANCELLED"}))
    assert AWAITS not in row(workflow, "check", 1)
    sound(workflow)


# put back while the pipeline runs


def put_back_live(
    workflow: Workflow, order: Pipeline, put_back: Callable[[], object], **options: Any
) -> list[str]:
    """Put back runs when all but the last step is done; what was executed from then on."""
    begun = Begun()
    has_put_back: list[bool] = []

    def outcome(study: Study, row: Mapping[str, Any]) -> str | None:
        return None if study.name == "check" and not has_put_back else begun(study, row)

    async def main(workflow: Workflow, **params: Any) -> None:
        async def meddle() -> None:
            await until(workflow, lambda: workflow.check.select("state = CREATED"))
            begun.clear()
            await anyio.to_thread.run_sync(put_back)
            has_put_back.append(True)
            workflow.check.base.database.write(lambda t: t.update_run(1, {"label": "seen"}))

        async with anyio.create_task_group() as group:
            group.start_soon(meddle)
            survivors = await workflow.run_pipeline(order, SYSTEMS, **options)
        assert [system and system.name for system in survivors] == ["a"]
        workflow.finished = True

    run(workflow, main, outcome=outcome)
    return begun


def test_finished_run_that_is_put_back_live_is_executed_and_what_is_behind_it_follows(
    workflow: Workflow,
) -> None:
    calls: list[str] = []

    def look(system: SimSystem, runs: Any) -> None:
        calls.extend(f"{found.id}" for found, _ in runs)

    order = Pipeline([*list(ORDER)[:2], Step("look", ["equil"]), Step("check", ["look"])])
    found = put_back_live(
        workflow, order, lambda: retry(workflow, "prepare", 1), handlers={"look": look}
    )

    assert found[0] == "prepare.1 behind nothing" or found[0].startswith("check.1")
    assert "equil.2 behind prepare.1#2" in found
    assert calls == ["1", "2"]
    assert [text for text in found if text.startswith("check.")][-1].startswith("check.2 ")
    assert set(phases(workflow).values()) == {"FINISHED"}
    sound(workflow)


def test_all_that_is_put_back_live_is_executed_in_its_order(workflow: Workflow) -> None:
    def put_back() -> None:
        for name in ("equil", "prepare"):
            retry(workflow, name, 1)

    found = put_back_live(workflow, ORDER, put_back)

    last = {text.split(".")[0]: i for i, text in enumerate(found)}
    assert last["prepare"] < last["equil"] < last["check"]
    assert [text for text in found if "prepare.1#2" in text]
    assert set(phases(workflow).values()) == {"FINISHED"}
    sound(workflow)
