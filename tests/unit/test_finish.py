"""Who says that a workflow is finished, and what is kept of that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from motoko.store.operations import Operation, SayEnd
from motoko.store.session import Session, entered
from motoko.workflow.finish import Finish
from motoko.workflow.reopening import Reopening


class Workflow:
    """What is asked of a workflow here."""

    def __init__(self) -> None:
        self.finished = False
        self.is_orchestrated = True
        self.run_name = "a"
        self.vars = SimpleNamespace(db=None)

    def tell_of_change(self) -> None:
        """Nobody listens."""


class Noting(Session):
    """A session that is told what to commit, and commits nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Operation] = []

    def do(self, database: Any, operation: Operation) -> None:
        self.told.append(operation)


class Loop:
    """Runs a workflow that was finished before, and has something left to do."""

    def __init__(self, workflow: Any, *, has_left: bool) -> None:
        self.reopening = Reopening(workflow)
        self.prospects = SimpleNamespace(puts_off_end=lambda session: has_left)


@pytest.mark.parametrize("is_action", [False, True])
def test_an_end_that_waits_can_be_taken_back(is_action: bool) -> None:
    workflow: Any = Workflow()
    finish, loop = Finish(workflow), Loop(workflow, has_left=True)
    finish.begin(loop)  # type: ignore[arg-type]
    session = Noting() if is_action else None

    with entered(session):
        finish.say(True)
        if session is not None:
            session.commit()
        finish.say(False)
        if session is not None:
            session.commit()
    loop.reopening.release()

    assert not workflow.finished


@pytest.mark.parametrize("has_left", [False, True])
def test_an_end_that_waits_is_not_kept_for_a_later_orchestrator(has_left: bool) -> None:
    workflow: Any = Workflow()
    finish, session = Finish(workflow), Noting()
    finish.begin(Loop(workflow, has_left=has_left))  # type: ignore[arg-type]

    with entered(session):
        finish.say(True)

    assert session.told == [SayEnd("a", None if has_left else 0)]
