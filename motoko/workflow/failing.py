"""Runs whose failure ends the workflow, because their policy says ``raise``."""

from __future__ import annotations

import shlex

from motoko.config.retry import RAISE
from motoko.errors import FailedRun, RunsFailed
from motoko.model import states
from motoko.model.policy import ENTRY
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.study.waiting import failed_run


class Failing:
    """The runs of one study and run name that ended so."""

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


def advise(error: BaseException, run_name: str | None) -> None:
    """Say with an error about failed runs what a user types to try these again."""
    if isinstance(error, RunsFailed) and run_name:
        command = f"motoko run --run_name {shlex.quote(run_name)} --retry-failed"
        error.add_note(f"try them again with `{command}`")
