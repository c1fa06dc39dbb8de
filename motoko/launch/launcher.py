"""The launcher: one process that turns the CREATED runs of all studies of a workflow into
processes or batch jobs, and records what becomes of them.

It waits for four things: the change feed of each study, knocks of job scripts on its socket,
the ends of processes, and a slow timer, which is there for what could not speak up. It is
the one writer of execution state. What executes when it ends goes on; the next launcher takes
that over.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.launch.environment import make_python_dir
from motoko.launch.executor import Executor
from motoko.launch.generator import LocalGenerator, find_generator
from motoko.launch.slots import Slots, available_cores
from motoko.launch.watch import GRACE_S
from motoko.store.address import Address
from motoko.study.study import Study

log = logging.getLogger(__name__)

_LONGEST_KNOCK = 4096
_KNOCKS_AT_ONCE = 200
#: Every so many ticks of the slow timer the database is looked at although nothing executes.
_QUIET_TICKS = 12


@dataclass(frozen=True)
class LauncherSettings:
    """What a launcher is told.

    ``options`` are those of the generator. ``max_concurrent`` is the number of runs at once;
    without it, the cores that this process may use are the limit. ``knock`` is the socket that
    job scripts knock at; ``python_dir`` a directory, to be made, through which they find the
    job side; ``epoch`` counts the launchers of the workflow.
    """

    knock: Address
    python_dir: Path
    epoch: int = 0
    generator: str = "bash"
    options: Sequence[str] = ()
    max_concurrent: int | None = None
    poll_s: float = 5.0
    grace_s: float = GRACE_S
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


async def launch(
    studies: Sequence[Study],
    *,
    settings: LauncherSettings,
    ready: Callable[[], object] = lambda: None,
) -> None:
    """Launch the runs of these studies until cancelled; ``ready`` is called once it works.

    Databases that are away are waited for. Raises UnknownGenerator, and AlreadyRunning when
    another launcher has taken a study over. When cancelled, what is known is recorded, and
    processes are left to go on.
    """
    generator = find_generator(settings.generator, settings.options)
    assert isinstance(generator, LocalGenerator)
    make_python_dir(settings.python_dir)
    slots = Slots(available_cores(), settings.max_concurrent)
    executor = Executor(
        generator,
        slots,
        settings.python_dir,
        str(settings.knock.path or ""),
        settings.environment,
        settings.grace_s,
    )
    epoch = f"{settings.epoch}-{secrets.token_hex(6)}"
    desks = [Desk(study, epoch, executor) for study in studies]
    for desk in desks:
        executor.add(desk)
    with _heard_knocks(settings.knock, desks, executor):
        try:
            async with _single_errors(), anyio.create_task_group() as group:
                for desk in desks:
                    group.start_soon(desk.run)
                group.start_soon(_tick, desks, executor, settings.poll_s)
                for desk in desks:
                    await desk.wait_until_tried()
                log.info("launching %d studies, %d runs at once", len(desks), slots.size)
                ready()
        finally:
            executor.close()
            with anyio.CancelScope(shield=True):
                for desk in desks:
                    executor.watch.close(desk)
                    await desk.close()


@asynccontextmanager
async def _single_errors() -> AsyncIterator[None]:
    """An error that came out of a task group by itself is raised as what it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


async def _tick(desks: Sequence[Desk], executor: Executor, poll_s: float) -> None:
    n_ticks = 0
    while True:
        await anyio.sleep(poll_s)
        n_ticks += 1
        for desk in desks:
            executor.watch.poll(desk)
            if desk.held or n_ticks % _QUIET_TICKS == 0:
                desk.look()


@contextmanager
def _heard_knocks(
    address: Address, desks: Sequence[Desk], executor: Executor
) -> Iterator[None]:
    """Listen on a socket for job scripts that say they have written something."""
    if address.path is None:
        yield
        return
    loop = asyncio.get_running_loop()
    address.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    address.path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.setblocking(False)
        door.bind(str(address.path))
        address.path.chmod(0o600)

        def heard() -> None:
            for attempt, desk in _knocking(door, desks).items():
                executor.watch.fold(desk, attempt)

        loop.add_reader(door, heard)
        try:
            yield
        finally:
            loop.remove_reader(door)
            address.path.unlink(missing_ok=True)


def _knocking(door: socket.socket, desks: Sequence[Desk]) -> dict[Attempt, Desk]:
    """The attempts whose scripts have knocked; what cannot be understood is left out."""
    found = {}
    for _ in range(_KNOCKS_AT_ONCE):
        try:
            message = json.loads(door.recv(_LONGEST_KNOCK))
            run_id, nonce = message["run"], message["nonce"]
        except BlockingIOError:
            break
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for desk in desks:
            attempt = desk.held.get(run_id)
            if attempt is not None and attempt.nonce == nonce:
                found[attempt] = desk
    return found
