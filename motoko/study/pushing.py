"""Quantities that are pushed to runs from outside of their scripts, as analyses do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.errors import SchemaError
from motoko.job.layout import quantity_file, run_file
from motoko.job.quantities import append, checked_rows, last_row, opened_file
from motoko.job.record import get_run
from motoko.store.session import current_session
from motoko.study.archive import archive_of

if TYPE_CHECKING:
    from motoko.study.study import Study


def push(
    study: Study, run_id: int, values: Any, step: Any, name: str, description: str | None
) -> None:
    """Append values of a quantity to its file in the directory of a run, and say in the
    database what was pushed last.

    SchemaError for what no quantity can be, and for a run in whose directory nothing may be
    written: it has none, is packed, or lies where it was imported from. Nor is anything written
    in a session, which may be gone through again.
    """
    if current_session() is not None:
        found = "a quantity is written at once, and what a session does may be done again"
        raise SchemaError(
            study.name, name, found, "push it in the script, or without a session"
        )
    study.database.connect()
    directory = _own_dir(study, run_id, name)
    if Path(run_file(directory)).exists():
        run, _ = get_run(str(directory))
        run.push_quantity(values, step, name, description)
    else:  # it was brought here with its directory, and has not been executed here
        _append(directory, study.name, values, step, name)
    last = last_row(quantity_file(directory, name))
    if last is not None:
        study.set_quantity(run_id, name, *last)


def _own_dir(study: Study, run_id: int, name: str) -> Path:
    directory = study.run_dir(run_id)
    if directory.is_dir():
        return directory
    packed = archive_of(study.run_row(run_id))
    if packed is not None:
        found = f"run {run_id} is packed in {packed}"
        allowed = "`motoko archive --unpack` brings its directory back"
    elif (place := study.files_dir(run_id)) != directory:
        found = f"run {run_id} lies in {place}, where it was imported from"
        allowed = "`motoko import --copy-runs` makes a study that has its directories"
    else:
        found = f"run {run_id} has no directory"
        allowed = "a run has one once it was launched"
    raise SchemaError(study.name, name, found, allowed)


def _append(directory: Path, study: str, values: Any, step: Any, name: str) -> None:
    table = checked_rows(values, step, name, study)
    if table:
        path = quantity_file(directory, name)
        opened_file(path, table, name, study)
        append(path, table)
