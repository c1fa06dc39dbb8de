"""Where runs that were imported executed: directories there, which are only read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from motoko.store.tables import Tables

#: The fact that a database was imported: from where, and which entry of its runs says it.
IMPORTED: Final = "imported_from"
_ENTRY: Final = "imported_from"
#: What the entry was called when the fact did not tell.
_FIRST_ENTRY: Final = "origin"


def free_entry(taken: Collection[str]) -> str:
    """A name for the entry that no run has for one of its own."""
    name = _ENTRY
    while name in taken:
        name += "_"
    return name


def origin_entry(tables: Tables) -> str | None:
    """The entry by which imported runs say where they executed; None in a database that was
    not imported: whatever a run has there is its user's."""
    fact = tables.fact(IMPORTED)
    return None if fact is None else str(fact.get("entry", _FIRST_ENTRY))


def origin_of(tables: Tables, row: Mapping[str, Any]) -> Path | None:
    """Where a run with these entries executed, if it was imported."""
    name = origin_entry(tables)
    place = None if name is None else row.get(name)
    return Path(place) if isinstance(place, str) else None
