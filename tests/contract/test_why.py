"""Why an event has not fired, and why a run is in its state: asked of a workflow that runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from motoko.daemon import Office
from motoko.errors import EventNotFound, RunsFailed
from motoko.host import awake_clock, host_name
from motoko.job.token import take_token, token_facts
from motoko.launch.work import HELD, LIMITS
from motoko.store import address
from motoko.store.deletion import delete_runs
from motoko.workflow import Workflow, control, reporter
from motoko.workflow.rule import Rule
from motoko.workflow.views import event_reasons, run_reasons
from motoko.workflow.views.reason import Reason
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


async def ask(workflow: Workflow, event: str) -> Reason:
    """What `motoko why EVENT` would say, of one action."""
    [found] = await anyio.to_thread.run_sync(event_reasons.why, workflow, event)
    return found


async def nothing(**params: Any) -> None:
    """An action that changes nothing."""


# events


def test_constraint_is_evaluated_clause_by_clause(workflow: Workflow) -> None:
    said: dict[str, Reason] = {}

    async def main(workflow: Workflow, **params: Any) -> None:
        runs = workflow.mult.createTask(x=[1.0, 2.0, 3.0])
        condition = "state = FINISHED and x > 2.5, x < 9, norm = 2"
        workflow.add_action("a", "mult", condition, f=nothing)
        workflow.add_action("b", "mult", ["state = CREATED", "x < 2 or x > 9"], f=nothing)
        await runs
        said["a"], said["b"] = await ask(workflow, "a"), await ask(workflow, "b@mult")
        workflow.finished = True

    with workflow.session():
        [(other, _)] = workflow.mult.createTask(x=0.5)
        other.norm, other.state = 1.0, "OTHER"
    run(workflow, main)

    assert said["a"].reason == "condition"
    assert said["a"].sentence == (
        "a@mult does not fire: no run of mult (3 FINISHED, 1 OTHER) matches `norm = 2`"
    )
    [found] = said["a"].evidence["clauses"]
    assert [(c["text"], c["n_runs"]) for c in found["clauses"]] == [
        ("state = FINISHED", 3),
        ("x > 2.5", 1),
        ("x < 9", 4),
        ("norm = 2", 0),
    ]
    [found] = said["b"].evidence["clauses"]
    assert [(c["text"], c["n_runs"]) for c in found["clauses"]] == [
        ("state = CREATED", 0),
        ("x < 2 or x > 9", 2),
    ]


def test_function_is_told_with_its_last_answer(workflow: Workflow) -> None:
    said: list[Reason] = []

    def is_never(workflow: Workflow, task_manager: Any) -> Any:
        return [] if task_manager.study == "mult" else None

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("never", event=is_never, f=nothing)
        workflow.add_action("odd", "mult", lambda run, job: run.id > 3, f=nothing)
        await workflow.mult.createTask(x=[1.0, 2.0])
        said.extend([await ask(workflow, "never"), await ask(workflow, "odd")])
        workflow.finished = True

    run(workflow, main)

    never, odd = said
    assert "is_never (test_why.py:" in never.sentence
    assert never.evidence["gave"] == ["mult: 0 runs", "norm: None"]
    assert 0 <= never.evidence["took_s"] < 10
    assert odd.evidence["gave"] == ["mult: true for 0 runs"]


def test_firings_in_flight_are_told_and_what_they_hold_up(workflow: Workflow) -> None:
    said: list[Reason] = []
    go = anyio.Event()

    async def wait(runs: Any, **params: Any) -> None:
        await go.wait()

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("slow", "mult", "state = FINISHED", f=wait, serial=True)
        await workflow.mult.createTask(x=[1.0])
        await workflow.mult.createTask(x=[2.0, 3.0])
        said.append(await ask(workflow, "slow"))
        go.set()
        workflow.finished = True

    run(workflow, main)

    [slow] = said
    assert (slow.state, slow.reason) == ("in flight", "serial")
    assert " for mult.1; 2 further runs that match wait for its end" in slow.sentence


def test_firing_that_changed_nothing_and_firing_once_are_told(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Reason] = []
    ended: set[str] = set()
    have_ended: anyio.Event = None  # type: ignore[assignment]
    end = Rule.end

    def ending(rule: Rule, key: str) -> None:
        end(rule, key)
        ended.add(rule.action.event_name)
        if len(ended) == 2:
            have_ended.set()

    async def call(runs: Any, **params: Any) -> None:
        """Changes nothing."""

    async def main(workflow: Workflow, **params: Any) -> None:
        nonlocal have_ended
        have_ended = anyio.Event()
        monkeypatch.setattr(Rule, "end", ending)
        workflow.wait_s = 1e6
        workflow.add_action("idle", "mult", "state = FINISHED", f=call)
        workflow.add_action("only", "mult", "state = FINISHED", f=call, once=True)
        await workflow.mult.createTask(x=[1.0])
        with anyio.fail_after(20):
            await have_ended.wait()
        said.extend([await ask(workflow, "idle"), await ask(workflow, "only")])
        workflow.finished = True

    run(workflow, main)

    assert [reason.reason for reason in said] == ["nothing changed", "once"]
    assert "is true and waits for a change: its firing at " in said[0].sentence
    assert " for mult.1 changed nothing" in said[0].sentence


def test_unknown_event_is_refused_with_the_known_ones(workflow: Workflow) -> None:
    errors: list[EventNotFound] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("need_norm", event=lambda: False, f=nothing)
        with pytest.raises(EventNotFound) as refused:
            await ask(workflow, "need_nrm")
        errors.append(refused.value)
        workflow.finished = True

    run(workflow, main)

    assert "did you mean 'need_norm'" in str(errors[0])
    with pytest.raises(EventNotFound, match="no orchestrator runs"):
        event_reasons.why(workflow, "need_norm")


def test_orchestrator_answers_while_a_condition_keeps_its_loop(workflow: Workflow) -> None:
    said: list[Reason] = []

    def is_slow() -> bool:
        if not said:
            # The loop does not run while this asks about itself.
            report = reporter.ask(workflow.state_dir, "test")
            assert report is not None
            [action] = report["actions"]
            assert action["asked_since"] is not None
            said.extend(event_reasons.why(workflow, "slow"))
        workflow.finished = True
        return False

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("slow", event=is_slow, f=nothing)

    run(workflow, main)

    assert len(said) == 1


@pytest.mark.parametrize("longest", [107, 10])
def test_nobody_answers_after_the_end(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    monkeypatch.setattr(address, "LONGEST_SOCKET_PATH", longest)

    async def main(workflow: Workflow, **params: Any) -> None:
        assert await anyio.to_thread.run_sync(reporter.ask, workflow.state_dir, "test")
        workflow.finished = True

    run(workflow, main)

    assert reporter.ask(workflow.state_dir, "test") is None
    assert not list(workflow.state_dir.glob("*.sock.path"))


# runs


@pytest.fixture
def launcher(workflow: Workflow) -> Iterator[dict[str, Any]]:
    """A launcher's facts; the test holds its office."""
    facts = {"studies": ["mult", "norm"], "cores": 4, "troubles": []}
    office = control.launcher_office(workflow)
    office.take(facts)
    try:
        yield facts
    finally:
        office.leave()


def set_entries(workflow: Workflow, run_id: int, **changes: Any) -> None:
    """Change a run as a launcher would."""
    workflow.mult.base.database.write(lambda tables: tables.update_run(run_id, changes))


def set_attempt(workflow: Workflow, run_id: int, facts: dict[str, Any]) -> None:
    """Say this of the first attempt of a run."""
    workflow.mult.base.database.write(lambda tables: tables.set_attempt(run_id, 1, facts))


def begin(workflow: Workflow, run_id: int, nproc: int = 1) -> None:
    """Say that a run executes."""
    entries = {"attempt": 1, "nonce": f"{run_id}", "start_time": 1.0, "nproc": nproc}
    set_entries(workflow, run_id, state="RUNNING", **entries)


def test_run_without_launcher_says_how_to_start_one(workflow: Workflow) -> None:
    workflow.mult.createTask(x=1.0)

    reason = run_reasons.why(workflow, "mult.1")

    assert reason.reason == "no launcher"
    assert f"until `motoko launcher {workflow.directory}`" in reason.sentence


def test_run_of_a_study_that_the_launcher_leaves_alone(
    workflow: Workflow, launcher: dict[str, Any]
) -> None:
    workflow.mult.createTask(x=1.0)
    rewrite(control.launcher_office(workflow), {**launcher, "studies": ["norm"]})

    assert "serves norm only" in run_reasons.why(workflow, "mult.1").sentence


def rewrite(office: Office, facts: dict[str, Any]) -> None:
    """Replace what stands in the file of an office that this process holds."""
    known = json.loads(office.file.read_text())
    office.file.write_text(json.dumps({**known, "facts": facts}))


def test_run_names_the_trouble_of_its_launcher(
    workflow: Workflow, launcher: dict[str, Any]
) -> None:
    workflow.mult.createTask(x=1.0)
    workflow.norm.createTask(x=1.0)
    what = f"cannot start runs in {workflow.mult.base.runs_dir}"
    trouble = {"what": what, "why": "No space left on device", "since": 1.0}
    rewrite(control.launcher_office(workflow), {**launcher, "troubles": [trouble]})

    reason = run_reasons.why(workflow, "mult.1")

    assert reason.reason == "trouble"
    assert "No space left on device" in reason.sentence
    assert run_reasons.why(workflow, "norm.1").reason == "next"


def test_run_waits_for_cores(workflow: Workflow, launcher: dict[str, Any]) -> None:
    workflow.mult.createTask(x=[1.0, 2.0, 3.0, 4.0])
    begin(workflow, 1, nproc=3)
    begin(workflow, 2)
    set_entries(workflow, 4, nproc=8)

    third, fourth = (run_reasons.why(workflow, name) for name in ("mult.3", "mult.4"))

    assert third.reason == fourth.reason == "cores"
    assert third.sentence == (
        "mult.3 waits for 1 free core: 4 of 4 are in use by mult.1, mult.2"
    )
    assert fourth.sentence == (
        "mult.4 waits: it asks for 8 cores and there are 4, so it executes alone, when mult.1,"
        " mult.2 have ended; 1 run comes before it"
    )


def test_run_of_a_batch_system_is_told_how_many_jobs_there_are_and_a_few_of_them(
    workflow: Workflow, launcher: dict[str, Any]
) -> None:
    study = workflow.mult.base
    workflow.mult.createTask(x=[float(i) for i in range(12)])
    for run_id in range(1, 8):
        begin(workflow, run_id)
    for run_id in (8, 9):
        set_entries(workflow, run_id, state="SUBMITTED", attempt=1, nonce=f"{run_id}")
    generators = {"mult": "slurmCoat", "norm": "bash"}
    rewrite(control.launcher_office(workflow), {**launcher, "generators": generators})
    study.database.write(lambda tables: tables.set_fact(LIMITS, {"max_submitted": 9}))

    full = run_reasons.why(workflow, "mult.12")
    for run_id in (8, 9):  # packed, as one job
        set_attempt(workflow, run_id, {"nonce": f"{run_id}", "batch": {"id": "7"}})
    next_one, next_but_one = (run_reasons.why(workflow, f"mult.{n}") for n in (10, 11))

    assert full.reason == "max_submitted"
    assert full.sentence == (
        "mult.12 waits: mult may have 9 jobs at once (max_submitted by `motoko launcher set`),"
        " and 9 runs are submitted: mult.1, mult.2, mult.3, mult.4, mult.5 and 4 more; 2 runs"
        " come before it"
    )
    assert full.evidence["n_submitted"] == 9
    assert full.evidence["submitted"] == [f"mult.{n}" for n in range(1, 6)]
    assert (next_one.reason, next_but_one.reason) == ("next", "queue")


def test_jobs_of_one_system_share_its_limits(
    workflow: Workflow, launcher: dict[str, Any]
) -> None:
    workflow.mult.createTask(x=[1.0, 2.0])
    workflow.norm.createTask(x=1.0)
    begin(workflow, 1)
    generators = {"mult": "slurm", "norm": "slurm"}
    rewrite(control.launcher_office(workflow), {**launcher, "generators": generators})
    limits = {"workflow.max_concurrent": 1}
    for manager in (workflow.mult, workflow.norm):
        manager.base.database.write(lambda tables: tables.set_fact(LIMITS, limits))

    reason = run_reasons.why(workflow, "norm.1")

    assert reason.sentence == (
        "norm.1 waits: there may be 1 job at once (max_concurrent by `motoko launcher set`),"
        " and 1 run is submitted: mult.1"
    )


def test_run_waits_for_what_its_earlier_attempt_left(
    workflow: Workflow, launcher: dict[str, Any]
) -> None:
    workflow.mult.createTask(x=1.0)
    set_entries(workflow, 1, attempt=1, nonce="nonce")
    directory = workflow.mult.base.run_dir(1)
    directory.mkdir(parents=True)
    fd = take_token(str(directory), 1, token_facts("nonce", "generation"))
    assert fd is not None

    reason = run_reasons.why(workflow, "mult.1")
    set_entries(workflow, 1, nonce="another")
    strange = run_reasons.why(workflow, "mult.1")
    os.close(fd)

    assert reason.reason == "earlier attempt"
    assert f"attempt 1 still execute in {directory}" in reason.sentence
    assert strange.reason == "strange attempt"
    assert f"does not know still execute in {directory}" in strange.sentence
    assert run_reasons.why(workflow, "mult.1").reason == "next"


def test_run_that_is_tried_again_says_when(
    workflow: Workflow, launcher: dict[str, Any]
) -> None:
    workflow.mult.createTask(x=1.0)
    facts = {"cause": "the host went down", "retry_at": time.time() + 3600.5}
    workflow.mult.base.database.write(lambda tables: tables.set_attempt(1, 1, facts))

    reason = run_reasons.why(workflow, "mult.1")

    assert reason.reason == "retry"
    assert reason.sentence.startswith(
        "mult.1 is tried again in 1 h 0 min (retry in its bd.yaml)"
    )
    assert reason.sentence.endswith("its attempt 1 failed, the host went down")


def test_held_run_says_so_before_anything_else(workflow: Workflow) -> None:
    workflow.mult.createTask(x=1.0)
    workflow.mult.base.database.write(lambda tables: tables.set_fact(HELD, 1.0))

    reason = run_reasons.why(workflow, "mult.1")

    assert reason.reason == "held"
    assert "`motoko launcher release mult`" in reason.sentence


def test_run_that_no_launcher_put_into_running_does_not_tell_of_an_earlier_process(
    workflow: Workflow,
) -> None:
    workflow.mult.createTask(x=[1.0, 2.0])
    earlier = {"nonce": "1", "state": "FAILED", "host": "here", "pid": 12345}
    for run_id in (1, 2):
        workflow.mult.base.database.write(
            lambda tables, run_id=run_id: tables.set_attempt(run_id, 1, earlier)
        )
    set_entries(workflow, 1, state="RUNNING", attempt=1)
    set_entries(workflow, 2, state="RUNNING", attempt=2, nonce="2", start_time=1.0)

    by_hand, second = (run_reasons.why(workflow, name) for name in ("mult.1", "mult.2"))

    assert by_hand.reason == "set"
    assert "`motoko runs update mult.1 state=CREATED`" in by_hand.sentence
    assert "12345" not in by_hand.sentence + second.sentence


def test_run_that_has_handed_its_work_on_names_the_job_that_goes_on_with_it(
    workflow: Workflow, launcher: dict[str, Any]
) -> None:
    workflow.mult.createTask(x=1.0)
    begin(workflow, 1)
    batch = {"generator": "slurm", "id": "17", "handed_on": True}
    batch |= {"state": "PENDING", "reason": "JobHeldUser"}
    set_attempt(workflow, 1, {"nonce": "1", "host": host_name(), "pid": 1, "batch": batch})

    reason = run_reasons.why(workflow, "mult.1")

    assert reason.reason == "handed on"
    assert reason.sentence == (
        "mult.1 has handed its work on to job 17 of slurm, which is PENDING (JobHeldUser)"
    )


def test_how_long_a_run_executes_is_told_by_a_clock_that_nobody_sets(
    workflow: Workflow, launcher: dict[str, Any]
) -> None:
    workflow.mult.createTask(x=1.0)
    directory = workflow.mult.base.run_dir(1)
    directory.mkdir(parents=True)
    facts = {**token_facts("nonce", "generation"), "awake": awake_clock() - 7200}
    fd = take_token(str(directory), 1, facts)
    assert fd is not None
    later = time.time() + 36000
    set_entries(workflow, 1, state="RUNNING", attempt=1, nonce="nonce", start_time=later)

    sentence = run_reasons.why(workflow, "mult.1").sentence
    os.close(fd)

    assert "(2 h 0 min)" in sentence


def test_run_in_a_state_of_the_users_own_names_who_put_it_there(workflow: Workflow) -> None:
    async def forward(runs: Any, **params: Any) -> None:
        for found, _ in runs:
            found.state = "FORWARDED"

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("forward", "mult", "state = FINISHED", f=forward)
        await workflow.mult.createTask(x=1.0)
        await workflow.mult.select().all("state = FORWARDED")
        workflow.finished = True

    run(workflow, main)

    sentence = run_reasons.why(workflow, "mult.1").sentence
    assert sentence.startswith(
        "mult.1 was put into the state FORWARDED, last changed by forward"
    )


def test_awaited_run_that_is_deleted_ends_the_wait(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        runs = workflow.mult.createTask(x=[1.0, 2.0])
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, delete)
            with pytest.raises(RunsFailed, match="it was deleted"):
                await runs
        workflow.finished = True

    def delete() -> None:
        workflow.mult.base.database.write(lambda tables: delete_runs(tables, [2]))

    run(workflow, main, outcome=lambda study, row: "FINISHED" if row["id"] == 1 else None)
