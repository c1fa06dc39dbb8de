"""Reading a workflow's databases for those who only look: its server need not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from motoko.cli.places import load_workflow

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


@contextmanager
def opened(directory: str | None, *studies: str | None) -> Iterator[Workflow]:
    """A workflow with its databases open to be read.

    ``studies`` are those that are meant: UnknownTaskManager before anything else if it has none
    of such a name.
    """
    from motoko.workflow import opening

    workflow = load_workflow(directory)
    for study in filter(None, studies):
        workflow.task_manager(study)
    try:
        opening.open_all(workflow)
        yield workflow
    finally:
        workflow.close()
