"""What became of runs that a command has changed, many at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.model import states

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.study.study import Study

RUNS_A_COMMIT = 1000


@dataclass
class Changes:
    """What became of the runs that were chosen."""

    #: Those that were changed.
    done: list[str] = field(default_factory=list)
    #: New runs by the runs that they are made from.
    made: dict[str, str] = field(default_factory=dict)
    #: Those whose script executes on, since no launcher is there to end it.
    going_on: list[str] = field(default_factory=list)
    #: Those that were put back and wait for a step of their pipeline, with their run names.
    awaiting: dict[str, str] = field(default_factory=dict)
    #: Those that were left as they are, and why.
    left: dict[str, str] = field(default_factory=dict)
    #: Those that are tried again with other files than the study has by now.
    outdated: list[str] = field(default_factory=list)
    backup: Path | None = None

    def note_waiting(self, name: str, row: Mapping[str, Any]) -> None:
        """Note of a run that it waits for a step, if it does."""
        if states.awaits_step(row):
            self.awaiting[name] = str(row["run_name"])

    def as_json(self) -> dict[str, Any]:
        """The documented keys of the commands that change runs."""
        backup = None if self.backup is None else str(self.backup)
        return {
            "runs": self.done,
            "made": self.made,
            "awaiting": list(self.awaiting),
            "left": self.left,
            "backup": backup,
        }


def in_batches(
    study: Study,
    ids: Sequence[int],
    change: Callable[[Tables, int, Changes], None],
    changes: Changes,
    most: int = RUNS_A_COMMIT,
) -> None:
    """Make a change of each of these runs, so many in a commit, and note what became of it."""
    for start in range(0, len(ids), most):
        some = ids[start : start + most]

        def write(tables: Tables, some: Sequence[int] = some) -> Changes:
            now = Changes()  # what an attempt that met a conflict had found does not count
            for run_id in some:
                change(tables, run_id, now)
            return now

        now = study.database.write(write)
        changes.done += now.done
        changes.made |= now.made
        changes.awaiting |= now.awaiting
        changes.going_on += now.going_on
        changes.left |= now.left
