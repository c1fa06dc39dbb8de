"""The page about what survives the death of a process."""

from __future__ import annotations

from collections.abc import Mapping

from docs.generator.markdown import code, page, table
from motoko.crashpoints import POINTS, Point
from motoko.other_crashpoints import OTHER_POINTS


def durability_page() -> str:
    """The page, with the tables of crash points."""
    return page("durability.md", points=_table(POINTS), other_points=_table(OTHER_POINTS))


def _table(points: Mapping[str, Point]) -> str:
    rows = [
        [code(name), point.process, point.here, point.then] for name, point in points.items()
    ]
    return table(["point", "process", "when it dies there", "what comes of it"], rows)
