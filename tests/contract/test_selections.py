"""Selections and questions: combined, awaited; tasks that are seen at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.model.constraints import Constraint
from motoko.store.rows import Rows
from motoko.store.session import entered
from motoko.study.lookout import Lookout, Watcher
from motoko.study.study import _N_AT_ONCE
from motoko.task_manager import RunList, TaskSelectionEval
from motoko.workflow import Workflow
from tests.support.workflows import DEADLINE_S, no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


def test_a_task_can_be_seen_by_all_before_the_session_is_over(workflow: Workflow) -> None:
    def seen_by_others() -> dict[str, int]:
        with entered(None):
            return workflow.mult.base.counts()

    with workflow.session():
        workflow.mult.createTask(x=1.0)
        assert seen_by_others() == {}
        workflow.mult.createTask(x=2.0, commit=True)
        assert seen_by_others() == {"CREATED": 2}
        workflow.mult.createTask(x=3.0)
        assert seen_by_others() == {"CREATED": 2}

    assert seen_by_others() == {"CREATED": 3}


@pytest.mark.slow
def test_many_runs_are_given_one_after_the_other_with_their_jobs(workflow: Workflow) -> None:
    n_runs = 2 * _N_AT_ONCE + 1
    made = workflow.mult.createTask(x=[float(i) for i in range(n_runs)])

    assert [job.x for _, job in made] == [float(i) for i in range(n_runs)]
    selected = workflow.mult.select("x >= 1").exec()
    assert [(run.id, job.x) for run, job in selected] == [
        (i + 1, float(i)) for i in range(1, n_runs)
    ]
    assert [run.id for run, _ in workflow.mult.select()] == list(range(1, n_runs + 1))
    assert workflow.mult.select("x < 0").exec() == []


@pytest.mark.parametrize("which", [(True, False), (False, True), (True, True)])
def test_selections_combine_with_their_conditions(
    workflow: Workflow, which: tuple[bool, bool]
) -> None:
    workflow.mult.createTask(x=[1.0, 2.0, 3.0, 4.0])
    first, second = workflow.mult.select("x > 1"), workflow.mult.select("x < 5")
    if which[0]:
        first.matching_condition = lambda run, job: job.x != 2
    if which[1]:
        second.matching_condition = lambda run, job: job.x != 4

    both = first & second

    expected = [
        x for x in (2.0, 3.0, 4.0) if not (which[0] and x == 2) and not (which[1] and x == 4)
    ]
    assert [job.x for _, job in both] == expected
    assert len(both) == len(expected)
    assert [job.x for _, job in both.exec()] == expected  # type: ignore[union-attr]


def test_a_question_about_no_study_is_asked_again_and_again(workflow: Workflow) -> None:
    async def main(workflow: Workflow, **params: Any) -> None:
        answers = iter([0, None, "", "yes"])
        question = TaskSelectionEval(lambda: next(answers), wait_s=0.001)

        assert await question == "yes"

    assert run(workflow, main) == 0


def test_a_question_about_no_study_and_a_selection_are_both_asked_again(
    workflow: Workflow,
) -> None:
    answers = iter([False] * 50 + [True])

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.mult.createTask(x=1.0)
        question = TaskSelectionEval(lambda: next(answers), wait_s=0.001)

        assert await (question & workflow.mult.select("x = 1")) is True

    assert run(workflow, main, outcome=None) == 0
    assert list(answers) == []


def test_all_asks_of_the_runs_that_the_condition_chooses(workflow: Workflow) -> None:
    workflow.mult.createTask(x=[1.0, 2.0])
    workflow.mult.base.run(1).state = "FINISHED"
    selection = workflow.mult.select()
    all_finished = selection.all("state = FINISHED")
    assert not all_finished

    selection.matching_condition = lambda run, job: job.x == 1
    assert all_finished

    selection.matching_condition = lambda run, job: False
    assert not all_finished


def test_all_is_asked_of_one_moment(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow.mult.createTask(x=[1.0, 2.0])
    workflow.mult.base.run(1).state = "FINISHED"
    other = Workflow(str(workflow.directory))
    other.run_name = workflow.run_name
    count, n_counts = Rows.count, 0

    def counted(rows: Rows, constraint: Constraint) -> int:
        nonlocal n_counts
        n_counts += 1
        found = count(rows, constraint)
        if n_counts == 1:  # there were two, one of them FINISHED; now there are three, and two
            with other.session():
                other.mult.base.run(2).state = "FINISHED"
                other.mult.createTask(x=3.0)
            workflow.mult.base.database.await_news()
        return found

    monkeypatch.setattr(Rows, "count", counted)

    assert not workflow.mult.select().all("state = FINISHED")
    assert n_counts == 2
    other.close()


def test_a_run_that_is_put_back_while_those_of_another_study_are_awaited_has_not_failed(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    [failing], [late] = workflow.mult.createTask(x=1.0), workflow.norm.createTask(x=1.0)
    failing[0].state = "FAILED"
    watch = Lookout.watch

    async def main() -> None:
        is_late_awaited = anyio.Event()

        def watched(lookout: Lookout, watcher: Watcher) -> Callable[[], None]:
            if lookout is workflow.norm.base.lookout:
                is_late_awaited.set()
            return watch(lookout, watcher)

        async def end_it() -> None:
            await is_late_awaited.wait()
            failing[0].state = "CREATED"
            failing[0].state = "FINISHED"
            late[0].state = "FINISHED"

        monkeypatch.setattr(Lookout, "watch", watched)
        async with anyio.create_task_group() as group:
            group.start_soon(end_it)
            with anyio.fail_after(DEADLINE_S):
                assert await RunList([failing, late]) == [failing, late]

    anyio.run(main)
