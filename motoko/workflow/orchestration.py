"""Being the orchestrator of a run name: its office, and what is kept of its begin and end."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from motoko.crashpoints import reached
from motoko.daemon import Office
from motoko.errors import AlreadyRunning, StudyError
from motoko.store.claim import Claim, epoch_of
from motoko.store.database import Database, Write
from motoko.store.patience import patience
from motoko.study.waiting import until_answered
from motoko.workflow import control, resuming, serving
from motoko.workflow.deposits import Deposits
from motoko.workflow.ends import End
from motoko.workflow.history import History
from motoko.workflow.pipelines.asked import Asked
from motoko.workflow.pipelines.passed_over import note_passed_over
from motoko.workflow.reporter import answering
from motoko.workflow.variables import storable

if TYPE_CHECKING:
    from motoko.workflow.loop import EventLoop
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


@contextmanager
def taken(workflow: Workflow) -> Iterator[None]:
    """Be the one orchestrator of the run name from now on, before anything is said or changed;
    AlreadyRunning when another process is. `Workflow.run` in the block does not ask again."""
    office = control.orchestrator_office(workflow, workflow.run_name or "")
    take(workflow, office)
    workflow.office = office
    try:
        yield
    finally:
        workflow.office = None
        office.leave()


def take(workflow: Workflow, office: Office) -> None:
    """Take the office of a run name's orchestrator."""
    office.take({"run_name": workflow.run_name}, takeover=workflow.takes_over)
    reached("orchestrator.taken")


class Orchestration:
    """One run of a workflow, by the one process that orchestrates its run name."""

    def __init__(self, workflow: Workflow, loop: EventLoop) -> None:
        self._workflow = workflow
        self._loop = loop
        self._ledger = workflow.vars.db
        self._run_name = workflow.run_name or ""
        self._is_taken = workflow.office is not None
        self._office = workflow.office or control.orchestrator_office(workflow, self._run_name)

    async def run(self, main: Callable[[], Awaitable[Any]]) -> int:
        """Run it until it ends; its exit code. AlreadyRunning when another process does."""
        workflow, office = self._workflow, self._office
        if self._run_name and not self._is_taken:
            take(workflow, office)
        try:
            for manager in workflow.task_managers.values():
                manager.base.versions.look_ahead()
            await anyio.to_thread.run_sync(control.ensure_running, workflow)
            if self._run_name:
                await self._claim()
            said_end = await until_answered(self._ledger, self._said_end)
            deposits = workflow.artifact_deposits = Deposits(workflow)
            workflow.asked_steps = Asked(workflow.asked_steps)
            if said_end is None:
                await self._record_begin()
            reached("run.begun")
            workflow.is_orchestrated = True
            try:
                if said_end is None:
                    lost = self._taken_over if self._run_name else None
                    with answering(workflow.state_dir, self._run_name, self._loop.report):
                        await deposits.begin()
                        code = await deposits.beside(self._loop.run(main, lost))
                    await note_passed_over(workflow)
                else:
                    log.info("its end was said before, and not recorded: nothing is called")
                    code = await self._end_again(said_end)
                    await deposits.finish()
            except BaseException as error:
                why = f"{type(error).__name__}: {error}"
                if not isinstance(error, Exception):
                    why = "stopped before its end"
                # The database may be what has gone, or take nothing from here any more.
                with patience(0.0), suppress(AlreadyRunning):
                    await self._record(ended=time.time(), error=why, said_end=None)
                raise
            reached("workflow.finished")
            now = time.time()
            await self._record(finished=now, ended=now, error=None, said_end=None)
            reached("workflow.recorded")
            return code
        finally:
            workflow.is_orchestrated = False
            with anyio.CancelScope(shield=True):
                await self._give_up_claim()
            reached("orchestrator.unclaimed")
            workflow.artifact_deposits = workflow.office = None
            office.leave()

    async def _claim(self) -> None:
        """See to it that nobody else changes databases as the orchestrator of the run name."""
        with self._ledger.read() as ledger:
            mark = ledger.fact("generation")  # studies may be several workflows'
        office = self._office
        claim = Claim(
            f"orchestrator of {mark} {self._run_name}",
            office.what,
            epoch_of(office.mark, office.epoch),
            str(office.last_owner()),
        )

        async def take(database: Database[Any]) -> None:
            await until_answered(database, Write(database, claim.take))
            database.claim = claim

        await _each(take, self._workflow.databases)
        reached("orchestrator.claimed")

    async def _give_up_claim(self) -> None:
        """Leave the databases to the next one, those that do not answer too."""

        async def give_up(database: Database[Any]) -> None:
            claim, database.claim = database.claim, None
            if claim is not None and not claim.is_lost and not database.is_away:
                with patience(0.0), suppress(StudyError):
                    await until_answered(database, Write(database, claim.give_up))

        await _each(give_up, self._workflow.databases)

    def _said_end(self) -> int | str | None:
        """How an earlier orchestrator, that then died, came to its end; None if it did not."""
        said: int | str | None = self._known().get("said_end")
        return said

    async def _end_again(self, said: int | str) -> int:
        """Come to the end that an earlier orchestrator came to; the exit code."""
        history = History(self._workflow)
        await until_answered(self._ledger, history.open)
        await until_answered(self._ledger, history.close)
        self._workflow.finished = True
        return self._loop.exit_code(End(exit_code=said))

    async def _taken_over(self) -> Exception:
        """Wait until somebody else orchestrates the run name."""
        office = self._office
        why = await serving.lost(office)
        owner = office.last_owner()  # who may have left by now
        if owner is None or owner.epoch <= office.epoch:
            await anyio.sleep_forever()  # removed, which whoever watches the databases says
        log.warning("%s", why)
        return AlreadyRunning(office.what, str(owner), office.stop)

    async def _record_begin(self) -> None:
        known = await until_answered(self._ledger, self._known)
        now = resuming.parameters(self._workflow, self._workflow.params)
        if self._run_name:
            is_accepted = self._workflow.accepts_changes
            resuming.check(self._run_name, known, now, is_accepted=is_accepted)
        before = known.get("finished") or known.get("finished_before")
        kept = storable(self._workflow.params)
        begun = {"params": kept, resuming.PARAMETERS: now}
        await self._record(**begun, finished=None, finished_before=before, ended=None)

    def _known(self) -> dict[str, Any]:
        with self._ledger.read() as ledger:
            return ledger.run_name(self._run_name) or {}

    async def _record(self, **facts: Any) -> None:
        name = self._run_name
        if name:
            write = Write(self._ledger, lambda ledger: ledger.set_run_name(name, **facts))
            try:
                with anyio.CancelScope(shield=True):
                    await until_answered(self._ledger, write)
            except StudyError as error:
                log.warning("cannot record the state of run name %s: %s", name, error)


async def _each(
    call: Callable[[Database[Any]], Awaitable[None]], databases: list[Database[Any]]
) -> None:
    """Call it for all databases at once; raises what the first one that fails does."""
    errors: list[BaseException] = []

    async def one(database: Database[Any]) -> None:
        try:
            await call(database)
        except Exception as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for database in databases:
            group.start_soon(one, database)
    if errors:
        raise errors[0]
