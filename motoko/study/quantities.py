"""Quantities of runs: tables of values by step, read from the run directories.

Each quantity is a CSV file that the job side appends to; its last value is in the database
too. See `motoko.job.quantities` for the format.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from motoko.errors import EntryNotFound

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
    import pandas as pd

    file = inside(run_dir, f"{name}.csv")
    if not file.is_file():
        known = sorted(p.stem for p in run_dir.glob("*.csv"))
        raise EntryNotFound(f"run directory {run_dir}", name, known)
    table = pd.read_csv(file)
    if step is None:
        return table
    return table[table.iloc[:, 0] == step].reset_index(drop=True)
