"""Watching a study from an event loop: each change is looked at once, for all who wait."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from motoko.errors import DatabaseUnavailable
from motoko.store.database import Database
from motoko.store.feed import Change
from motoko.store.patience import PAUSE_S
from motoko.store.snapshot import Snapshot
from motoko.store.tables import Tables

log = logging.getLogger(__name__)

#: Called in the loop's thread with a new snapshot and the runs that may have changed (None:
#: any of them). It reads and returns at once.
Watcher = Callable[[Tables, set[int] | None], None]


class Lookout:
    """Tells watchers of one event loop what changed in one study's database."""

    def __init__(self, database: Database[Tables]) -> None:
        """Belongs to the running event loop."""
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._watchers: list[Watcher] = []
        self._lock = threading.Lock()
        self._change = Change()
        self._is_scheduled = False
        self._snapshot = Snapshot(database)
        self._stop_listening: Callable[[], None] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop this belongs to."""
        return self._loop

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher`` at each change, and once soon; the result ends that."""
        self._watchers.append(watcher)
        if self._stop_listening is None:
            self._stop_listening = self._database.feed.listen(self._hear)
        self._loop.call_soon(self._first_look, watcher)

        def stop() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
            if not self._watchers:
                self._release()

        return stop

    def look_again(self) -> None:
        """Let all watchers look at everything, as if all had changed."""
        self._hear(Change(is_everything=True))

    def _hear(self, change: Change) -> None:
        """In any thread."""
        with self._lock:
            self._change.add(change)
            if self._is_scheduled:
                return
            self._is_scheduled = True
        try:
            self._loop.call_soon_threadsafe(self._look)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._is_scheduled = False

    def _look(self) -> None:
        with self._lock:
            change, self._change = self._change, Change()
            self._is_scheduled = False
        if not self._watchers:
            return
        if not self._database.is_connected:
            self._loop.call_later(PAUSE_S, self.look_again)
            return
        try:
            with self._database.translated():
                tables = self._snapshot.renew()
                changed = self._snapshot.changed_runs(change)
                for watcher in list(self._watchers):
                    watcher(tables, changed)
        except DatabaseUnavailable as error:
            log.debug("looking again in %s s: %s", PAUSE_S, error)
            self._loop.call_later(PAUSE_S, self.look_again)

    def _first_look(self, watcher: Watcher) -> None:
        if watcher not in self._watchers:
            return
        try:
            with self._database.translated():
                watcher(self._snapshot.renew(), None)
        except DatabaseUnavailable:
            self._loop.call_later(PAUSE_S, self.look_again)

    def _release(self) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        self._snapshot.close()
