"""Where the databases of a workflow are served, and who does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.daemon import Office
from motoko.paths import WORKFLOW_DATABASE
from motoko.store.address import Address, Served, socket_address, tcp_address

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

#: What the workflow's own database is called at its port, as no study can be.
_STORAGE = ".wf"


def server_office_in(state_dir: Path) -> Office:
    """Who serves the databases of the workflow that has this state directory."""
    return Office(state_dir / "server.lock", "the database server")


def launcher_office_in(state_dir: Path) -> Office:
    """Who launches the runs of the workflow that has this state directory."""
    return Office(state_dir / "launcher.lock", "the launcher")


def address(workflow: Workflow) -> Address:
    """Where the workflow's own database is served."""
    config = workflow.config
    if config.host is None:
        return socket_address(workflow.state_dir)
    return tcp_address(config.host)._replace(
        storage=_STORAGE, certificates=config.certificates_for()
    )


def has_many_hosts(workflow: Workflow) -> bool:
    """Whether processes of other machines may take part: all databases are reached over the
    network, and somebody else's server or launcher is as good as one here."""
    studies = [manager.base.address for manager in workflow.task_managers.values()]
    return all(one.path is None for one in (address(workflow), *studies))


def served(workflow: Workflow) -> list[Served]:
    """The database files that the workflow's server holds: its own and the local studies'."""
    found = [Served(workflow.state_dir / WORKFLOW_DATABASE, address(workflow))]
    for manager in workflow.task_managers.values():
        study = manager.base
        if study.is_served_here:
            found.append(Served(study.database_file, study.address))
    return found


def how_served(files: Sequence[Served]) -> list[str]:
    """Stands for where and how they are served."""
    return [f"{one.address} {one.address.certificates or ''}".strip() for one in files]
