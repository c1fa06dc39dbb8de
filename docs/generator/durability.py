"""The page about what survives the death of a process."""

from __future__ import annotations

from docs.generator.markdown import code, page, table
from motoko.crashpoints import POINTS


def durability_page() -> str:
    """The page, with the table of crash points."""
    rows = [
        [code(name), point.process, point.here, point.then] for name, point in POINTS.items()
    ]
    headers = ["point", "process", "when it dies there", "what comes of it"]
    return page("durability.md", points=table(headers, rows))
