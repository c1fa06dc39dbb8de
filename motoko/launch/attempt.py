"""One attempt of a run in the launcher's hands: what is known of it, and not yet recorded."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from motoko.config.policy import USUAL, FailurePolicy
from motoko.config.retry import INFRASTRUCTURE, WALLTIME
from motoko.crashpoints import reached
from motoko.host import awake_clock, boot_clock, boot_id, host_name
from motoko.job import layout, outcome, verdict
from motoko.job.facts import is_directory_of
from motoko.launch.checkpoint import Notice
from motoko.launch.entries import converted
from motoko.launch.failure import classify, is_lost, late_words, signal_name, with_removal
from motoko.launch.generator import LocalProcess
from motoko.launch.leaving import Leaving
from motoko.launch.limits import Walltime, walltime_s
from motoko.launch.reading import Reading, last_lines
from motoko.launch.record import Record
from motoko.launch.sentinels import Sentinels, failure_in
from motoko.launch.space import hindered
from motoko.model import states
from motoko.model.schema import Schema
from motoko.study.archive import ARCHIVE, archive_of

_MOST_WARNINGS = 20


class Attempt:
    """What the launcher knows of one attempt.

    It gathers what has to be written; `take_record` hands that over for the next commit, and
    `put_back` takes it again when the commit did not happen.
    """

    process: LocalProcess | None = None
    #: What makes the run's task together with its job.
    task: bytes = b""
    #: The nonces of the attempts of its run before it.
    earlier: Collection[str] = ()
    pid: int | None = None
    #: How its shell ended, when what that has started goes on.
    shell_code: int | None = None
    is_prepared = False
    exec_file = ""
    #: What speaks of its work, if such files are declared.
    files: Sentinels | None = None
    #: What it is told before its walltime is over, if it is told anything.
    notice: Notice | None = None
    #: When it first had to wait for what the attempt before it left executing.
    waits_since: float | None = None
    #: Why the launcher ended its processes, if it did.
    _ended_for: str | None = None
    _told_failure: str | None = None  # the class of its failure, where its batch system says so
    #: Why its processes are gone, where that is known.
    _lost_for: str | None = None
    #: Whether another attempt would go on where it ended, where that is asked.
    _progress: bool | None = None
    _has_timed_out = False
    _is_executed: bool | None = None  # False: its files said that nothing was left to be done
    is_withdrawn = False
    #: How long it took, where its times of day do not tell: a clock was set meanwhile.
    _took_s: float | None = None
    #: When it was seen to be over, on the boot's clock.
    _over_at: float | None = None

    def __init__(
        self,
        schema: Schema,
        row: Mapping[str, Any],
        job: Mapping[str, Any],
        run_dir: str,
        *,
        manifest: Mapping[str, Any] | None,
        completion: str = "exit",
        default_walltime: float | None = None,
        known: Mapping[str, Any] | None = None,
        before: Mapping[str, Any] | None = None,
        policy: FailurePolicy = USUAL,
        resources: Mapping[str, Any] | None = None,
        instead_of: str | None = None,
    ) -> None:
        """``known`` is what was recorded of it already, when it is not a new one.

        ``before`` is what was recorded of the one before it, ``resources`` what runs have that
        do not say. ``instead_of`` is the nonce of a later attempt, when this one has turned out
        to have finished before that could begin.
        """
        known = known or {}
        self.before = before
        #: The attempt before it, when nobody knows how that ended.
        self.lost = before if before and is_lost(before) else None
        #: What becomes of its failure.
        self.policy = policy
        self._resources = resources or {}
        self._instead_of = instead_of
        self._late: tuple[int, str, str] | None = None
        self.row = row
        self.job = {name: value for name, value in job.items() if name != "id"}
        self.run_id: int = row["id"]
        self.number: int = row["attempt"]
        self.nonce: str = row["nonce"]
        self.nproc: int = row.get("nproc", 1)
        self.run_dir = run_dir
        self.manifest = manifest
        self.title = f"{schema.study}.{self.run_id}"
        #: What there may be troubles with, in words.
        self.looking = f"cannot read in {run_dir}"
        self.recording = f"cannot record what becomes of run {self.title}"
        self.walltime = Walltime(walltime_s(row, default_walltime, self.title))
        self._leaving = Leaving(run_dir, self.number, self.nonce)
        self._schema = schema
        self._completion = completion
        inputs = {entry["name"] for entry in manifest["files"]} if manifest else ()
        self.reading = Reading(
            run_dir, self.number, self.nonce, inputs=inputs, folded=known.get("folded")
        )
        #: What is known of its batch job: generator, id, the system's own words.
        self.batch: dict[str, Any] = dict(known.get("batch", ()))
        self.start_time: float | None = known.get("start_time")
        self.end_time: float | None = None
        self.host = host_name()
        self._exit_code: int | None = None
        self._has_ended = False
        self._failure: str | None = None
        self._hindrance = ""  # what kept it from writing, in words
        self._cause: str | None = None
        self._stderr = ""
        self._warnings: list[str] = list(known.get("warnings", ()))
        # What the database was last told, and what it is still to be told.
        self._put_states = set(known.get("states", ()))
        self._recorded_state: str = row["state"]
        if self.is_handed_on:
            self._completion = "exit"
        is_own = row["state"] == states.RUNNING or row["state"] in self._put_states
        self.state: str = row["state"] if is_own else states.SUBMITTED
        self._entries: dict[str, Any] = {}
        self._is_dirty = False

    # what happens to it

    def begin(
        self,
        pid: int | None,
        start_time: float,
        host: str | None = None,
        age_s: float | None = None,
    ) -> None:
        """Its process was started, or found, perhaps again.

        ``age_s``: for how long it has gone on while this machine was awake. Times do not tell.
        """
        started = self.start_time or start_time
        self.walltime.begin(started, age_s, boot_clock if self.batch else awake_clock)
        before = (self.pid, self.host, self.start_time, self.state)
        self.pid, self.host = pid, host or self.host
        if self.start_time is None:
            self.start_time = self._entries["start_time"] = start_time
            if archive_of(self.row) is not None:
                self._entries[ARCHIVE] = None  # what is packed was brought back before that
        if self.state == states.SUBMITTED:
            self.state = states.RUNNING
        if before != (self.pid, self.host, self.start_time, self.state):
            self._is_dirty = True

    def fold(self, journal: str | None = None) -> bool:
        """Take in what its script has written since then, perhaps in a journal whose name was
        told; whether its state changed."""
        before = self.state
        step_before = self.reading.last_step
        news = self.reading.read(journal)
        self._entries.update(converted(news, self._schema, self.title, self.warn))
        if news or self.reading.last_step != step_before:
            self._is_dirty = True
        said, cause = verdict.verdict(self.reading.said, 0, "explicit")
        if said not in (self.state, states.RUNNING):
            self._become(said, cause)
        return self.state != before

    def end(
        self,
        exit_code: int | None,
        now: float,
        *,
        out_of_memory: Callable[[], bool] = lambda: False,
    ) -> None:
        """Its process has ended, with a code unless nobody knows it.

        OSError when its files cannot be read now: nothing has changed then.
        """
        if self._has_ended:
            return
        self._over_at = boot_clock()
        if exit_code == -signal.SIGKILL:  # its shell may have come to its end before
            left = outcome.read_outcome(self.run_dir, self.number, self.nonce)
            exit_code = left.exit if left is not None else exit_code
        self._look_for_late()
        why_failed = failure_in(self.files) if exit_code == 0 else None
        news = self.reading.read(is_last=True)  # the last that may fail: it gives news once
        reached("launcher.read")
        self._has_ended = self._is_dirty = True
        self._exit_code = exit_code
        files = self.run_dir, self.number, self.nonce
        self._entries.update(converted(news, self._schema, self.title, self.warn))
        if exit_code is not None:
            self._leave_outcome(exit_code, now)
        said, cause = verdict.verdict(self.reading.said, exit_code, self._completion)
        warning = verdict.warning(self.reading.said, exit_code)
        if warning:
            self.warn(warning)
        has_spoken = self.reading.said.final_word is not None
        if self._completion == "explicit" and exit_code == 0 and not has_spoken:
            if said != states.RUNNING:
                self._become(said, cause)
            return  # its script has handed the work on, and finish() or fail() will come
        self.end_time = self.end_time or now
        if said == states.FINISHED and not has_spoken and why_failed:
            said, cause = states.FAILED, why_failed
        if self.is_withdrawn and not has_spoken:
            said, cause = states.CANCELLED, self._ended_for
        elif said == states.FAILED and not has_spoken:
            killed = exit_code is not None and exit_code in (-signal.SIGKILL, 137)
            self._hindrance = "" if self._ended_for else hindered(*files)
            self._failure = self._told_failure or classify(
                exit_code,
                timed_out=self._has_timed_out,
                out_of_memory=killed and out_of_memory(),
                warned=self._was_warned,
                is_hindered=bool(self._hindrance),
            )
            cause = self._ended_for or self._lost_for or with_removal(cause, self.run_dir)
            if exit_code is not None and self._failure == INFRASTRUCTURE and self._hindrance:
                cause = f"{cause}, {self._hindrance}"
        self._become(said, cause)
        self._took_s = self.walltime.took_s(
            self.start_time, self.end_time, now, lambda: outcome.read_outcome(*files)
        )

    def has_ended(self, left: outcome.Outcome) -> bool:
        """Whether it is over by an outcome that came after it was given up.

        False when its directory is another attempt's by now. OSError when that cannot be read.
        """
        aside = layout.attempt_dir(self.run_dir, self.number)
        if not is_directory_of(self.run_dir, self.nonce) or Path(aside).exists():
            return False
        self.begin(left.pid, left.begin, left.host, left.took)
        self.end(left.exit, left.end)
        if self.state == states.FAILED:
            self.warn(late_words(left))
        return self.is_over

    def is_found_finished(self, now: float) -> bool:
        """Whether its files say that nothing is left to be done; it has ended so then. Else
        sentinels of failures before it are removed."""
        if self.files is None or not self.files.is_finished_else_fresh(self.warn):
            return False
        self.begin(None, now)
        self._has_ended, self._is_executed, self.end_time = True, False, now
        self._become(states.FINISHED, None)
        return True

    def refuse(self, why: str, now: float, failure: str | None) -> None:
        """It never began, and will not; without a failure because somebody wants that."""
        self._has_ended = self._is_dirty = True
        self._over_at = boot_clock()
        self.end_time = now
        self._failure, self._cause = failure, why
        self.state = states.FAILED if failure else states.CANCELLED

    def _look_for_late(self) -> None:
        if self.lost is None or self._late is not None:
            return
        left = outcome.read_outcome(self.run_dir, self.lost["number"], self.lost["nonce"])
        if left is not None:
            self.hear_late(left)

    def time_out(self) -> None:
        """Its processes are ended because it takes longer than it may."""
        self._has_timed_out = True
        self._ended_for = f"it took longer than its walltime of {self.walltime.limit_s:g} s"

    def withdraw(self, state: str) -> None:
        """Its processes are ended because somebody has put its run into this state."""
        self.cancel(f"the run was set to {state}")

    def cancel(self, why: str) -> None:
        """Its processes are ended because somebody wants that."""
        self.is_withdrawn = True
        self._ended_for = why

    def has_put(self, state: str) -> bool:
        """Whether a state of its run is one that it has come to by itself."""
        return state == self.state or state in self._put_states

    def hear_of_job(self, **facts: Any) -> None:
        """Its batch system has said something of its job."""
        known = {k: v for k, v in {**self.batch, **facts}.items() if v is not None}
        if known != self.batch:
            self.batch, self._is_dirty = known, True

    def judge(self, failure: str, why: str) -> None:
        """Its batch system has ended it, and says what for."""
        self._told_failure, self._ended_for = failure, why

    def hear_late(self, left: outcome.Outcome) -> None:
        """The attempt before this one has left an outcome after it was given up."""
        assert self.lost is not None
        self._late = self.lost["number"], self.lost["nonce"], late_words(left)
        self._is_dirty = True

    @property
    def is_handed_on(self) -> bool:
        """Whether its work goes on in a job that its script has named."""
        return bool(self.batch.get("handed_on"))

    def hand_on(self, generator: str, job_id: str) -> None:
        """Its work goes on in this job, and ends with it."""
        self._has_ended, self._over_at, self._exit_code = False, None, None
        self._completion = "exit"
        self.batch = {"generator": generator, "id": job_id, "handed_on": True}
        self._is_dirty = True

    def lose(self, why: str) -> None:
        """Its processes are gone, and why."""
        self._lost_for = why

    @property
    def is_ending(self) -> bool:
        """Whether its processes were told to end."""
        return self._ended_for is not None

    def _become(self, state: str, cause: str | None) -> None:
        self.state, self._cause = state, cause
        self._is_dirty = True
        final = self.reading.said.final_word
        if final is not None:
            self.end_time = float(final["t"])
        if state == states.FAILED:
            if self._failure is None and final is not None:
                self._hindrance = hindered(self.run_dir, self.number, self.nonce, final)
                self._failure = INFRASTRUCTURE if self._hindrance else None
            if final is not None and self._hindrance and "no_space" not in final:
                self._cause = f"{cause}, {self._hindrance}"
            self._failure = self._failure or classify(1, warned=self._was_warned)
            self._see_progress()
            self._stderr = last_lines(
                layout.error_file(self.run_dir, str(self.row["run_name"]), self.run_id)
            )
        if self.has_finished and self.files is not None:
            self.files.conclude()
        sentinel = states.FINISHED if self.has_finished else state
        told = {"class": self._failure, "cause": self._cause, "end": self.end_time}
        self._leaving.add_sentinel(sentinel, told)
        self.write_files()

    @property
    def _was_warned(self) -> bool:
        return self.notice is not None and self.notice.was_given

    def _see_progress(self) -> None:
        if self.notice is not None and self._failure == WALLTIME and self._progress is None:
            found = self.notice.ending(self.reading.last_step, self.before)
            self._progress, self._cause = found.has_progress, f"{self._cause}{found.words}"

    def write_files(self) -> None:
        """Write what is missing of outcome and sentinel; `unwritten` says why it is."""
        self._leaving.write()

    @property
    def unwritten(self) -> OSError | None:
        """Why outcome or sentinel could not be written, until they are."""
        return self._leaving.unwritten

    def _leave_outcome(self, exit_code: int, now: float) -> None:
        """Write the outcome that the script's shell could not, for whoever asks later."""
        begin = self.start_time or now
        left = outcome.Outcome(exit_code, begin, now, self.host, self.pid or 0)
        self._leaving.add_outcome(left, self.reading.names)
        self.write_files()

    def warn(self, text: str) -> None:
        """Note something odd."""
        if len(self._warnings) < _MOST_WARNINGS and text not in self._warnings:
            self._warnings.append(text)

    # what is to be recorded

    @property
    def has_finished(self) -> bool:
        """Whether it counts as finished, whatever its state became after that."""
        final = self.reading.said.final_word
        if final is not None:
            return verdict.spoken_state(final) == states.FINISHED
        return self.state == states.FINISHED

    @property
    def has_process_ended(self) -> bool:
        """Whether it holds no slot any more."""
        return self._has_ended

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come of it."""
        return self._has_ended and self.end_time is not None

    @property
    def _is_put_off(self) -> bool:
        """Whether it failed, still goes on, and may be worth another attempt after that.

        Its run is not FAILED before it is known whether there will be one.
        """
        is_failed = self.state == states.FAILED and not self.is_over
        return is_failed and self.policy.again.budget(self._failure) > 0

    @property
    def has_news(self) -> bool:
        """Whether something is still to be recorded."""
        return self._is_dirty

    def take_record(self) -> Record:
        """Everything that is to be written now."""
        entries, self._entries = self._entries, {}
        self._is_dirty = False
        changes = dict(entries)
        is_put_off = self._is_put_off
        if self.end_time is not None and not is_put_off:
            changes["end_time"] = self.end_time
        if self.reading.last_step is not None:
            changes["last_step"], changes["last_step_time"] = self.reading.last_step
        if self.has_finished:
            changes["has_finished"] = 1
        put = frozenset(self._put_states)
        told = self.state
        if is_put_off:
            is_new = self._recorded_state == states.SUBMITTED and self.start_time is not None
            told = states.RUNNING if is_new else self._recorded_state
        else:
            self._put_states.add(told)
        state = None if told == self._recorded_state else told
        return Record(
            run_id=self.run_id,
            number=self.number,
            nonce=self.nonce,
            state=state,
            put_states=put,
            entries=entries,
            changes=changes,
            facts=self.known,
            quantities=dict(self.reading.last_values),
            is_over=self.is_over,
            policy=self.policy,
            resources=self._resources,
            over_at=self._over_at,
            boot=boot_id(),
            instead_of=self._instead_of,
            late=self._late,
        )

    def put_back(self, record: Record) -> None:
        """The record was not written, or nobody knows whether it was."""
        self._entries = {**record.entries, **self._entries}
        self._is_dirty = True

    def settle(self, record: Record) -> None:
        """The record was written."""
        if record.state is not None:
            self._recorded_state = record.state

    @property
    def known(self) -> dict[str, Any]:
        """What is to be recorded of it in the history of its run."""
        told = (*self._warnings, *self.reading.refusals.values(), *self.reading.damage)
        own_states = sorted(self._put_states - set(states.BUILT_IN))
        facts = {
            "nonce": self.nonce,
            "state": self.state,
            "host": self.host,
            "pid": self.pid,
            "start_time": self.start_time,
            "end_time": None if self._is_put_off else self.end_time,
            "took_s": self._took_s,
            "exit_code": self._exit_code,
            "signal": signal_name(self._exit_code),
            "batch": self.batch or None,
            "class": self._failure,
            "cause": self._cause,
            "progress": self._progress,
            "stderr": self._stderr or None,
            "warnings": list(dict.fromkeys(told)) or None,
            "executed": self._is_executed,
            "states": own_states or None,
            # A record is written by another thread, while reading goes on here.
            "folded": dict(self.reading.offsets) or None,
        }
        return {name: value for name, value in facts.items() if value is not None}
