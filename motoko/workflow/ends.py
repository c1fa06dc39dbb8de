"""How a workflow ends, or comes to a halt."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motoko.config.retry import RAISE
from motoko.errors import ActionFailed, FailedRun, MotokoError, RunsFailed
from motoko.model import states
from motoko.model.policy import ENTRY
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.study.waiting import DELETED, failed_run
from motoko.workflow.triggers import Trigger

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

#: Of more runs a command is given what they have in common.
_MOST_NAMED = 10


@dataclass(frozen=True)
class End:
    """Why a workflow ended: an exception, an exit code, or because it was finished."""

    error: BaseException | None = None
    exit_code: int | str | None = None
    #: Whether another process goes on with it, which then handles errors too.
    is_lost: bool = False


@dataclass(frozen=True)
class Stall:
    """Since when nothing can happen any more by itself, and what each condition lacks."""

    since: float
    #: How much was known of each database's changes.
    versions: tuple[int, ...]
    lacks: list[str]


def failure(event: str, task: str | None, error: BaseException) -> BaseException:
    """What a workflow ends with when a function that it called has raised this."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a task group of the user's
    if isinstance(error, MotokoError):
        return error
    failed = ActionFailed(event, task, error)
    failed.__cause__ = error
    return failed


def runs_failed(workflow: Workflow, trigger: Trigger) -> RunsFailed:
    """The error that an error handler, called for these runs, ends a workflow with."""
    if trigger.task is None:
        return RunsFailed([])
    study = workflow.task_manager(trigger.task).base
    ids = trigger.run_ids
    return RunsFailed(study.ask(lambda tables: [failed_run(study, tables, i) for i in ids]))


class Failing:
    """Runs of one study and run name whose failure ends the workflow, as their policy says."""

    def __init__(self, study: Study, run_name: str | None) -> None:
        self._study = study
        self._run_name = run_name

    def found(self, tables: Tables, changed: set[int] | None) -> list[FailedRun]:
        """All of them, if there is one among those that changed."""
        if self._study.config.policy.last != RAISE and ENTRY not in tables.entries:
            return []
        if changed is not None and not any(self._is_one(tables, i) for i in changed):
            return []
        return [
            failed_run(self._study, tables, run_id)
            for run_id in tables.in_state(states.FAILED)
            if self._is_one(tables, run_id)
        ]

    def _is_one(self, tables: Tables, run_id: int) -> bool:
        if not tables.has_run(run_id):
            return False
        row = tables.run(run_id)
        is_ours = row["state"] == states.FAILED and row["run_name"] == self._run_name
        if not is_ours or row.get("has_finished"):
            return False
        return self._study.policy_of(row).last == RAISE


def watched(workflow: Workflow, stop: Callable[[End], None]) -> list[Callable[[], None]]:
    """Stop the workflow when such a run fails in any study; the results end that."""

    def looker(study: Study) -> Callable[[Tables, set[int] | None], None]:
        failing = Failing(study, workflow.run_name)

        def look(tables: Tables, changed: set[int] | None) -> None:
            if failed := failing.found(tables, changed):
                stop(End(error=RunsFailed(failed)))

        return look

    studies = [manager.base for manager in workflow.task_managers.values()]
    return [study.lookout.watch(looker(study)) for study in studies]


def advised(error: BaseException, run_name: str | None) -> BaseException:
    """The error; one about failed runs says what a user types to try these again."""
    if not isinstance(error, RunsFailed) or not run_name:
        return error
    command = f"motoko run --run_name {shlex.quote(run_name)}"
    cancelled = [one for one in error.failed if one.state == states.CANCELLED]
    n_left = sum(one.state in (states.CANCELLED, DELETED) for one in error.failed)
    if n_left < len(error.failed) or not error.failed:
        error.add_note(f"try them again with `{command} --retry-failed`")
    if cancelled:
        retry = shlex.join(["motoko", "runs", "retry", *_named(cancelled, run_name)])
        error.add_note(f"try what was cancelled again with `{retry}`, then `{command}`")
    return error


def _named(runs: Sequence[FailedRun], run_name: str) -> list[str]:
    """The arguments by which commands mean these cancelled runs."""
    if len(runs) <= _MOST_NAMED:
        return [f"{one.study}.{one.run_id}" for one in runs]
    constraints = (f"state = {states.CANCELLED}", f"run_name = {run_name!r}")
    studies = dict.fromkeys(one.study for one in runs)
    return [word for study in studies for word in (study, *constraints)]
