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

#: Pause between two looks of somebody who fails each time.
_LONGEST_PAUSE_S = 60.0

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
        #: Those that are to look at everything when they look next.
        self._behind: set[Watcher] = set()
        self._pause_s = PAUSE_S
        self._again: asyncio.TimerHandle | None = None
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
        self._behind.add(watcher)
        self._hear(Change())

        def stop() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
            self._behind.discard(watcher)
            if not self._watchers:
                self._release()

        return stop

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
            self._behind.update(self._watchers)
            self._look_in(PAUSE_S)
            return
        try:
            tables = self._snapshot.renew()
            changed = self._snapshot.changed_runs(change)
        except Exception as error:
            self._behind.update(self._watchers)
            self._come_back("a look", error)
            return
        for watcher in list(self._watchers):
            self._tell(watcher, tables, changed)
        if not self._behind:
            self._pause_s = PAUSE_S

    def _tell(self, watcher: Watcher, tables: Tables, changed: set[int] | None) -> None:
        """Show a watcher what has changed; one that fails is shown everything later."""
        if watcher not in self._watchers:  # stopped by one before it
            return
        is_behind = watcher in self._behind
        if changed is not None and not changed and not is_behind:
            return
        try:
            with self._database.newest():
                watcher(tables, None if is_behind else changed)
        except Exception as error:
            self._behind.add(watcher)
            self._come_back(
                f"whoever waits ({getattr(watcher, '__qualname__', watcher)})", error
            )
        else:
            self._behind.discard(watcher)

    def _come_back(self, what: str, error: Exception) -> None:
        """Look again for those that are behind; what does not just go by is said."""
        if isinstance(error, DatabaseUnavailable) and error.transient:
            log.debug("looking again in %s s: %s", PAUSE_S, error)
            self._look_in(PAUSE_S)
            return
        where = self._database.where
        log.error("%s at study %s failed; it is tried again", what, where, exc_info=error)
        self._look_in(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _look_in(self, pause_s: float) -> None:
        """Look again after a pause, or sooner if that is to be anyway: one look is for all."""
        due = self._loop.time() + pause_s
        if self._again is not None:
            if self._again.when() <= due:
                return
            self._again.cancel()
        self._again = self._loop.call_at(due, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._hear(Change())

    def _release(self) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        self._snapshot.close()
