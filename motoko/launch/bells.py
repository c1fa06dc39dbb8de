"""What job scripts leave when they begin and end, where no socket of the launcher is.

A directory beside the run directories: one question of its time of change tells of all jobs.
A bell is a hint and no more; what is true stands in the run directory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk

_NAME = ".motoko-bells"
#: A file made in the same tick of the clock as the last look may have been missed.
_TICK_S = 1.0


class Bells:
    """Calls back for every attempt that has left one."""

    def __init__(self, heard: Callable[[Desk, Attempt], None]) -> None:
        self._heard = heard
        self._changed: dict[Desk, int] = {}

    @staticmethod
    def path(runs_dir: Path, run_id: int, nonce: str) -> str:
        """What the files of an attempt begin with."""
        return str(runs_dir / _NAME / f"{run_id}-{nonce}")

    def listen(self, desk: Desk) -> None:
        """Make the place for those of a study."""
        if desk not in self._changed:
            with suppress(OSError):  # polling finds out the same
                (desk.study.runs_dir / _NAME).mkdir(parents=True, exist_ok=True)
            self._changed[desk] = 0

    def look(self, desk: Desk) -> None:
        """Hear those that were left since the last look."""
        place = desk.study.runs_dir / _NAME
        try:
            changed = os.stat(place).st_mtime_ns
            is_old = time.time() - changed / 1e9 > _TICK_S
            if changed == self._changed.get(desk) and is_old:
                return
            names = os.listdir(place)
        except OSError:
            return
        self._changed[desk] = changed
        heard: dict[int, Attempt] = {}
        for name in names:
            run_id, _, rest = name.partition("-")
            attempt = desk.held.get(int(run_id)) if run_id.isdecimal() else None
            if attempt is not None and rest.partition("-")[0] == attempt.nonce:
                heard[attempt.run_id] = attempt
            with suppress(OSError):
                (place / name).unlink()
        for attempt in heard.values():
            self._heard(desk, attempt)
