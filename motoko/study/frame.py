"""A study's runs as a table for analysis, from the database alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.columns import HIDDEN, TIMES
from motoko.durable import replace_file
from motoko.store.tables import Tables
from motoko.study.system_dirs import placed

if TYPE_CHECKING:
    from pandas import DataFrame

#: Columns of the table itself, which are put first.
_KEYS = ("id", "job_id")
_MOST = 1 << 63


def frame(tables: Tables, run_ids: list[int], study_dir: Path) -> DataFrame:
    """One row a run of the study in a directory, indexed by run id.

    Columns: ``job_id``; job values; run entries (one that bears the name of a job value as
    ``run.<name>``), among them the state, times (UTC) and the number of attempts; the last
    value of each quantity. A quantity that bears a name already taken is ``quantity.<name>``.
    Whole numbers and truth values stay what they are where some runs have none: their columns
    are pandas' nullable ``Int64`` and ``boolean`` then. Text that is no UTF-8 has escapes
    in the place of what is none.
    """
    import pandas as pd

    rows = [_row(tables, run_id, study_dir) for run_id in run_ids]
    index = pd.Index(run_ids, name="run_id", dtype="int64")
    try:
        table = pd.DataFrame(rows, index=index)
    except UnicodeEncodeError:
        rows = [{name: _escaped(value) for name, value in row.items()} for row in rows]
        table = pd.DataFrame(rows, index=index)
    for name in map(str, table):
        values = [row.get(name) for row in rows]
        dtype = _nullable(values)
        if dtype is not None:
            table[name] = pd.array(values, dtype=dtype)
    for name in (*tables.schema.job, *tables.schema.run):
        if name not in table:
            table[name] = None  # declared, though no run has it yet
    for name in TIMES:
        if name in table:
            table[name] = pd.to_datetime(table[name], unit="s", utc=True)
    return table


def _nullable(values: list[Any]) -> str | None:
    """The type of a column that pandas would otherwise fill up with nan, as it takes it."""
    kinds = {type(value) for value in values}
    if type(None) not in kinds:
        return None
    if kinds == {type(None), bool}:
        return "boolean"
    fits = kinds == {type(None), int} and all(-_MOST <= v < _MOST for v in values if v)
    return "Int64" if fits else None


def _row(tables: Tables, run_id: int, study_dir: Path) -> dict[str, Any]:
    run = placed(tables.run(run_id), study_dir)
    job = tables.job(run["job_id"])
    row: dict[str, Any] = {"job_id": run["job_id"]}
    row.update((name, value) for name, value in job.items() if name != "id")
    for name, value in run.items():
        if name not in HIDDEN and name not in _KEYS:
            row[f"run.{name}" if name in row else name] = value
    for name, (_, value) in tables.quantities(run_id).items():
        row[f"quantity.{name}" if name in row else name] = value
    return row


def _escaped(value: Any) -> Any:
    is_text = isinstance(value, str)
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if is_text else value


def as_csv(table: DataFrame) -> bytes:
    """A table as CSV."""
    return bytes(table.to_csv().encode("utf-8", "backslashreplace"))


def write_csv(table: DataFrame, file: Path) -> None:
    """Write a table as CSV; the file is there complete, or as it was."""
    _put(file, as_csv(table))


def as_parquet(table: DataFrame) -> bytes:
    """A table as Parquet. Lists, mappings and values of several types are JSON there.

    ImportError without pyarrow.
    """
    plain = table.copy()
    for name in plain:
        values = plain[name]
        kinds = {type(value) for value in values if not _is_missing(value)}
        if values.dtype == object and kinds - {str}:
            plain[name] = [
                None if _is_missing(v) else json.dumps(v, default=str) for v in values
            ]
    return bytes(plain.to_parquet())


def write_parquet(table: DataFrame, file: Path) -> None:
    """Write a table as Parquet, as `as_parquet` has it; the file is there complete, or as it
    was."""
    _put(file, as_parquet(table))


def _put(file: Path, content: bytes) -> None:
    """Write a file in one step, where a link leads to; what is none, as a pipe or
    ``/dev/stdout``, is written to and stays what it is."""
    is_stream = file.absolute().parts[1] in ("dev", "proc")
    if is_stream or (file.exists() and not file.is_file()):
        with open(file, "wb") as opened:
            opened.write(content)
    else:
        replace_file(Path(os.path.realpath(file)), [content])


def _is_missing(value: Any) -> bool:
    """Whether there is no value, which pandas says as nan in a column of anything."""
    return value is None or (isinstance(value, float) and value != value)
