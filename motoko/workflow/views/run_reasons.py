"""Why a run is in its state."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motoko.columns import AWAITS, PASSED_OVER
from motoko.errors import UnknownGenerator
from motoko.host import host_name
from motoko.launch.executing import Executing, executing_in
from motoko.launch.generator import LocalGenerator, find_generator, plain_name
from motoko.launch.work import LIMITS, open_runs, retry_left_s
from motoko.model import states
from motoko.phrases import counted, duration, listed, moment
from motoko.study.order import OUT_OF_ORDER, what_goes_on
from motoko.study.records import split_run_name
from motoko.workflow import control
from motoko.workflow.holding import held_since
from motoko.workflow.views import firing_log, troubles
from motoko.workflow.views.elapsed import age_s, elapsed_s
from motoko.workflow.views.reason import Reason

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

_MOST_NAMED = 5


def why(workflow: Workflow, name: str) -> Reason:
    """Why the run ``study.id`` is in its state. RunNotFound, UnknownTaskManager.

    The databases must be open.
    """
    task, run_id = split_run_name(name)
    study = workflow.task_manager(task).base
    with study.database.read() as tables:
        inquiry = Inquiry(workflow, study, tables, run_id)
        return inquiry.reason()


@dataclass
class Inquiry:
    """One question about one run."""

    workflow: Workflow
    study: Study
    tables: Tables
    run_id: int

    def __post_init__(self) -> None:
        self.row: Mapping[str, Any] = self.tables.run(self.run_id)
        self.name = f"{self.study.name}.{self.run_id}"
        self.launcher = control.launcher_office(self.workflow).owner()
        self.attempts = self.tables.attempts(self.run_id)
        self.evidence: dict[str, Any] = {}

    def reason(self) -> Reason:
        """The answer."""
        asked: dict[str, Callable[[], tuple[str, str]]] = {
            states.CREATED: self._created,
            states.SUBMITTED: self._created,
            states.RUNNING: self._running,
            states.FINISHED: self._finished,
            states.FAILED: self._failed,
            states.CANCELLED: self._cancelled,
        }
        state = self.row["state"]
        self.evidence["created"] = self.row.get("create_time")
        if self.attempts:
            self.evidence["attempts"] = [_attempt_in_words(a) for a in self.attempts]
        told = self._firings()
        if told:
            self.evidence["firings"] = told
        reason, sentence = asked.get(state, self._own_state)()
        if state == states.CREATED or state in states.ACTIVE:
            sentence = troubles.with_full_disk(self.workflow, sentence)
        return Reason(self.name, state, reason, f"{self.name} {sentence}", self.evidence)

    # waiting to begin

    def _created(self) -> tuple[str, str]:
        for ask in (
            self._in_queue,
            self._awaiting_step,
            self._held,
            self._without_launcher,
            self._in_trouble,
            self._delayed,
            self._earlier_attempt,
            self._without_room,
        ):
            found = ask()
            if found is not None:
                return found
        since = duration(time.time() - self._waits_since)
        return (
            "next",
            f"is {self.row['state']} for {since}, and nothing holds it: the launcher takes it",
        )

    def _in_queue(self) -> tuple[str, str] | None:
        batch = self.attempts[-1].get("batch", {}) if self.attempts else {}
        present = self.attempts and self.attempts[-1]["number"] == self.row.get("attempt")
        if not self._is_submitted or not present or not batch.get("id"):
            return None
        self.evidence["batch"] = batch
        reason = f", which says {batch['reason']}" if batch.get("reason") else ""
        return "queue", f"waits as job {batch['id']} of {batch['generator']}{reason}"

    def _awaiting_step(self) -> tuple[str, str] | None:
        if not states.awaits_step(self.row):
            return None
        step, run_name = self.row[AWAITS], str(self.row["run_name"])
        self.evidence[AWAITS] = step
        now = self._command("runs", "retry", self.name, OUT_OF_ORDER)
        never = self._command("runs", "cancel", self.name)
        goes_on = f"`{what_goes_on(run_name)}` goes through the pipeline"
        why = f"its step {step!r} of a pipeline begins when what that requires is done"
        passed_over = self.row.get(PASSED_OVER)
        if run_name in control.orchestrators(self.workflow):
            goes_on = f"the orchestrator of {run_name}, if it comes to that, or else {goes_on}"
        elif passed_over is not None:
            self.evidence[PASSED_OVER] = passed_over
            why = f"{run_name} came to its end {moment(passed_over)} without asking for it"
            goes_on = (
                f"its step {step!r} of a pipeline has other values, systems or runs before it"
                " by now, leaves its system out, or belongs to an action that was not called"
                " again"
            )
        return (
            "pipeline",
            f"waits: it was put back, and {why}: {goes_on}; `{now}` executes it at once,"
            f" `{never}` gives it up",
        )

    @property
    def _waits_since(self) -> float:
        ended = [a["end_time"] for a in self.attempts if a.get("end_time")]
        return float(max([self.row.get("create_time") or time.time(), *ended]))

    def _held(self) -> tuple[str, str] | None:
        since = held_since(self.tables)
        if since is None:
            return None
        self.evidence["held"] = since
        release = self._command("launcher", "release", self.study.name)
        return (
            "held",
            f"waits: the runs of {self.study.name} are held since {moment(since)}; `{release}`",
        )

    def _without_launcher(self) -> tuple[str, str] | None:
        if self.launcher is None:
            said = troubles.missing_launcher(self.workflow)
            return "no launcher", f"waits: {said}"
        self.evidence["launcher"] = str(self.launcher)
        if self.study.name in self.launcher.facts.get("studies", ()):
            return None
        served = ", ".join(self.launcher.facts.get("studies", ()))
        start = self._command("launcher", "stop")
        return (
            "no launcher",
            f"waits: the launcher ({self.launcher}) serves {served} only;"
            f" `{start}`, then start it for all studies",
        )

    def _in_trouble(self) -> tuple[str, str] | None:
        found = [*troubles.full_disks(self.workflow, is_at_work=True)]
        if self.launcher is not None:
            places = (self.study.name, str(self.study.runs_dir))
            found += [
                f"the launcher {one['what']} since {moment(one['since'])}: {one['why']}"
                for one in self.launcher.facts.get("troubles", ())
                if str(one["what"]).endswith(places)
            ]
        if not found:
            return None
        self.evidence["troubles"] = found
        return "trouble", f"waits: {found[0]}"

    def _delayed(self) -> tuple[str, str] | None:
        last = self.attempts[-1] if self.attempts else {}
        left_s = retry_left_s(self.attempts, float("inf"))
        if left_s <= 0:
            return None
        self.evidence["retry"] = last["retry_at"]
        file = self.study.config.file.name
        return (
            "retry",
            f"is tried again in {duration(left_s)} (retry in its {file}): its attempt"
            f" {last['number']} failed, {last.get('cause')}",
        )

    def _earlier_attempt(self) -> tuple[str, str] | None:
        found = self._executing()
        if found is None or (found.nonce == self.row.get("nonce") and self._is_submitted):
            return None
        self.evidence["directory"] = found.run_dir
        own = (*self.attempts, self.row)
        where = f"still execute in {found.run_dir} on {found.host}"
        if found.nonce not in [one.get("nonce") for one in own]:
            return (
                "strange attempt",
                f"waits: processes of an attempt that the database does not know {where}; it"
                " begins when they have ended",
            )
        return (
            "earlier attempt",
            f"waits: processes of its attempt {found.attempt} {where}; the launcher ends them"
            " first",
        )

    def _without_room(self) -> tuple[str, str] | None:
        if alike := self._studies_of_its_system():
            return self._without_job(alike)
        executing = {name: list(_executing(t)) for name, t in self._all_tables()}
        own = executing[self.study.name]
        cores = int(self.launcher.facts.get("cores", 0)) if self.launcher is not None else 0
        nproc = int(self.row.get("nproc") or 1)
        limits, name = self.tables.fact(LIMITS) or {}, "max_concurrent"
        most_here = limits.get(name, self.study.config.max_concurrent)
        most = limits.get(f"workflow.{name}", self.workflow.config.max_concurrent)
        everywhere = [f"{name}.{r['id']}" for name, rows in executing.items() for r in rows]
        used = sum(
            min(int(r.get("nproc") or 1), cores) for rows in executing.values() for r in rows
        )
        n_before = self._n_before()
        self.evidence |= {**_some("executing", everywhere), "n_before": n_before}
        queue = f"; {_runs_come(n_before)} before it" if n_before else ""
        if most_here is not None and len(own) >= most_here:
            names = [f"{self.study.name}.{row['id']}" for row in own]
            where = _where(name in limits, f"in its {self.study.config.file.name}")
            return (
                "max_concurrent",
                f"waits: {self.study.name} may have {counted(most_here, 'run')} at once"
                f" (max_concurrent {where}), which are"
                f" {listed(names, _MOST_NAMED)}{queue}",
            )
        if most is not None:
            if len(everywhere) < most:
                return self._behind(n_before)
            where = _where(f"workflow.{name}" in limits, "in motoko.yaml")
            return (
                "max_concurrent",
                f"waits: {counted(most, 'run')} may execute at once (max_concurrent {where}),"
                f" which are {listed(everywhere, _MOST_NAMED)}{queue}",
            )
        self.evidence |= {"cores": cores, "cores_in_use": used, "nproc": nproc}
        if nproc > cores and everywhere:
            return (
                "cores",
                f"waits: it asks for {counted(nproc, 'core')} and there are {cores}, so it"
                f" executes alone, when {listed(everywhere, _MOST_NAMED)} have ended{queue}",
            )
        if used + min(nproc, cores) > cores:
            return (
                "cores",
                f"waits for {counted(nproc, 'free core')}: {used} of {cores} are in use by"
                f" {listed(everywhere, _MOST_NAMED)}{queue}",
            )
        return self._behind(n_before)

    def _studies_of_its_system(self) -> list[str]:
        """The studies whose runs go to the batch system of this one; none if that has none."""
        facts = self.launcher.facts if self.launcher is not None else {}
        kinds = {n: plain_name(str(kind)) for n, kind in facts.get("generators", {}).items()}
        own = kinds.get(self.study.name, "bash")
        try:
            if isinstance(find_generator(own), LocalGenerator):
                return []
        except UnknownGenerator:  # as an installation has it that is gone by now
            return []
        return [name for name, kind in kinds.items() if kind == own]

    def _without_job(self, alike: Collection[str]) -> tuple[str, str] | None:
        """What keeps it from being submitted, beside the runs of studies like its own."""
        jobs = {
            f"{name}.{run_id}": (name, _job(tables, run_id))
            for name, tables in self._all_tables()
            if name in alike
            for run_id in open_runs(tables)
            if f"{name}.{run_id}" != self.name
        }
        own = {run: job for run, job in jobs.items() if job[0] == self.study.name}
        n_before = 0
        if not self._is_submitted:
            n_before = sum(run_id < self.run_id for run_id in self.tables.all_ready())
        self.evidence |= {**_some("submitted", list(jobs)), "n_before": n_before}
        for limit, most, is_own, where in self._limits_of_jobs():
            there = own if is_own else jobs
            if len(set(there.values())) < most:
                continue
            have = f"{self.study.name} may have" if is_own else "there may be"
            queue = f"; {_runs_come(n_before)} before it" if n_before else ""
            are = "run is" if len(there) == 1 else "runs are"
            return (
                limit,
                f"waits: {have} {counted(most, 'job')} at once ({limit} {where}), and"
                f" {len(there)} {are} submitted: {listed(list(there), _MOST_NAMED)}{queue}",
            )
        return self._behind(n_before)

    def _limits_of_jobs(self) -> Iterator[tuple[str, int, bool, str]]:
        """By their names: how many jobs, whether of this study alone, where that is said."""
        from motoko.launch.room import MOST_SUBMITTED

        known: Mapping[str, int] = self.tables.fact(LIMITS) or {}
        study, workflow = self.study.config, self.workflow.config
        usual = max(MOST_SUBMITTED, workflow.max_concurrent or 0)
        for name in ("max_concurrent", "max_submitted"):
            most = known.get(name, getattr(study, name))
            if most is not None:
                yield name, most, True, _where(name in known, f"in its {study.file.name}")
            shared = f"workflow.{name}"
            most = known.get(shared, getattr(workflow, name))
            if most is not None:
                yield name, most, False, _where(shared in known, "in motoko.yaml")
            elif name == "max_submitted":
                yield name, usual, False, "if motoko.yaml does not say otherwise"

    def _n_before(self) -> int:
        submitted = list(self.tables.in_state(states.SUBMITTED))
        if self._is_submitted:
            return sum(run_id < self.run_id for run_id in submitted)
        created = self.tables.all_ready()
        return len(submitted) + sum(run_id < self.run_id for run_id in created)

    def _behind(self, n_before: int) -> tuple[str, str] | None:
        if not n_before:
            return None
        return "queue", f"waits: {_runs_come(n_before)} before it, and the launcher takes them"

    @property
    def _is_submitted(self) -> bool:
        return bool(self.row["state"] == states.SUBMITTED)

    def _all_tables(self) -> Iterator[tuple[str, Tables]]:
        for name, manager in self.workflow.task_managers.items():
            if name == self.study.name:
                yield name, self.tables
                continue
            with manager.base.database.read() as tables:
                yield name, tables

    # executing

    def _running(self) -> tuple[str, str]:
        if not self.row.get("nonce"):  # no attempt of a launcher
            again = self._command("runs", "update", self.name, "state=CREATED")
            return "set", f"was set to RUNNING by no launcher, and never ends; `{again}`"
        last = self.attempts[-1] if self.attempts else {}
        if last.get("number") != self.row.get("attempt"):
            last = {}
        if (batch := last.get("batch", {})).get("handed_on") and "end_time" not in last:
            return "handed on", self._handed_on(batch)
        began = self.row.get("start_time")
        host, pid = last.get("host"), last.get("pid")
        self.evidence |= {"started": began, "host": host, "pid": pid}
        parts = ["executes"]
        if began is not None:
            parts.append(
                f"since {moment(began)} ({duration(age_s(self.study, self.row, began))})"
            )
        if pid is not None:
            parts.append(f"as process {pid} on {host}")
        step = self.row.get("last_step")
        if step is not None:
            self.evidence |= {"last_step": step, "last_step_time": self.row["last_step_time"]}
            ago = duration(time.time() - self.row["last_step_time"])
            parts.append(f"and pushed step {step} {ago} ago")
        sentence = " ".join(parts)
        if self._executing() is None and host in (None, host_name()):
            if self.launcher is None:
                return "gone", f"executed, and nothing of it is there: {self._unrecorded()}"
            return "gone", f"has ended, and the launcher is about to record how: it {sentence}"
        if self.launcher is None:
            return "executing", f"{sentence}; {self._unrecorded()}"
        return "executing", sentence

    def _handed_on(self, batch: Mapping[str, Any]) -> str:
        self.evidence["batch"] = batch
        sentence = f"has handed its work on to job {batch['id']} of {batch['generator']}"
        if batch.get("state"):
            reason = f" ({batch['reason']})" if batch.get("reason") else ""
            sentence += f", which is {batch['state']}{reason}"
        return f"{sentence}; {self._unrecorded()}" if self.launcher is None else sentence

    def _unrecorded(self) -> str:
        said = troubles.missing_launcher(self.workflow)
        return f"what becomes of it is not recorded: {said}"

    def _executing(self) -> Executing | None:
        return executing_in(self.study, self.run_id)

    # over

    def _finished(self) -> tuple[str, str]:
        ended, began = self.row.get("end_time"), self.row.get("start_time")
        if ended is None:
            return "set", "was set to FINISHED"
        self.evidence |= {"started": began, "ended": ended}
        elapsed = elapsed_s(self.study, self.row, self.attempts)
        took = f" after {duration(elapsed)}" if elapsed is not None else ""
        tries = f", its attempt {self.row['attempt']}" if self.row.get("attempt", 1) > 1 else ""
        return "finished", f"finished {moment(ended)}{took}{tries}"

    def _failed(self) -> tuple[str, str]:
        last = self.attempts[-1] if self.attempts else {}
        keys = ("class", "cause", "exit_code", "signal", "host", "start_time", "end_time")
        self.evidence |= {key: last[key] for key in (*keys, "stderr") if key in last}
        show = self._command("runs", "show", self.name)
        if last.get("state") != states.FAILED:
            return "set", f"was set to FAILED; `{show}` shows what is known of it"
        cause = str(last.get("cause") or "no cause recorded").splitlines()[0]
        when = f" {moment(last['end_time'])}" if last.get("end_time") else ""
        retry = self._command("runs", "retry", self.name)
        return (
            str(last.get("class") or "failed"),
            f"failed{when} ({last.get('class')}): {cause}; `{show}` shows more,"
            f" `{retry}` tries it again",
        )

    def _cancelled(self) -> tuple[str, str]:
        found = self._executing()
        if found is not None:
            alone = "" if self.launcher is not None else f": {troubles.unended(self.workflow)}"
            sentence = f"was cancelled, and its script still executes on {found.host}{alone}"
            return "cancelled", sentence
        return "cancelled", f"was cancelled; `{self._command('runs', 'retry', self.name)}`"

    def _own_state(self) -> tuple[str, str]:
        state = self.row["state"]
        told = self.evidence.get("firings")
        by = f", last changed by {told[-1]}" if told else ""
        if self._executing() is not None:
            return "executing", f"executes, and was put into the state {state}{by}"
        return "set", f"was put into the state {state}{by}"

    def _firings(self) -> list[str]:
        """Which firings created or changed it."""
        ledger = self.workflow.vars.db
        with ledger.read() as view:
            found = firing_log.logged(view, (), run_name=str(self.row["run_name"]))
        done = ((one, one.touches(self.study.name, self.run_id)) for one in found)
        return [f"{one.event}, {moment(one.began)}: {what}" for one, what in done if what]

    def _command(self, *words: str) -> str:
        return shlex.join(["motoko", *words])


def _executing(tables: Tables) -> Iterator[Mapping[str, Any]]:
    """The rows of the runs that take a place."""
    for run_id in open_runs(tables):
        row = tables.run(run_id)
        if row.get("start_time") is not None:
            yield row


def _attempt_in_words(attempt: Mapping[str, Any]) -> str:
    parts = [attempt.get("state"), attempt.get("class"), attempt.get("cause")]
    if attempt.get("start_time"):
        parts.append(moment(attempt["start_time"]))
    return f"{attempt['number']}: {', '.join(str(part) for part in parts if part)}"


def _job(tables: Tables, run_id: int) -> int | str:
    """The job of a run, which others that are packed may have too; or what it will be."""
    attempts = tables.attempts(run_id)
    batch = attempts[-1].get("batch", {}) if attempts else {}
    found: int | str = batch.get("id", run_id)
    return found


def _some(what: str, names: list[str]) -> dict[str, Any]:
    """How many there are, and the first of them."""
    return {f"n_{what}": len(names), what: names[:_MOST_NAMED]}


def _runs_come(n: int) -> str:
    return f"{counted(n, 'run')} come{'s' if n == 1 else ''}"


def _where(is_set: bool, file: str) -> str:
    """Where a limit is said that holds."""
    return "by `motoko launcher set`" if is_set else file
