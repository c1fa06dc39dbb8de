"""Quantities of runs: tables of values by step, read from the run directories.

Each quantity is a CSV file that the job side appends to; its last value is in the database
too. See `motoko.job.quantities` for the format.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.job.quantities import list_quantities, read_frame, side_by_side

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


def names(run_dir: Path) -> list[str]:
    """The quantities that a run directory has; none if it is not there."""
    return list_quantities(str(run_dir))


def read_several(run_dir: Path, names: Iterable[str], step: int | None = None) -> DataFrame:
    """Several quantities side by side, a row for each step that one of them has."""
    return side_by_side([read(run_dir, name, step) for name in names])
