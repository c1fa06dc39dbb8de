"""What a workflow makes of runs that failed, as their policy says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.errors import FailedRun, RunsFailed
from motoko.study.study import Study
from motoko.task_manager import RunList
from motoko.workflow import Workflow
from motoko.workflow.ends import advised
from motoko.workflow.selectors import all_ids, read_selectors
from tests.contract.test_workflow import fail_negative
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


def declare(workflow: Workflow, study: str, policy: str) -> None:
    """Let a study have this policy."""
    manager = workflow.task_manager(study)
    file = manager.base.directory / "bd.yaml"
    file.write_text(file.read_text() + f"\non_failure: {policy}\n")


@pytest.mark.parametrize("is_of_study", [True, False])
def test_awaiting_gives_the_survivors_where_the_policy_is_to_prune(
    tmp_path: Path, is_of_study: bool
) -> None:
    given = {} if is_of_study else {"on_failure": "prune"}
    survivors: list[float] = []
    alive: list[bool] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        found = await workflow.mult.createTask(given, x=[1.0, -1.0, 2.0])
        survivors.extend(job.x for _, job in found)
        if is_of_study:
            alive.append(await workflow.mult.select().all("state = FINISHED"))

    with served_workflow(tmp_path, "mult") as first:
        if is_of_study:
            declare(first, "mult", "prune")
        first.close()
        again = Workflow(str(tmp_path))
        again.run_name = "test"
        try:
            assert run(again, main, outcome=fail_negative) == 0
            assert again.mult.base.counts() == {"FINISHED": 2, "FAILED": 1}
        finally:
            again.close()
    assert survivors == [1.0, 2.0]
    assert alive == ([True] if is_of_study else [])


def test_raise_ends_the_workflow_and_says_what_failed_and_how_to_go_on(
    workflow: Workflow,
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.norm.createTask({"on_failure": "keep"}, x=-5.0)
        workflow.mult.createTask({"on_failure": "raise"}, x=[-1.0, 1.0])
        await anyio.sleep_forever()

    with pytest.raises(RunsFailed) as caught:
        run(workflow, main, outcome=only_mult_fails)

    assert [str(one) for one in caught.value.failed] == ["mult.1 FAILED: exit code 1"]
    assert caught.value.__notes__ == [
        "try them again with `motoko run --run_name test --retry-failed`"
    ]


@pytest.mark.parametrize("n_runs", [1, 11])
def test_what_was_cancelled_is_said_to_be_tried_again_by_its_own_command(
    workflow: Workflow, n_runs: int
) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        for manager in (workflow.mult, workflow.norm):
            created = manager.createTask(x=[float(i) for i in range(n_runs)])
            for one, _ in created:
                one.state = "CANCELLED"
        pairs = [*workflow.mult.select(), *workflow.norm.select()]
        await RunList(pairs)

    with pytest.raises(RunsFailed) as caught:
        run(workflow, main, outcome=None)

    (note,) = caught.value.__notes__
    _, retry, _, again, _ = note.split("`")
    assert again == "motoko run --run_name test"
    assert retry.startswith("motoko runs retry ")
    chosen = all_ids(read_selectors(workflow, shlex.split(retry)[3:]))
    ids = list(range(1, n_runs + 1))
    assert {study.name: found for study, found in chosen.items()} == {"mult": ids, "norm": ids}


def test_what_was_deleted_is_not_said_to_be_tried_again() -> None:
    gone = FailedRun("mult", 1, "deleted", "it was deleted")
    failed = FailedRun("mult", 2, "FAILED", "exit code 1")

    assert not hasattr(advised(RunsFailed([gone]), "test"), "__notes__")
    assert advised(RunsFailed([gone, failed]), "test").__notes__ == [
        "try them again with `motoko run --run_name test --retry-failed`"
    ]


def only_mult_fails(study: Study, row: Mapping[str, Any]) -> str | None:
    return fail_negative(study, row) if study.name == "mult" else None


def test_error_handler_is_called_for_failed_runs_but_those_that_are_left_out(
    workflow: Workflow,
) -> None:
    handled: list[int] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_error_handler(f=lambda runs: handled.extend(run.id for run, _ in runs))
        left = await workflow.mult.createTask({"on_failure": "prune"}, x=[-1.0, 1.0, -2.0])
        assert [job.x for _, job in left] == [1.0]
        await workflow.mult.createTask(x=-3.0)

    with pytest.raises(RunsFailed, match=r"mult\.4"):
        run(workflow, main, outcome=fail_negative)

    assert handled == [4]


def test_keep_ends_nothing(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("mend", task="mult", event="state = FAILED", f=mend)
        workflow.mult.createTask(x=[-1.0, 1.0])

    async def mend(runs: Any, workflow: Workflow, **params: Any) -> None:
        for failed, _ in runs:
            failed.state = "MENDED"
        workflow.finished = True

    assert run(workflow, main, outcome=fail_negative) == 0
    assert workflow.mult.base.counts() == {"FINISHED": 1, "MENDED": 1}
