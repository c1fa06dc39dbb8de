"""An orchestrator in this process: run with a view, ended by signals, closed with a line."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import anyio

from motoko import daemon
from motoko.cli import failures, words
from motoko.cli.failures import Stopped
from motoko.cli.interrupts import Interrupts
from motoko.errors import ActionFailed, DatabaseLost, MotokoError, RunsFailed
from motoko.model import states
from motoko.study.order import passed_over
from motoko.workflow import control
from motoko.workflow.executing import n_held
from motoko.workflow.pipelines.failed import standing
from motoko.workflow.variables import written
from motoko.workflow.views.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from anyio import CancelScope

    from motoko.cli.views import View
    from motoko.workflow.upkeep.keeper import Keeper
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

_MOST_VARIABLES = 4
_MOST_NAMES = 5
_LONGEST_VALUE = 60
#: Of so many of the last firings it is asked which variables they have set.
_MOST_FIRINGS = 1000


class Orchestration:
    """One orchestrator's time in this process."""

    def __init__(
        self,
        workflow: Workflow,
        params: dict[str, Any],
        view: View,
        keeper: Keeper,
        leave_when: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """The keeper watches already over server and launcher. When ``leave_when`` returns, the
        workflow is left, and not finished."""
        assert workflow.run_name is not None
        self._workflow = workflow
        self._params = params
        self._view = view
        self._keeper = keeper
        self._leave_when = leave_when
        #: Whether it was left before its end.
        self.has_left = False
        self._lost: MotokoError | None = None
        self._error: Exception | None = None
        self._code: int | None = None
        self._interrupts: Interrupts | None = None
        self.progress = Progress(workflow, workflow.run_name)

    def run(self) -> int:
        """Run until the workflow ends; the exit code.

        Raises what ended it badly, and Stopped when a signal did.
        """
        try:
            anyio.run(self._run)
        except BaseException:  # the second signal does not wait for the loop, whoever meets it
            if self._interrupts is None or not self._interrupts.is_forced:
                raise
        finally:
            self.progress.read_again()
            self._close_view()
        if self._code is not None:
            return self._code
        if self._lost is not None:
            raise self._lost
        if isinstance(self._error, ActionFailed):
            self._error.add_note(f"  its traceback is in {control.log_file(self._workflow)}")
        if isinstance(self._error, RunsFailed):
            others = [run for run in self._error.failed if run.state != states.FAILED]
            self._error.n_in_all = self.progress.n_failed() + len(others)
        if self._error is not None:
            raise self._error
        if self.has_left:
            return 0
        assert self._interrupts is not None and self._interrupts.number is not None
        raise Stopped(self._interrupts.number)

    def n_active(self) -> int:
        """Runs that are executing."""
        return self.progress.n_active()

    async def _run(self) -> None:
        workflow = self._workflow
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            scope = stack.enter_context(anyio.CancelScope())
            self._interrupts = stack.enter_context(Interrupts(scope.cancel, workflow.hurry))

            def lose(error: MotokoError) -> None:
                self._lost = error
                loop.call_soon_threadsafe(scope.cancel)

            def tell(troubles: list[str]) -> None:
                loop.call_soon_threadsafe(self.progress.take_troubles, troubles)

            stack.enter_context(self.progress.watching())
            stack.enter_context(self._keeper.telling(lose, tell))
            # The child of `start --detach` is ready once its name stands in the ledger.
            stack.callback(workflow.vars.db.feed.listen(lambda change: daemon.say_ready()))
            async with anyio.create_task_group() as group:
                group.start_soon(self._follow)
                if self._leave_when is not None:
                    group.start_soon(self._leave, self._leave_when, scope)
                try:
                    self._code = await workflow.run(**self._params)
                except Exception as error:
                    self._error = error
                group.cancel_scope.cancel()

    async def _leave(self, when: Callable[[], Awaitable[None]], scope: CancelScope) -> None:
        await when()
        self.has_left = True
        scope.cancel()

    async def _follow(self) -> None:
        try:
            await self._view.follow(self.progress)
        except OSError as error:
            if not failures.is_terminal_gone(error):
                raise
            failures.be_silent()
            log.warning("the terminal is gone; the orchestrator goes on")

    def _close_view(self) -> None:
        try:
            self._view.close(self.progress)
        except OSError as error:
            if not failures.is_terminal_gone(error):
                raise
            failures.be_silent()


def left_line(workflow: Workflow, progress: Progress) -> str:
    """How far each study is that is left before its end."""
    done = [f"{study} {words.states(c)}" for study, c in progress.counts.items() if c]
    how_far = f"{workflow.run_name} is not finished: {', '.join(done) or 'no runs'}"
    return "; ".join([how_far, *_found_finished(progress)])


def closing_line(workflow: Workflow, progress: Progress, code: int) -> str:
    """What was computed, how long it took, where it lies and what the variables say."""
    done = []
    for study, counts in progress.counts.items():
        if counts:
            n_other = progress.n_runs(study) - counts.get("FINISHED", 0)
            rest = {s: n for s, n in counts.items() if s != "FINISHED"}
            note = f" ({words.states(rest)})" if n_other else ""
            done.append(f"{study} {words.counted(progress.n_runs(study), 'run')}{note}")
    how = "finished" if code == 0 else f"ended with exit code {code}"
    took = words.duration(progress.elapsed_s)
    parts = [
        f"{how} after {took}: {', '.join(done) or 'no runs'}",
        *_found_finished(progress),
        *_failed_functions(workflow),
        *_awaiting_step(workflow),
        f"results in {workflow.directory}",
    ]
    return "; ".join([*parts, *_variables(workflow)])


def _found_finished(progress: Progress) -> Iterator[str]:
    if found := progress.found_finished:
        runs = [f"{study} {words.counted(len(ids), 'run')}" for study, ids in found.items()]
        study, (run_id, *_) = next(iter(found.items()))
        yield (
            f"not executed, since files said that they are finished: {', '.join(runs)},"
            f" `motoko runs show {study}.{run_id}`"
        )


def _failed_functions(workflow: Workflow) -> Iterator[str]:
    try:
        with workflow.vars.db.read() as ledger:
            found = [one.function for one in standing(ledger, str(workflow.run_name))]
    except MotokoError:
        return
    if found:
        names = words.listed(found, _MOST_NAMES)
        yield f"{words.counted(len(found), 'function')} FAILED ({names})"


def _awaiting_step(workflow: Workflow) -> Iterator[str]:
    waiting: list[str] = []
    left: list[str] = []
    for name, manager in workflow.task_managers.items():
        with suppress(MotokoError), manager.base.database.read() as tables:
            ids = tables.awaiting_step(workflow.run_name)
            gone = set(passed_over(tables, ids))
            waiting += [f"{name}.{i}" for i in ids if i not in gone]
            left += [f"{name}.{i}" for i in ids if i in gone]
    for found, one, some, what in (
        (waiting, "waits", "wait", "for a pipeline"),
        (left, "is", "are", "of no present step of a pipeline"),
    ):
        if found:
            n_runs, verb = words.counted(len(found), "run"), one if len(found) == 1 else some
            names = words.listed(found, _MOST_NAMES)
            yield f"{n_runs} {verb} {what} ({names}), `motoko why {found[0]}`"


def _variables(workflow: Workflow) -> Iterator[str]:
    """The first of the variables that this run name has set, and where to see the rest."""
    own = set(written(workflow.vars))
    try:
        with workflow.vars.db.read() as ledger:
            for record in ledger.firings(_MOST_FIRINGS, workflow.run_name).values():
                own.update(record["variables"])
            found = {name: v for name, v in ledger.variables().items() if name in own}
    except MotokoError:
        return
    texts = {name: " ".join(str(value).split()) for name, value in found.items()}
    shown = [f"{name} = {_beginning(text)}" for name, text in texts.items()][:_MOST_VARIABLES]
    if shown:
        yield ", ".join(shown)
    if len(texts) > len(shown) or any(len(text) > _LONGEST_VALUE for text in texts.values()):
        yield "`motoko info --verbose` shows all"


def _beginning(text: str) -> str:
    """As much of a value as there is room for, ending between two of its parts."""
    if len(text) <= _LONGEST_VALUE:
        return text
    room = text[: _LONGEST_VALUE - 3]
    return f"{room.rpartition(' ')[0] or room} ..."


def still_running(workflow: Workflow, n_active: int) -> str:
    """After the orchestrator has ended: what goes on, and the commands to deal with it.

    Runs of other run names are among it, and whatever executes although no launcher is there.
    """
    where = shlex.quote(str(workflow.directory))
    running = []
    n_active = max(n_active, n_held(workflow))
    if n_active:
        running.append(words.counted(n_active, "run"))
    for name, owner in control.orchestrators(workflow).items():
        if owner.pid != os.getpid():
            running.append(f"the orchestrator of {name} (process {owner.pid})")
    for office in (control.launcher_office(workflow), control.server_office(workflow)):
        other = office.owner()
        if other is not None:
            running.append(f"{office.what} (process {other.pid})")
    if not running:
        return "nothing runs any more"
    nothing = f"still running: {', '.join(running)}; nothing of it is recorded any more"
    try:
        if not control.is_there(workflow):
            return f"{nothing}\n  end it    motoko kill --reset {where}"
        control.check_not_lost(workflow)
    except DatabaseLost:
        kept = "until its database is back: results wait in the run directories"
        steps = f"  stop it   motoko kill {where}\n  mend it   motoko repair {where}"
        return f"{nothing} {kept}\n{steps}"
    lines = [f"still running: {', '.join(running)}", f"  look      motoko info {where}"]
    if workflow.run_name:
        name = shlex.quote(workflow.run_name)
        lines.append(f"  go on     motoko run {where} --run_name {name}")
    if n_active or control.launcher_office(workflow).owner() is not None:
        lines.append(f"  stop      motoko kill {where}")
        lines.append(f"  stop all  motoko kill --reset {where}")  # what executes, too
    else:
        lines.append(f"  stop all  motoko kill {where}")
    return "\n".join(lines)
