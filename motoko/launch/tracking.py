"""What is known of batch jobs: present, gone for certain, or unknown; and when to ask again.

Nothing is asked here, and the time is told from outside. A failed answer says nothing of any
job; one without a job says little of it: queues lag, and forget. A job is gone once that was
said several times and for long enough, longer for a job that was never seen, and longest if the
answers had no jobs at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from motoko.launch.batch_generator import JobStatus, Phase
from motoko.launch.whole_arrays import WholeArrays

_OF_ARRAY = re.compile(r"(\d+)[_\[]")


class Pace(NamedTuple):
    """How often a batch system is asked, and how long it is doubted."""

    least_s: float = 2.0
    most_s: float = 30.0
    #: So often, and for so long, it has to be said that a job is not there.
    n_confirm: int = 3
    confirm_s: float = 300.0
    unseen_s: float = 900.0
    #: How long the word of the system is waited for when a script has failed.
    word_s: float = 30.0
    #: How long an outcome may take to come, once the system says that a job has ended.
    record_s: float = 10.0
    #: How often it is looked for what scripts leave when they begin and end.
    bell_s: float = 0.1
    #: How long a command may take.
    command_s: float = 60.0


@dataclass
class Tracked:
    """One job that is looked after."""

    id: str
    name: str
    since: float
    status: JobStatus | None = None
    missing_since: float | None = None
    n_missing: int = 0
    n_empty: int = 0
    #: How often it was missing while others of its array waited.
    n_taken_out: int = 0
    asked_at: float = -math.inf
    is_cancelled: bool = False
    #: Whether an earlier launcher was told of it; and whether it has missed it, and this one
    #: has not yet.
    was_seen: bool = False
    is_recalled: bool = False
    #: When the first of its scripts began, of those that have ended.
    begun: float | None = None


class Tracker:
    """The jobs of one batch system, and the pace of asking for them."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.jobs: dict[str, Tracked] = {}
        self._arrays = WholeArrays()
        #: Names of jobs whose ids nobody knows, and since when and how often they were missing.
        self.sought: dict[str, Tracked] = {}
        self._interval_s = pace.least_s
        self._asked_at = -math.inf
        self._hurried = False
        #: Jobs in the queue, when last told, that had not ended: by what they are found, ids.
        self._alive: dict[str, set[str]] = {}
        #: When the last answer was asked for that has told of any job; how many there were.
        self.told_at = -math.inf
        self.n_answers = 0
        #: Since when it is not known what became of the jobs; None if that is known.
        self.unknown_since: float | None = None

    def track(self, job_id: str, name: str, now: float) -> None:
        """Look after a job."""
        self.jobs.setdefault(job_id, Tracked(job_id, name, now))
        self._interval_s = self._pace.least_s

    def seek(self, name: str, now: float) -> None:
        """Look for a job that may have been submitted, by its name."""
        self.sought.setdefault(name, Tracked("", name, now))
        self._interval_s = self._pace.least_s

    def drop(self, job_id: str) -> None:
        """Look after a job no longer."""
        self.jobs.pop(job_id, None)
        self._arrays.forget(job_id)

    def is_alive(self, job_id: str) -> None:
        """A job that was missing shows signs of life."""
        job = self.jobs[job_id]
        job.missing_since, job.n_missing, job.n_empty = None, 0, 0

    def hurry(self) -> None:
        """Something is due: ask as soon as the pace allows."""
        self._hurried = True

    def has_another(self, job_id: str) -> bool:
        """Whether another job is there that would be found by the same."""
        status = self.jobs[job_id].status
        key = self.jobs[job_id].name if status is None else status.key
        return bool(self._alive.get(key, set()) - {job_id})

    # when

    @property
    def due_at(self) -> float:
        """When to ask next; infinite if there is nothing to ask for."""
        if not self.jobs and not self.sought:
            return math.inf
        wait_s = self._pace.least_s if self._hurried else self._interval_s
        return self._asked_at + wait_s

    @property
    def was_asked(self) -> bool:
        """Whether there was an answer, or none, or nothing to ask for."""
        return self._asked_at > -math.inf or not (self.jobs or self.sought)

    # answers

    def failed(self, now: float) -> None:
        """There was no answer that could be read: all of it is unknown."""
        self._asked(now)
        self._unknown(now)
        self._interval_s = min(2 * self._interval_s, self._pace.most_s)

    def answered(
        self, statuses: Mapping[str, JobStatus], now: float, asked_at: float | None = None
    ) -> list[JobStatus]:
        """Take in an answer, to a question of a little earlier; what is new in it."""
        self._asked(now)
        statuses = {**self._arrays.together(self.jobs, statuses, is_queue=True), **statuses}
        is_empty = not statuses and bool(self.jobs)
        if is_empty:
            self._unknown(now)
        else:
            self.unknown_since = None
            self.told_at = now if asked_at is None else asked_at
            self.n_answers += 1
            self._alive = {}
            for one in statuses.values():
                if one.phase is not Phase.ENDED:
                    self._alive.setdefault(one.key, set()).add(one.id)
        news = []
        has_changed = False
        waiting = {(_array(s.id), s.name) for s in statuses.values() if _waits(s)}
        for job in self.jobs.values():
            status = statuses.get(job.id)
            if status is None or not _is_of(job, status):
                has_changed |= job.missing_since is None
                _miss(job, now, is_empty=is_empty)
                if taken_out := self._taken_out(job, waiting):
                    news.append(taken_out)
            elif _see(job, status):
                news.append(status)
        by_name = {status.key: status for status in statuses.values() if status.name}
        for name, job in self.sought.items():
            status = by_name.get(name)
            if status is None:
                _miss(job, now, is_empty=is_empty)
            else:
                job.status = status
        if has_changed or news:
            self._interval_s = self._pace.least_s
        else:
            self._interval_s = min(1.5 * self._interval_s, self._pace.most_s)
        return news

    def _taken_out(self, job: Tracked, waiting: Container[tuple[str, str]]) -> JobStatus | None:
        """What to say of a job that waited, and still does its array, without it.

        Somebody has cancelled it: Slurm takes such a job out of its array and forgets it.
        """
        status = job.status
        if status is None or not _waits(status):
            return None
        if (_array(job.id), status.name) not in waiting:
            job.n_taken_out = 0
            return None
        job.n_taken_out += 1
        if job.n_taken_out != self._pace.n_confirm:
            return None
        job.status = JobStatus(job.id, Phase.ENDED, "CANCELLED", status.name, is_cancelled=True)
        return job.status

    def accounted(self, statuses: Mapping[str, JobStatus]) -> list[JobStatus]:
        """Take in what the accounts say; what is new in that."""
        arrays = self._arrays.together(self.jobs, statuses, is_queue=False)
        found = ((self.jobs.get(s.id), s) for s in (*arrays.values(), *statuses.values()))
        return [s for job, s in found if job is not None and _is_of(job, s) and _see(job, s)]

    def to_account(self, now: float, most: int, also: Iterable[str] = ()) -> list[str]:
        """Jobs to look up in the accounts now: those that the queue does not have, and others
        that are asked for; who was asked for longest ago comes first."""
        wanted = {job.id for job in self.jobs.values() if job.missing_since is not None}
        wanted.update(job_id for job_id in also if job_id in self.jobs)
        ids = sorted(wanted, key=lambda job_id: self.jobs[job_id].asked_at)[:most]
        for job_id in ids:
            self.jobs[job_id].asked_at = now
        return ids

    # verdicts

    def gone(self, now: float) -> list[str]:
        """Jobs that are not there for certain, whatever became of them."""
        return [job.id for job in self.jobs.values() if self._is_gone(job, now)]

    def found(self) -> dict[str, JobStatus]:
        """Those that were looked for by name, and are there."""
        return {n: job.status for n, job in self.sought.items() if job.status is not None}

    def not_found(self, now: float) -> list[str]:
        """Names that no job has, for certain."""
        return [name for name, job in self.sought.items() if self._is_gone(job, now)]

    def _is_gone(self, job: Tracked, now: float) -> bool:
        if job.missing_since is None or job.is_recalled:
            return False
        pace, missing_s = self._pace, now - job.missing_since
        n_said = job.n_missing + job.n_empty
        if job.is_cancelled and n_said >= 2:
            return True
        if n_said < pace.n_confirm:
            return False
        has_been_seen = job.status is not None or job.was_seen or job.name in self.sought
        is_sure = job.n_missing >= pace.n_confirm and has_been_seen
        return missing_s >= (pace.confirm_s if is_sure else pace.unseen_s)

    def _asked(self, now: float) -> None:
        self._asked_at = now
        self._hurried = False

    def _unknown(self, now: float) -> None:
        if self.unknown_since is None:
            self.unknown_since = now


def _array(job_id: str) -> str:
    """The id of the array that a job belongs to; empty for one that belongs to none."""
    found = _OF_ARRAY.match(job_id)
    return found[1] if found is not None else ""


def _waits(status: JobStatus) -> bool:
    """Whether it is a job of an array that has not begun."""
    return status.phase is Phase.PENDING and bool(_array(status.id))


def _is_of(job: Tracked, status: JobStatus) -> bool:
    """Whether a status is of that job, and not of one that has got its number."""
    return not status.name or not job.name or status.name == job.name


def _miss(job: Tracked, now: float, *, is_empty: bool) -> None:
    job.is_recalled = False
    if job.missing_since is None:
        job.missing_since = now
    if is_empty:
        job.n_empty += 1
    else:
        job.n_missing += 1


def _see(job: Tracked, status: JobStatus) -> bool:
    """Note that it is there, or has ended; whether that is news."""
    before = job.status
    if before is not None and before.phase is Phase.ENDED and status.phase is not Phase.ENDED:
        return False  # an old answer
    job.missing_since, job.n_missing, job.n_empty, job.n_taken_out = None, 0, 0, 0
    job.status = status
    return status != before
