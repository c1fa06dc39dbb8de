"""For how long runs have executed, whatever was done to the clock meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from motoko.job.token import read_token
from motoko.model import states

if TYPE_CHECKING:
    from motoko.study.study import Study


def age_s(study: Study, row: Mapping[str, Any], began: float) -> float:
    """For how long the attempt of a run goes on: what its token says, else times of day."""
    known = None
    with suppress(OSError):
        taken = read_token(study.run_dir(row["id"]), row.get("attempt", 0))
        if taken is not None and taken.nonce == row.get("nonce"):
            known = taken.age_s
    return max(0.0, time.time() - began) if known is None else known


def elapsed_s(
    study: Study, row: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]
) -> float | None:
    """How long a run took, or has taken until now; None before its start."""
    start, end = row.get("start_time"), row.get("end_time")
    if start is None:
        return None
    if end is None:
        return age_s(study, row, start) if row["state"] in states.ACTIVE else None
    for attempt in attempts:
        if attempt["number"] == row.get("attempt") and "took_s" in attempt:
            return float(attempt["took_s"])
    return max(0.0, float(end - start))
