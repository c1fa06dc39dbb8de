"""Being the process that launches the runs of a workflow.

Who starts and stops it is `control`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from motoko import daemon
from motoko.crashpoints import reached
from motoko.daemon import Office, Use
from motoko.workflow import control
from motoko.workflow.generators import generators_of, launcher_settings, room_of

if TYPE_CHECKING:
    from motoko.launch.trouble import Trouble
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LauncherOptions:
    """What the command line may say about the launcher."""

    generator: str | None = None
    studies: tuple[str, ...] = ()
    takeover: bool = False
    #: A file with the runs that may begin, of studies of which not all may.
    only: Path | None = None
    #: Whether it tells when there is nothing to do.
    tells_rest: bool = False


async def run_launcher(
    workflow: Workflow, options: LauncherOptions, ready: Callable[[], object]
) -> None:
    """Be the launcher until cancelled."""
    from motoko.launch.choice import read_chosen
    from motoko.launch.launcher import launch

    office, server = control.launcher_office(workflow), control.server_office(workflow)
    names = list(options.studies or workflow.task_managers)
    studies = [workflow.task_manager(name).base for name in names]
    generators = generators_of(workflow, names, options.generator)
    facts: dict[str, Any] = {
        "generator": options.generator,
        "generators": generators,
        "studies": names,
        "chosen": {"generator": options.generator, "studies": list(options.studies)},
        "files": control.files_mark(workflow),
        "is_limited": options.only is not None,
        "is_at_rest": False if options.tells_rest else None,
    }
    facts |= room_of(settings := launcher_settings(workflow, generators))

    def note(**news: Any) -> None:
        facts.update(news)
        with suppress(OSError):
            office.update(facts)

    def tell(troubles: Sequence[Trouble]) -> None:
        note(troubles=[one._asdict() for one in troubles])

    rest = (lambda now: note(is_at_rest=now)) if options.tells_rest else None
    with ExitStack() as stack:
        stack.callback((use := Use(server)).leave)
        use.begin()
        office.take(facts, takeover=options.takeover)
        stack.callback(office.leave)
        stack.callback(use.leave)  # who has waited for the office may end the server then
        reached("launcher.taken")
        only = {} if options.only is None else read_chosen(options.only)
        settings = replace(settings, epoch=office.epoch, office=office.mark, only=only)
        async with anyio.create_task_group() as group:
            group.start_soon(_end_when_lost, office, group.cancel_scope)
            await launch(studies, settings=settings, ready=ready, tell=tell, rest=rest)
            group.cancel_scope.cancel()


async def _end_when_lost(office: Office, scope: anyio.CancelScope) -> None:
    why = await lost(office)
    log.warning("%s ends: %s", office.what, why)
    scope.cancel()


async def lost(office: Office) -> str:
    """Wait until an office that was taken is removed or taken over; why, in words."""
    while True:  # nobody tells of that
        await anyio.sleep(daemon.WATCH_S)
        why = office.loss
        if why is not None:
            return why
