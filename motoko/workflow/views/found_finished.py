"""Runs that were taken for finished, since files said so: nothing of them was executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motoko.model import states

if TYPE_CHECKING:
    from collections.abc import Collection

    from motoko.store.tables import Tables


class FoundFinished:
    """Those of one study and run name, from the first look on."""

    def __init__(self, run_name: str) -> None:
        self._run_name = run_name
        self._ids: set[int] = set()
        #: Runs that were not finished when they were looked at last.
        self._open: set[int] = set()
        #: The last run that there was then; None before the first look.
        self._last: int | None = None

    @property
    def ids(self) -> list[int]:
        """Which runs these are, ascending."""
        return sorted(self._ids)

    def look(self, tables: Tables, changed: Collection[int] | None) -> None:
        """Take over what changed; what was finished at the first look is none of them."""
        if self._last is None:
            self._open = _unfinished(tables, self._run_name)
        else:
            touched = self._open | self._ids if changed is None else changed
            for run_id in {*touched, *range(self._last + 1, tables.last_run_id + 1)}:
                self._look_at(tables, run_id, is_new=run_id > self._last)
        self._last = tables.last_run_id

    def _look_at(self, tables: Tables, run_id: int, *, is_new: bool) -> None:
        row = tables.run(run_id) if tables.has_run(run_id) else {}
        is_it = is_new or run_id in self._open or run_id in self._ids
        self._open.discard(run_id)
        self._ids.discard(run_id)
        if row.get("run_name") != self._run_name:
            return
        if row["state"] != states.FINISHED:
            self._open.add(run_id)
        elif is_it and _was_not_executed(tables, run_id):
            self._ids.add(run_id)


def _unfinished(tables: Tables, run_name: str) -> set[int]:
    counted = tables.groups.counted()
    others = {state for name, state, _ in counted if name == run_name} - {states.FINISHED}
    groups = tables.groups.chosen(frozenset({run_name}), frozenset(others))
    return {run_id for group in groups for run_id in tables.groups.members(group)}


def _was_not_executed(tables: Tables, run_id: int) -> bool:
    attempts = tables.attempts(run_id)
    return bool(attempts) and attempts[-1].get("executed") is False
