"""Since when a batch system does not know a job, kept with its run: launchers come and go, by
cron each for a moment, and none of them alone would ever be sure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from motoko.host import boot_clock, boot_id
from motoko.launch.attempt import Attempt
from motoko.launch.in_hand import InHand
from motoko.launch.tracking import Tracked, Tracker


def keep_absences(tracker: Tracker, in_hand: InHand, most: int) -> None:
    """Record with the runs which jobs are missing; it is counted up to ``most`` answers."""
    found = [(job, in_hand.of(job_id)) for job_id, job in tracker.jobs.items()]
    found += [(job, in_hand.sought(key)) for key, job in tracker.sought.items()]
    for job, held in found:
        for desk, attempt in held:
            missing = None
            if job.missing_since is not None:
                n_missing, n_empty = min(job.n_missing, most), min(job.n_empty, most)
                since = attempt.batch.get("missing") or _now()
                missing = {**since, "n_missing": n_missing, "n_empty": n_empty}
            attempt.hear_of_job(missing=missing)
            desk.note(attempt, is_urgent=False)


def recall_absence(attempt: Attempt, job: Tracked, now: float) -> None:
    """Count on from when an earlier launcher missed the job of an attempt; ``now`` is on the
    clock of this one."""
    told = attempt.batch.get("missing")
    if told is not None:
        job.missing_since = now - _age_s(told)
        job.n_missing, job.n_empty = told["n_missing"], told["n_empty"]
        job.was_seen, job.is_recalled = "state" in attempt.batch, True


def _now() -> dict[str, Any]:
    return {"boot": boot_id(), "clock": boot_clock(), "time": time.time()}


def _age_s(told: Mapping[str, Any]) -> float:
    """How long ago that was. The clock of this boot tells, which nobody sets; after another
    one, or on another host, the time of day."""
    if told["boot"] == boot_id():
        return max(0.0, boot_clock() - float(told["clock"]))
    return max(0.0, time.time() - float(told["time"]))
