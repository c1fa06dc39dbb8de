"""Reading a workflow's databases for those who only look: its server need not run."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from motoko.cli.places import load_workflow
from motoko.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from motoko.daemon import Office, Owner
    from motoko.workflow.workflow import Workflow

T = TypeVar("T")

_MOST_SERVERS = 5
#: Between the end of a server's last connection and its own.
_PARTING_S = 2.0


def read(directory: str | None, gather: Callable[[Workflow], T], *studies: str | None) -> T:
    """What is gathered from a workflow whose databases are open to be read.

    ``studies`` are those that are meant: UnknownTaskManager before anything else if it has none
    of such a name.
    """
    from motoko.workflow import opening

    def opened(workflow: Workflow) -> T:
        for study in filter(None, studies):
            workflow.task_manager(study)
        opening.open_all(workflow)
        return gather(workflow)

    return steadily(lambda: load_workflow(directory), opened)


def steadily(
    load: Callable[[], Workflow],
    gather: Callable[[Workflow], T],
    is_cut_off: Callable[[T], bool] = lambda _: False,
) -> T:
    """What is gathered from a workflow; once more if its server came or went meanwhile.

    Whoever looks at a workflow at the moment when it ends is told how it ended. That something
    is missing in what was gathered ``is_cut_off`` says, if `DatabaseUnavailable` does not.
    """
    from motoko.workflow import control

    for n_servers in count(1):
        workflow = load()
        office = control.server_office(workflow)
        server = office.owner()
        is_last = n_servers == _MOST_SERVERS
        try:
            found = gather(workflow)
            if is_last or not is_cut_off(found) or not _has_gone(office, server):
                return found
        except DatabaseUnavailable as error:
            if is_last or not error.transient or not _has_gone(office, server):
                raise
        finally:
            workflow.close()
    raise AssertionError("the last try returns or raises")


def _has_gone(office: Office, server: Owner | None) -> bool:
    """Whether the server is another, or none, than when a command began to read."""
    deadline = time.monotonic() + _PARTING_S
    while office.owner() == server:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
