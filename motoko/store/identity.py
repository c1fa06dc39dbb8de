"""What a stored run is the same task by, found from what the index of tasks has of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from motoko.columns import UNDECLARED
from motoko.store.codec import digest
from motoko.store.tables import Tables, TaskIdentity

#: The entry of a run that says which entries somebody has set from outside, and what they
#: were before (None: unset).
SET_BY_HAND = "set_by_hand"
#: Entries that say how far a run is, or what its files are.
_NO_VALUES = frozenset({"state", "files"})
#: Of more declared entries than this not all combinations are tried.
_MOST_NAMES = 12


def identity_of(tables: Tables, run_id: int, usual: Collection[str]) -> TaskIdentity:
    """Run name, cores, machine and the declared entries that a run was created with.

    A run has declared entries that it was given and others that its script has set; the index
    knows only a digest of the former. When values have changed since, and not by hand, those
    under ``usual`` names are taken.
    """
    row = tables.run(run_id)
    row = {k: v for k, v in {**row, **row.get(SET_BY_HAND, {})}.items() if v is not None}
    declared = sorted({*tables.schema.run, *UNDECLARED} & row.keys())
    low = row["job_id"].to_bytes(8, "big")
    for names in _subsets(declared):
        found = _identity(row, names)
        if tables.trees["tasks"].get(low + digest(list(found))) == run_id:
            later = tables.schema.later_for(run_id)
            undeclared = tables.trees["entries"]
            since = {n: row.get(n, v) if n in undeclared else v for n, v in later.items()}
            return found._replace(
                declared=tuple(sorted({**since, **dict(found.declared)}.items()))
            )
    return _identity(row, [name for name in declared if name in usual])


def remember_before(row: Mapping[str, Any], entries: Iterable[str]) -> dict[str, Any]:
    """The change of a run that tells `identity_of` that these entries are set by hand."""
    known = row.get(SET_BY_HAND, {})
    set_now = {n: row.get(n) for n in entries if n not in known and n not in _NO_VALUES}
    return {SET_BY_HAND: {**known, **set_now}} if set_now else {}


def _subsets(names: list[str]) -> Iterator[Collection[str]]:
    if len(names) <= _MOST_NAMES:
        for size in range(len(names) + 1):
            yield from combinations(names, size)


def _identity(row: Any, names: Collection[str]) -> TaskIdentity:
    return TaskIdentity(
        row["run_name"],
        row["nproc"],
        row.get("machine_name", ""),
        tuple((name, row[name]) for name in names),
    )
