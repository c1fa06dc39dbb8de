"""Commits that are through are forgotten: in whose way that is, and what has to stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

from motoko.store.database import Database
from motoko.store.session import Session, entered
from motoko.workflow import Workflow
from tests.support.workflows import served_workflow

PARTS: dict[str, Any] = {}


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, "mult") as found:
        yield found


@pytest.fixture
def other(workflow: Workflow) -> Iterator[Workflow]:
    found = Workflow(str(workflow.directory))
    found.run_name = workflow.run_name
    yield found
    found.close()


def study(workflow: Workflow) -> Database[Any]:
    return workflow.mult.base.database


def ledger(workflow: Workflow) -> Database[Any]:
    return workflow.vars.db


@pytest.mark.parametrize(
    ("of", "add", "forget"),
    [
        (study, lambda t, mark: t.set_applied(mark), lambda t: t.forget_applied(["a"])),
        (ledger, lambda t, mark: t.set_commit(mark, PARTS), lambda t: t.forget_commits(["a"])),
    ],
)
def test_who_forgets_the_last_commit_is_not_in_the_way_of_the_next(
    workflow: Workflow,
    other: Workflow,
    of: Callable[[Workflow], Database[Any]],
    add: Callable[[Any, str], None],
    forget: Callable[[Any], Any],
) -> None:
    of(workflow).write(lambda view: add(view, "a"))
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connection = of(workflow).open(manager)
    add(of(workflow).view(connection), "b")
    of(other).write(forget)

    manager.commit()  # no ConflictError

    connection.close()


def test_a_study_has_the_mark_of_a_commit_as_long_as_the_decision_is_there(
    workflow: Workflow,
) -> None:
    with workflow.session():
        workflow.vars.note = "before"
        workflow.mult.createTask(x=0.0)
    session = Session()
    with entered(session):
        assert "count" not in workflow.vars  # looks at a moment before the next commit
    with workflow.session():
        workflow.vars.note = "first"
        workflow.mult.createTask(x=1.0)
    with entered(session):  # looks at a moment after it
        workflow.mult.createTask(x=2.0)
        workflow.vars.more = "second"
    session.commit()
    session.abort()

    with ledger(workflow).read() as decided, study(workflow).read() as tables:
        assert len(decided.commits()) == 2
        assert all(tables.has_applied(mark) for mark in decided.commits())
