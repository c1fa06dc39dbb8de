"""What one commit of the launcher does to a study: records written, runs claimed.

It runs in a thread, may be run again after a conflict or a lost answer, and touches nothing
but the tables.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from motoko.config.policy import USUAL, FailurePolicy
from motoko.config.retry import SUBMISSION, WALLTIME
from motoko.errors import AlreadyRunning, JobNotFound
from motoko.host import boot_clock, boot_id
from motoko.launch.executing import Inherited
from motoko.launch.failure import is_lost
from motoko.launch.record import Record, set_results_aside
from motoko.model import policy, states
from motoko.store.claim import is_later, standing_fact
from motoko.store.database import Database, Write
from motoko.store.tables import Tables

#: The fact by which launchers of one study know who is in charge.
EPOCH = "launcher_epoch"
#: So many runs more than needed are looked at, since some may wait for their next attempt.
_FEW = 16
#: The fact that no run of a study is to begin, and since when.
HELD = "held_since"
#: The fact with limits that stand above those of the files, by name; those of the whole
#: workflow begin with ``workflow.``.
LIMITS = "limits"


class Claim(NamedTuple):
    """A run that is in the launcher's hands now, as the database has it."""

    row: Mapping[str, Any]
    job: Mapping[str, Any]
    #: What is recorded of this attempt already.
    known: Mapping[str, Any]
    #: What makes the run's task together with its job.
    task: bytes = b""
    #: What is recorded of the attempt before it.
    before: Mapping[str, Any] | None = None
    #: The nonces of all attempts before it, as far as they are known.
    earlier: Collection[str] = ()


@dataclass
class Done:
    """What a commit brought to light."""

    generation: str = ""
    #: Whether no run is to begin.
    is_held: bool = False
    #: What stands above the limits of the files.
    limits: Mapping[str, int] = field(default_factory=dict)
    #: Runs that were CREATED and are SUBMITTED now.
    claimed: list[Claim] = field(default_factory=list)
    #: Whether there may be more of them.
    has_more: bool = False
    #: Runs that are CREATED and not claimed, since an attempt of theirs is still held here.
    passed_over: set[int] = field(default_factory=set)
    #: Runs that somebody is executing, or was, and that nobody here holds.
    found: list[Claim] = field(default_factory=list)
    #: Those among them that cannot be looked after, and why.
    out_of_reach: dict[int, str] = field(default_factory=dict)
    #: Runs that were CREATED, that nobody can execute, and why: they are FAILED now.
    refused: dict[int, str] = field(default_factory=dict)
    #: Runs whose last attempt was given up as lost.
    given_up: list[Claim] = field(default_factory=list)
    #: Runs that wait for their next attempt, and until when on the clock of this boot.
    delayed: dict[int, float] = field(default_factory=dict)
    #: Records of attempts whose runs are tried again.
    retried: list[Record] = field(default_factory=list)
    #: Held runs that somebody else has changed; None for one that was deleted.
    changed: dict[int, Mapping[str, Any] | None] = field(default_factory=dict)
    #: Held runs as they are stored now.
    stored: dict[int, bytes] = field(default_factory=dict)
    #: Those of the inherited attempts that were told to end, and were recorded to have.
    left: list[Inherited] = field(default_factory=list)
    #: Manifests that were not known.
    manifests: dict[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(eq=False)
class Work:
    """What a commit is to do."""

    epoch: str
    records: Sequence[Record]
    #: Runs in this launcher's hands, as they were stored when last seen.
    held: Mapping[int, bytes]
    n_claims: int
    known_manifests: Collection[str]
    #: Runs that are known to wait for their next attempt.
    delayed: Collection[int] = ()
    #: How long one waits at most; more than that, and the clock was changed.
    policy: FailurePolicy = USUAL
    #: The attempts that left processes on this host.
    inherited: Collection[Inherited] = ()
    is_first: bool = False
    is_search: bool = False
    #: The runs that may begin; None for all.
    only: Container[int] | None = None
    _write: Write[Tables, Done] | None = field(default=None, init=False, repr=False)

    def commit(self, database: Database[Tables]) -> Done:
        """Do it, as a commit of its own.

        DatabaseUnavailable when nobody knows whether that took place: then this may be called
        again, which finds it out, and does it if it did not.
        """
        if self._write is None:
            self._write = Write(database, self.apply)
        return self._write()

    def apply(self, tables: Tables) -> Done:
        """Do it; AlreadyRunning when another launcher has taken the study over."""
        owner = standing_fact(tables, EPOCH)
        if owner != self.epoch:
            if owner is not None and (not self.is_first or is_later(owner, self.epoch)):
                raise AlreadyRunning(f"a launcher of study {tables.study!r}", f"epoch {owner}")
            tables.set_fact(EPOCH, self.epoch)
        is_held = tables.fact(HELD) is not None
        limits = tables.fact(LIMITS) or {}
        done = Done(generation=str(tables.fact("generation")), is_held=is_held, limits=limits)
        for run_id, stored in self.held.items():
            if not tables.has_run(run_id):
                done.changed[run_id] = None
            elif tables.raw_run(run_id) != stored:
                done.changed[run_id] = tables.run(run_id)
        done.retried = [record for record in self.records if record.apply(tables)]
        done.passed_over.update(record.run_id for record in done.retried)
        if self.is_search:
            self._search(tables, done)
        if self.is_first:
            lost = (
                run_id for run_id in given_up(tables) if _without_job(tables, run_id) is None
            )
            done.given_up = [self._claim(tables, run_id, done) for run_id in lost]
        done.left = [one for one in self.inherited if _was_told_to_end(tables, one)]
        if self.n_claims > 0 and not is_held:
            self._claim_created(tables, done)
        held = (*self.held, *(c.row["id"] for c in (*done.claimed, *done.found)))
        done.stored = {r: tables.raw_run(r) for r in held if tables.has_run(r)}
        return done

    def _search(self, tables: Tables, done: Done) -> None:
        ended = ended_by_hand(tables, self.inherited) if self.is_first else ()
        for run_id in (*open_runs(tables), *ended):
            if run_id in self.held:
                continue
            why = _without_job(tables, run_id)
            if why is None:
                done.found.append(self._claim(tables, run_id, done))
            else:
                done.out_of_reach[run_id] = why

    def _claim_created(self, tables: Tables, done: Done) -> None:
        # Runs that are still held here come again when their old attempt is over.
        most = self.n_claims + len(self.held) + 2 * len(self.delayed) + _FEW
        if self.only is None:
            created = tables.ready(most)
        else:
            chosen = (r for r in tables.all_ready() if r in self.only)
            created = sorted(islice(chosen, most))
        done.has_more = len(created) == most
        for run_id in created:
            if run_id in self.held:
                done.passed_over.add(run_id)
                continue
            if run_id in self.delayed:
                continue
            if len(done.claimed) == self.n_claims:
                done.has_more = True
                break
            row = tables.run(run_id)
            number = row.get("attempt", 0) + 1
            left_s = self._retry_left_s(tables, run_id, row) if number > 1 else 0.0
            if left_s > 0:
                done.delayed[run_id] = boot_clock() + left_s
                continue
            if number > 1:
                set_results_aside(tables, run_id, number - 1)
            nonce = secrets.token_hex(8)
            why = _without_job(tables, run_id)
            if why is not None:
                done.refused[run_id] = why
                _refuse(tables, run_id, number, nonce, why)
                continue
            changes = {"state": states.SUBMITTED, "attempt": number, "nonce": nonce}
            tables.update_run(run_id, changes)
            done.claimed.append(self._claim(tables, run_id, done, row.get("nonce")))

    def _retry_left_s(self, tables: Tables, run_id: int, row: Mapping[str, Any]) -> float:
        again = policy.of_run(row, self.policy).again
        return retry_left_s(tables.attempts(run_id), again.longest_pause_s)

    def _claim(
        self, tables: Tables, run_id: int, done: Done, last_nonce: str | None = None
    ) -> Claim:
        """``last_nonce`` is that of an attempt which may not be recorded."""
        row = dict(tables.run(run_id))
        key = row.get("files")
        if key is not None and key not in self.known_manifests and key not in done.manifests:
            manifest = tables.manifest(key)
            if manifest is not None:
                done.manifests[key] = manifest
        known: Mapping[str, Any] = {}
        before: Mapping[str, Any] | None = None
        number, earlier = row["attempt"], {last_nonce or ""}
        is_new = not self.is_search and row["state"] == states.SUBMITTED
        if not is_new or number > 1:
            for attempt in tables.attempts(run_id):
                if attempt["number"] == number:
                    known = attempt
                elif attempt["number"] == number - 1:
                    before = attempt
                if attempt["number"] < number:
                    earlier.add(str(attempt.get("nonce") or ""))
        job, mark = tables.job(row["job_id"]), tables.task_mark(run_id)
        return Claim(row, job, known, mark, before, frozenset(earlier - {""}))


def _without_job(tables: Tables, run_id: int) -> str | None:
    """That the job of a run is not there, if it is not."""
    job_id = tables.run(run_id)["job_id"]
    return None if tables.has_job(job_id) else str(JobNotFound(tables.study, job_id))


def _refuse(tables: Tables, run_id: int, number: int, nonce: str, why: str) -> None:
    end = {"nonce": nonce, "state": states.FAILED, "end_time": time.time()}
    tables.set_attempt(run_id, number, {**end, "class": SUBMISSION, "cause": why})
    tables.update_run(run_id, {**end, "attempt": number})


def _was_told_to_end(tables: Tables, one: Inherited) -> bool:
    known = next((a for a in tables.attempts(one.run_id) if a["number"] == one.number), {})
    if one.nonce not in ("", known.get("nonce")):
        return False  # of a run that another database has under this id
    is_told = known.get("state") == states.CANCELLED or known.get("class") == WALLTIME
    return is_told and "end_time" in known


def retry_left_s(attempts: Sequence[Mapping[str, Any]], most_s: float) -> float:
    """How long a run still waits for its next attempt; 0 if it does not.

    Told by the clock of this boot, which nobody sets. Only when the system was started anew
    since then, the time of day decides; more than ``most_s`` of that is the clock's fault.
    """
    last = attempts[-1] if attempts else {}
    due = last.get("retry_due")
    if due is not None and due["boot"] == boot_id():
        return max(0.0, min(float(due["clock"]) - boot_clock(), most_s))
    left_s = float(last.get("retry_at", 0.0)) - time.time()
    return left_s if 0 < left_s <= most_s else 0.0


def given_up(tables: Tables) -> Iterator[int]:
    """Runs that are FAILED because nobody knows how their last attempt ended."""
    for run_id in tables.in_state(states.FAILED):
        attempts = tables.attempts(run_id)
        if attempts and is_lost(attempts[-1]):
            row = tables.run(run_id)
            if row.get("nonce") == attempts[-1]["nonce"]:
                yield run_id


def ended_by_hand(tables: Tables, inherited: Collection[Inherited]) -> Iterator[int]:
    """Runs that somebody has put to an end before their attempt was seen to come to it.

    FINISHED ones, which are too many to look at each, only as far as they have processes here.
    """
    here = {one.run_id for one in inherited if tables.has_run(one.run_id)}
    finished = (r for r in sorted(here) if tables.run(r)["state"] == states.FINISHED)
    for run_id in (*tables.in_state(states.FAILED), *finished):
        row = tables.run(run_id)
        if row.get("nonce") is not None and row.get("end_time") is None:
            last: Mapping[str, Any] = {}
            for attempt in tables.attempts(run_id):
                last = attempt if attempt["number"] == row["attempt"] else last
            if last.get("state") != row["state"]:
                yield run_id


def open_runs(tables: Tables) -> Iterator[int]:
    """Runs whose attempt was begun and has not been seen to end, whatever their state says."""
    for state in sorted(set(tables.counts()) - states.NEVER_OPEN):
        for run_id in tables.in_state(state):
            if states.is_open(tables.run(run_id)):
                yield run_id
