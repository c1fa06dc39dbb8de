"""How much room the runs of a study take, by state."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motoko.study.archive import archives_dir

if TYPE_CHECKING:
    from motoko.study.study import Study

#: Said in place of a state: directories that no run is known of, and packed ones.
UNKNOWN = "(no such run)"
PACKED = "(archives)"


@dataclass
class Usage:
    """Files and bytes of some runs; those without a directory count too."""

    n_runs: int = 0
    n_files: int = 0
    n_bytes: int = 0

    def add(self, n_files: int, n_bytes: int) -> None:
        """Count one more directory."""
        self.n_files += n_files
        self.n_bytes += n_bytes


def usage(study: Study) -> dict[str, Usage]:
    """Usage by state, and of archives. Links count as they are, and are not followed."""
    found: dict[str, Usage] = {}
    with study.database.read() as tables:
        states = {run_id: str(tables.run(run_id)["state"]) for run_id in tables.run_ids()}
    for state in states.values():
        found.setdefault(state, Usage()).n_runs += 1
    for run_id, directory in study.run_dirs().items():
        state = states.get(run_id, UNKNOWN)
        found.setdefault(state, Usage()).add(*_measured(str(directory)))
        if state == UNKNOWN:
            found[state].n_runs += 1
    packed = archives_dir(study)
    if packed.is_dir():
        found.setdefault(PACKED, Usage()).add(*_measured(str(packed)))
    return found


def _measured(directory: str) -> tuple[int, int]:
    """Files and bytes below a directory, without what vanishes while it is looked at: runs may
    be executing."""
    n_files = n_bytes = 0
    left = [directory]
    while left:
        with suppress(FileNotFoundError), os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                    continue
                with suppress(FileNotFoundError):
                    n_bytes += entry.stat(follow_symlinks=False).st_size
                    n_files += 1
    return n_files, n_bytes
