"""What a run may take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from motoko.config import parse_walltime

log = logging.getLogger(__name__)


def walltime_s(row: Mapping[str, Any], default: float | None, title: str) -> float | None:
    """Seconds that a run may take; None without a limit."""
    given = row.get("walltime")
    if given is None:
        return default
    try:
        return parse_walltime(given)
    except ValueError as error:
        log.warning("run %s: walltime %r is ignored: expected %s", title, given, error)
        return default
