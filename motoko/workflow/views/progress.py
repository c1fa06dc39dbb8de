"""How far the runs of one run name are, kept up to date by the studies' change feeds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from motoko.errors import MotokoError
from motoko.model import states
from motoko.workflow.executing import Unlisted
from motoko.workflow.holding import held_since
from motoko.workflow.views.found_finished import FoundFinished

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.workflow.workflow import Workflow

_RATE_OVER_S = 20.0
_WAITING = frozenset({states.CREATED, *states.ACTIVE})


class Progress:
    """Runs of each study by state, and how fast they go."""

    def __init__(self, workflow: Workflow, run_name: str) -> None:
        self.workflow = workflow
        self.run_name = run_name
        self._since = time.monotonic()
        self.counts: dict[str, dict[str, int]] = {n: {} for n in workflow.task_managers}
        #: What keeps the workflow from going on, in sentences.
        self.troubles: list[str] = []
        #: What each condition lacked when the workflow was stalled last.
        self.lacks: list[str] = []
        #: Studies of which no run is to begin.
        self.held: set[str] = set()
        self._done: dict[str, deque[tuple[float, int]]] = {n: deque() for n in self.counts}
        self._unlisted = {name: Unlisted(run_name) for name in self.counts}
        #: By study that declares files which say so.
        self._found_finished = {
            name: FoundFinished(run_name)
            for name, manager in workflow.task_managers.items()
            if manager.base.config.sentinels is not None
        }
        self._news: anyio.Event | None = None
        self._stalled_at: dict[str, dict[str, int]] | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the orchestrator was started."""
        return time.monotonic() - self._since

    @property
    def is_stalled(self) -> bool:
        """Whether nothing can happen any more by itself, and nothing has happened since."""
        stall = self.workflow.stall
        if stall is not None:
            self._stalled_at = dict(self.counts)
            self.lacks = stall.lacks
        return self._stalled_at == self.counts

    def n_done(self, study: str) -> int:
        """Runs that were executed, whatever came of it."""
        n_not_waiting = sum(n for s, n in self.counts[study].items() if s not in _WAITING)
        return n_not_waiting - len(self._unlisted[study])

    def n_runs(self, study: str) -> int:
        """All runs of a study."""
        return sum(self.counts[study].values())

    def n_failed(self) -> int:
        """Runs that failed, in all studies."""
        return sum(counts.get(states.FAILED, 0) for counts in self.counts.values())

    def n_active(self) -> int:
        """Runs that are being executed, in all studies."""
        listed = sum(counts.get(s, 0) for counts in self.counts.values() for s in states.ACTIVE)
        return listed + sum(map(len, self._unlisted.values()))

    @property
    def found_finished(self) -> dict[str, list[int]]:
        """By study: runs that were taken for finished since its files said so, as long as this
        is watching, if there are any."""
        found = {name: some.ids for name, some in self._found_finished.items()}
        return {name: ids for name, ids in found.items() if ids}

    def rate(self, study: str) -> float:
        """Runs done a second, lately."""
        now, samples = time.time(), self._done[study]
        samples.append((now, self.n_done(study)))
        while len(samples) > 2 and samples[1][0] < now - _RATE_OVER_S:
            samples.popleft()
        (then, before), (_, after) = samples[0], samples[-1]
        return (after - before) / (now - then) if now > then else 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow the databases for the time of the block, in the running loop."""
        self._news = anyio.Event()
        stops = [
            manager.base.lookout.watch(self._looker(name))
            for name, manager in self.workflow.task_managers.items()
        ]
        try:
            yield
        finally:
            for stop in stops:
                stop()

    def _looker(self, study: str) -> Callable[[Tables, set[int] | None], None]:
        def look(tables: Tables, changed: set[int] | None) -> None:
            self._take(study, tables, changed)

        return look

    def _take(self, study: str, tables: Tables, changed: set[int] | None) -> None:
        self._unlisted[study].look(tables, changed)
        if study in self._found_finished:
            self._found_finished[study].look(tables, changed)
        counts = {s: n for s, n in tables.counts(self.run_name).items() if n}
        is_held = held_since(tables) is not None
        if counts != self.counts[study] or is_held != (study in self.held):
            self.counts[study] = counts
            (self.held.add if is_held else self.held.discard)(study)
            self.notice()

    def take_troubles(self, troubles: list[str]) -> None:
        """What keeps the workflow from going on has changed."""
        self.troubles = troubles
        self.notice()

    def notice(self) -> None:
        """There is something new to show."""
        if self._news is not None:
            self._news.set()

    async def wait(self, at_most_s: float) -> None:
        """Wait for something new to show, or for the time to pass."""
        assert self._news is not None
        with anyio.move_on_after(at_most_s):
            await self._news.wait()
        self._news = anyio.Event()

    def read_again(self) -> None:
        """Look at the databases themselves; what cannot be read stays as it was."""
        for study, manager in self.workflow.task_managers.items():
            with suppress(MotokoError), manager.base.database.read() as tables:
                self._take(study, tables, None)
