"""A process that commits a session over two studies and a variable: ``... WORKFLOW``.

With ``MOTOKO_CRASH_AT`` it dies at a step of that.
"""

from __future__ import annotations

import sys

from motoko.store.firing import Firing
from motoko.store.session import Session, entered
from motoko.workflow import Workflow

#: The study whose run is changed.
FIRST = "mult"


def run_work(workflow: Workflow, x: float = 2.0) -> None:
    """All of the work: a task more in each study, a run changed, a variable set."""
    prepared(workflow, x).commit(is_last=True)


def prepared(workflow: Workflow, x: float = 2.0) -> Session:
    """The work, not committed yet."""
    workflow.run_name = "test"
    firing = Firing(workflow.vars.db, "test", "event", FIRST, FIRST, (1,))
    session = Session(firing=firing)
    with entered(session):
        do_work(workflow, x)
    return session


def do_work(workflow: Workflow, x: float = 2.0) -> int:
    """The work itself, in the present session; the id that its first task was given."""
    run_id: int = workflow.task_manager(FIRST).createTask(x=x)[0][0].id
    workflow.norm.createTask(x=x + 1)
    workflow.task_manager(FIRST).base.run(1).note = "seen"
    workflow.vars.count = workflow.vars.get("count", 0) + 1
    return run_id


if __name__ == "__main__":
    run_work(Workflow(sys.argv[1]))
