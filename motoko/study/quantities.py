"""Quantities of runs: tables of values by step, read from the run directories.

Each quantity is a CSV file that the job side appends to; its last value is in the database
too. See `motoko.job.quantities` for the format.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from motoko.job.quantities import read_frame

if TYPE_CHECKING:
    from pandas import DataFrame


def inside(directory: Path, name: str) -> Path:
    """A path inside a directory; ValueError if the name leads out of it."""
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"{name!r} leads out of the run directory {directory}")
    return path


def read(run_dir: Path, name: str, step: int | None = None) -> DataFrame:
    """All rows of a quantity, or those of one step; the first column is ``step[int]``."""
    table: DataFrame = read_frame(str(run_dir), name, title=run_dir.name)
    if step is None:
        return table
    return table[table.iloc[:, 0] == step].reset_index(drop=True)
