"""What was found out about files, which holds for as long as they are not changed.

It is kept in one JSON file, so that no process reads a file again that another has read. Who
writes it last has it: what others knew is found out again. It may be removed at any time.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from motoko.durable import locked, replace_file

#: The state of a file, as `os.stat` tells it.
State = list[int]


class Remembered:
    """Values by names of files, each with the state that its file had. Any thread may ask."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, list[Any]] | None = None
        self._has_news = False
        self._lock = threading.Lock()

    def get(self, name: str, state: State) -> Any:
        """What is known of a file in this state; None if nothing is."""
        last = self.last(name)
        return last[1] if last is not None and last[0] == state else None

    def last(self, name: str) -> tuple[State, Any] | None:
        """The state in which a file was seen last, and what it was found to have then."""
        with self._lock:
            entry = self._all().get(name)
        return (entry[:-1], entry[-1]) if isinstance(entry, list) and entry else None

    def put(self, name: str, state: State, value: Any) -> None:
        """Remember a value; on disk with the next `save`."""
        with self._lock:
            self._all()[name] = [*state, value]
            self._has_news = True

    def save(self, present: Collection[str] | None = None) -> None:
        """Have others know what was put since, as far as one may write there. Files that are
        not among the ``present`` ones are forgotten."""
        with self._lock:
            if not self._has_news:
                return
            self._has_news = False
            known = self._all()
            if present is not None:
                known = self._known = {n: e for n, e in known.items() if n in present}
            content = json.dumps(known).encode()
        lock = self._file.with_suffix(".lock")
        with suppress(OSError), locked(lock, 0.0):
            # What is lost with the power is found out again.
            replace_file(self._file, [content], is_forced=False)
            lock.unlink()

    def _all(self) -> dict[str, list[Any]]:
        if self._known is None:
            self._known = read_object(self._file)
        return self._known


def state_of(status: os.stat_result) -> State:
    """What is other in a file that was written to, or that took the place of another."""
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def read_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is none, or it cannot be read."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
