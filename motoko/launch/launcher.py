"""The launcher: one process that turns the CREATED runs of all studies of a workflow into
processes or batch jobs, and records what becomes of them.

It waits for four things: the change feed of each study, knocks of job scripts on its socket,
the ends of processes, and a slow timer, which is there for what could not speak up. It is
the one writer of execution state. What executes when it ends goes on; the next launcher takes
that over.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from motoko.crashpoints import reached
from motoko.launch.attempt import Attempt
from motoko.launch.batch_executor import BatchExecutor
from motoko.launch.batch_generator import BatchGenerator
from motoko.launch.batch_watch import BatchWatch
from motoko.launch.desk import Desk
from motoko.launch.environment import make_names_dir, make_python_dir, names_dir, user_name
from motoko.launch.executor import Executor
from motoko.launch.generator import (
    Generator,
    LocalGenerator,
    find_generator,
    plain_name,
)
from motoko.launch.handing import Handing
from motoko.launch.knocks import heard_knocks
from motoko.launch.login import N_CORES, login_system, login_words
from motoko.launch.slots import Slots, available_cores
from motoko.launch.tracking import Pace
from motoko.launch.trouble import Trouble, Troubles, unexpected
from motoko.launch.watch import GRACE_S
from motoko.store.address import Address
from motoko.store.claim import epoch_of
from motoko.study.study import Study

log = logging.getLogger(__name__)

#: Every so many ticks of the slow timer the database is looked at although nothing executes.
_QUIET_TICKS = 12
_REST_S = 0.2


@dataclass(frozen=True)
class LauncherSettings:
    """What a launcher is told.

    ``generator`` is how runs are executed, ``generators`` the same for studies by their names;
    ``options`` are those of generators by their names. ``max_concurrent`` is the number of runs
    at once; without it, the cores that this process may use are the limit, and on a batch
    system ``max_submitted``. ``pace`` is how often one is asked. ``knock`` is the socket that
    job scripts knock at; ``python_dir`` a directory, to be made, through which they find the
    job side; ``epoch`` counts the launchers of the workflow, ``office`` says which count; of
    the studies in ``only`` no other runs may begin.
    """

    knock: Address
    python_dir: Path
    epoch: int = 0
    office: str = ""
    generator: str = "bash"
    generators: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_concurrent: int | None = None
    max_submitted: int | None = None
    pace: Pace = field(default_factory=Pace)
    poll_s: float = 5.0
    grace_s: float = GRACE_S
    only: Mapping[str, Container[int]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


async def launch(
    studies: Sequence[Study],
    *,
    settings: LauncherSettings,
    ready: Callable[[], object] = lambda: None,
    tell: Callable[[Sequence[Trouble]], object] = lambda _: None,
    rest: Callable[[bool], object] | None = None,
) -> None:
    """Launch the runs of these studies until cancelled; ``ready`` is called once it works.

    What does not work for now (no space, a database that is away) is told to ``tell``, all of
    it, whenever that changes.

    ``rest`` is told whether there is nothing to do before something changes elsewhere, whenever
    that changes: whoever wants all to leave asks for it.

    Databases that are away are waited for. Raises UnknownGenerator, and AlreadyRunning when
    another launcher has taken a study over. When cancelled, what is known is recorded, and
    processes are left to go on.
    """
    troubles = Troubles(tell)
    make_python_dir(settings.python_dir)
    make_names_dir(names_dir(settings.python_dir))
    executors = _executors(studies, settings, troubles)
    epoch = epoch_of(settings.office, settings.epoch)
    of = {
        Desk(study, epoch, executors[study], troubles, settings.only.get(study.name)): executor
        for study, executor in executors.items()
    }
    desks = list(of)
    for desk, executor in of.items():
        executor.add(desk)
    handing = _handing(list(set(of.values())), settings, troubles)

    def fold(desk: Desk, attempt: Attempt, journal: str | None) -> None:
        of[desk].watch.fold(desk, attempt, journal)

    with _told_errors(troubles), heard_knocks(settings.knock, desks, fold):
        try:
            async with _single_errors(), anyio.create_task_group() as group:
                for one in handing:
                    one.group = group
                for executor in set(of.values()):
                    executor.group = group
                    if isinstance(executor, BatchExecutor):
                        group.start_soon(executor.run)
                        group.start_soon(executor.watch.run)
                        group.start_soon(executor.watch.ring)
                for desk in desks:
                    group.start_soon(desk.run)
                group.start_soon(_tick, of, settings.poll_s)
                if rest is not None:
                    group.start_soon(_tell_rest, of, rest)
                for desk in desks:
                    await desk.wait_until_tried()
                log.info("launching %d studies", len(desks))
                reached("launcher.ready")
                ready()
        finally:
            reached("launcher.ending")
            for executor in set(of.values()):
                executor.close()
            with anyio.CancelScope(shield=True):
                async with AsyncExitStack() as closing:  # each, whatever becomes of the others
                    for executor in set(of.values()):
                        if isinstance(executor, BatchExecutor):
                            closing.callback(executor.release)
                    for desk, executor in reversed(of.items()):
                        closing.push_async_callback(desk.close)
                        closing.callback(executor.watch.close, desk)
                    for executor in set(of.values()):
                        closing.push_async_callback(executor.watch.insist)
            reached("launcher.closed")


def _executors(
    studies: Sequence[Study], settings: LauncherSettings, troubles: Troubles
) -> dict[Study, Executor | BatchExecutor]:
    """Who executes the runs of each study; one for each generator."""
    made: dict[str, Executor | BatchExecutor] = {}
    found = {}
    for study in studies:
        name = plain_name(settings.generators.get(study.name, settings.generator))
        if name not in made:
            generator = find_generator(name, settings.options.get(name, ()))
            made[name] = _executor(generator, settings, troubles)
        found[study] = made[name]
    return found


def usable_cores(settings: LauncherSettings) -> int:
    """Cores for runs as processes: those that there are, or few on a login node."""
    n_cores = available_cores()
    system = None if settings.max_concurrent else login_system(settings.environment)
    if system is not None and n_cores > N_CORES:
        log.warning("%s", login_words(system))
    return n_cores if system is None else min(n_cores, N_CORES)


def _handing(
    executors: Sequence[Executor | BatchExecutor],
    settings: LauncherSettings,
    troubles: Troubles,
) -> list[Handing]:
    """Let every executor follow the jobs that its scripts have handed their work on to."""
    watches = {e.generator.name: e.watch for e in executors if isinstance(e, BatchExecutor)}
    user = user_name(settings.environment)
    found = []
    for executor in executors:
        handing = Handing(
            executor.generator,
            watches,
            lambda generator, starting=executor: BatchWatch(  # type: ignore[misc]
                generator, user, starting, troubles, settings.pace
            ),
        )
        executor.hands_on_by(handing)
        found.append(handing)
    return found


def _executor(
    generator: Generator, settings: LauncherSettings, troubles: Troubles
) -> Executor | BatchExecutor:
    knock = str(settings.knock.path or "")
    if isinstance(generator, BatchGenerator):
        return BatchExecutor(
            generator,
            settings.python_dir,
            knock,
            settings.environment,
            troubles,
            max_concurrent=settings.max_concurrent,
            max_submitted=settings.max_submitted,
            pace=settings.pace,
        )
    assert isinstance(generator, LocalGenerator)
    return Executor(
        generator,
        Slots(usable_cores(settings), settings.max_concurrent),
        settings.python_dir,
        knock,
        settings.environment,
        troubles,
        settings.grace_s,
    )


@contextmanager
def _told_errors(troubles: Troubles) -> Iterator[None]:
    """Errors that come out of a callback of the loop are told, since nobody waits for it."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            troubles.met("the launcher has met an error of its own", unexpected(error))
        loop.default_exception_handler(context)

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)


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


async def _tell_rest(
    of: Mapping[Desk, Executor | BatchExecutor], tell: Callable[[bool], object]
) -> None:
    told = False
    while True:
        now = all(desk.is_at_rest and executor.is_at_rest for desk, executor in of.items())
        if now != told:
            told = now
            tell(now)
        await anyio.sleep(_REST_S)


async def _tick(of: Mapping[Desk, Executor | BatchExecutor], poll_s: float) -> None:
    n_ticks = 0
    while True:
        await anyio.sleep(poll_s)
        n_ticks += 1
        for desk, executor in of.items():
            executor.watch.poll(desk)
            desk.look_for_late()
            if desk.held or n_ticks % _QUIET_TICKS == 0:
                desk.look()
