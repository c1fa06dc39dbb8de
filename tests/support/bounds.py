"""What intervals and bounds mean, one value and one run at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motoko.model.bounds import Bounds, Interval


def contains(interval: Interval, value: Any) -> bool:
    """Whether a value lies in it; one that cannot be compared with its ends does not."""
    if value is None:
        return False
    try:
        if interval.low is not None and (
            value < interval.low or (interval.low_open and value == interval.low)
        ):
            return False
        return interval.high is None or bool(
            value < interval.high or (not interval.high_open and value == interval.high)
        )
    except TypeError:
        return False


def admits(bounds: Bounds, run: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    """Whether a run and its job are within the bounds."""
    sets = ((bounds.state, "state"), (bounds.run_name, "run_name"))
    if any(extent is not None and run.get(name) not in extent for extent, name in sets):
        return False
    intervals = [(bounds.run_id, run.get("id")), (bounds.job_id, run.get("job_id"))]
    intervals += [(interval, job.get(name)) for name, interval in bounds.job.items()]
    return all(interval is None or contains(interval, v) for interval, v in intervals)
