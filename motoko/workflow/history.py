"""The firings of a run name: which to resume, which not to repeat."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

from motoko.store.firing import Firing, restored
from motoko.workflow.actions import Action
from motoko.workflow.triggers import Trigger

if TYPE_CHECKING:
    from motoko.store.database import WorkflowDatabase
    from motoko.store.ledger import Ledger
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)


def record_end(database: WorkflowDatabase, run_name: str) -> None:
    """Record the end of a run name that an orchestrator has said before it died, if one did:
    what is put back from now on is no part of that, and begins the run name again."""

    def record(ledger: Ledger) -> None:
        if (ledger.run_name(run_name) or {}).get("said_end") is None:
            return
        now = time.time()
        for key, known in ledger.open_firings(run_name).items():
            ledger.set_firing(key, {**known, "ended": now})
        ledger.set_run_name(run_name, finished=now, ended=now, error=None, said_end=None)

    database.write(record)


class History:
    """What the workflow's database says of the firings of one run name."""

    def __init__(self, workflow: Workflow) -> None:
        """Reads nothing yet; see `open`."""
        self._ledger = workflow.vars.db
        self._run_name = workflow.run_name or ""
        #: Whether the run name was finished once, and begun again after that.
        self.was_finished = False
        self._began = 0.0
        self._interrupted: dict[tuple[str, str], list[Firing]] = defaultdict(list)
        #: Keys of firings that nobody has taken up.
        self._unclaimed: set[str] = set()
        #: By action, call and study: runs that it is not called for again; 0 for no runs.
        self._fired: dict[tuple[str, str, str, str | None], set[int]] = {}

    def open(self) -> None:
        """Look for what earlier orchestrators have done: firings begun and not ended."""
        with self._ledger.read() as ledger:
            records = ledger.open_firings(self._run_name)
            facts = ledger.run_name(self._run_name) or {}
        self.was_finished = bool(facts.get("finished_before"))
        self._began = facts.get("began", 0.0)
        for key, record in records.items():
            firing = restored(self._ledger, key, record)
            self._interrupted[firing.task, firing.event].append(firing)

    def begin(self, action: Action, trigger: Trigger) -> Firing:
        """A new firing."""
        return Firing(
            self._ledger,
            self._run_name,
            action.event_name,
            action.task,
            trigger.task,
            trigger.run_ids,
            is_once=action.is_once,
            call=action.call,
            not_before=self._began,
        )

    def interrupted(self, action: Action) -> Iterator[tuple[Trigger, Firing]]:
        """The firings of an action that are to be resumed; each is given one time."""
        key = (action.task, action.event_name)
        found = self._interrupted.pop(key, [])
        others = [firing for firing in found if firing.call not in ("", action.call)]
        if others:  # it was called with something else
            self._interrupted[key] = others
        for firing in (one for one in found if one.call in ("", action.call)):
            yield Trigger(firing.study, firing.run_ids), firing

    def not_fired(self, action: Action, trigger: Trigger) -> Trigger | None:
        """What is left of a trigger when runs do not get into a second firing."""
        if not action.is_once:
            return trigger
        fired = self._fired_runs(action, trigger.task)
        if trigger.task is None:
            return None if fired else trigger
        ids = tuple(i for i in trigger.run_ids if i not in fired)
        return Trigger(trigger.task, ids) if ids else None

    def say_unclaimed(self, registered: Container[tuple[str, str]]) -> None:
        """Say which interrupted firings are of actions that are not registered any more; those
        of the others were not taken up because the workflow was finished before."""
        unclaimed = {k: found for k, found in self._interrupted.items() if k not in registered}
        for (task, event), firings in unclaimed.items():
            ids = sorted({run_id for firing in firings for run_id in firing.run_ids})
            log.warning(
                "%s@%s was interrupted while it was called for %s, and nobody registers it now",
                event,
                task,
                f"runs {', '.join(map(str, ids))}" if ids else "the workflow",
            )
        self._unclaimed = {f.key for firings in unclaimed.values() for f in firings}

    def note_end(self, action: Action, firing: Firing) -> None:
        """A firing has come to its end: its runs are not given to one that fires once again."""
        if action.is_once and not firing.is_void:
            self._fired_runs(action, firing.study).update(firing.run_ids or [0])

    def note_failure(self, action: Action, firing: Firing) -> None:
        """A firing came to nothing: the records may not count it any more."""
        self._fired.pop((action.task, action.event_name, action.call, firing.study), None)

    def close(self) -> None:
        """The workflow is finished: what was cancelled by that is not resumed."""
        with self._ledger.read() as ledger:
            if not ledger.open_firings(self._run_name):
                return
        now = time.time()

        def end_all(ledger: Ledger) -> None:
            for key, record in ledger.open_firings(self._run_name).items():
                if key not in self._unclaimed:
                    ledger.set_firing(key, {**record, "ended": now})

        self._ledger.write(end_all)

    def _fired_runs(self, action: Action, study: str | None) -> set[int]:
        key = (action.task, action.event_name, action.call, study)
        if key not in self._fired:
            with self._ledger.read() as ledger:
                self._fired[key] = ledger.fired_runs(
                    self._run_name, action.event_name, action.task, study, action.call
                )
        return self._fired[key]
