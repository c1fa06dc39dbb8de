"""A run name that was finished and is begun again: it does not end before what was put back is
done, though what finished it is still true."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from motoko.launch.work import open_runs
from motoko.model import states
from motoko.store.tables import Tables
from motoko.workflow.actions import Action
from motoko.workflow.triggers import Trigger

if TYPE_CHECKING:
    from motoko.store.session import Session
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


class Reopening:
    """The runs that are to be done first, and who has said meanwhile that all is finished.

    The end that an action has said is forgotten: when the runs are done, the action is called
    again, if its condition is true then. That of ``main`` is kept for that time.
    """

    def __init__(self, workflow: Workflow) -> None:
        """Reads nothing yet; see `open`."""
        self._workflow = workflow
        #: Whether an end may have to wait.
        self.is_pending = False
        #: By study, the last first.
        self._ids: dict[Study, list[int]] = {}
        #: Who has said that all is finished, and has not been told from ``main``.
        self._said: set[Session | None] = set()
        #: By action and study: runs whose firing has said so; 0 for no runs.
        self._held: dict[tuple[str, str, str | None], set[int]] = {}

    def open(self) -> None:
        """Look for the runs that wait or execute at the begin."""
        for manager in self._workflow.task_managers.values():
            study = manager.base
            with study.database.read() as tables:
                listed = {i for state in _UNDONE for i in tables.in_state(state)}
                listed.update(open_runs(tables))
                name = self._workflow.run_name
                found = [i for i in listed if tables.run(i)["run_name"] == name]
            if found:
                self._ids[study] = sorted(found, reverse=True)
                self.is_pending = True

    def has_left(self, *, have_steps: bool) -> bool:
        """Whether some of the runs still wait or execute; those that wait for a step of a
        pipeline only if that may still begin."""
        is_undone = _is_undone if have_steps else _is_under_way
        return any(
            study.session.read(study.database, partial(_has_any, ids, is_undone))
            for study, ids in self._ids.items()
        )

    def put_off(self, session: Session | None) -> None:
        """Who says that all is finished is told that it has to wait."""
        self._said.add(session)
        log.info("the end that was said now waits until the runs are done that were put back")

    def take_back(self) -> None:
        """Nothing is finished any more, whoever has said so."""
        self._said.clear()

    def hold(self, session: Session | None, action: Action, trigger: Trigger) -> None:
        """A firing is over; if it has said so, its action is not called for that now."""
        if session is not None and session in self._said:
            self._said.discard(session)
            self._held.setdefault(_key(action, trigger), set()).update(trigger.run_ids or [0])

    def left_of(self, action: Action, trigger: Trigger) -> Trigger | None:
        """What is left of a trigger without the runs that are held."""
        held = self._held.get(_key(action, trigger))
        if not held:
            return trigger
        ids = tuple(i for i in trigger.run_ids if i not in held)
        return Trigger(trigger.task, ids) if ids else None

    def is_due(self, *, have_steps: bool) -> bool:
        """Whether the runs are done now, as `has_left` has it."""
        if not self.is_pending:
            return False
        for study, ids in self._ids.items():
            with study.database.newest():
                while ids and not _is_undone(study.tables, ids[-1]):
                    ids.pop()
        return not self.has_left(have_steps=have_steps)

    def release(self) -> None:
        """Put off nothing any more."""
        self.is_pending = False
        self._held.clear()
        if self._said:
            self._workflow.finished = True


_UNDONE = (states.CREATED, *states.ACTIVE)


def _has_any(ids: Sequence[int], is_one: Callable[[Tables, int], bool], tables: Tables) -> bool:
    return any(is_one(tables, run_id) for run_id in reversed(ids))


def _is_undone(tables: Tables, run_id: int) -> bool:
    if not tables.has_run(run_id):
        return False
    row = tables.run(run_id)
    return row["state"] in _UNDONE or states.is_open(row)


def _is_under_way(tables: Tables, run_id: int) -> bool:
    return _is_undone(tables, run_id) and not states.awaits_step(tables.run(run_id))


def _key(action: Action, trigger: Trigger) -> tuple[str, str, str | None]:
    return action.task, action.event_name, trigger.task
