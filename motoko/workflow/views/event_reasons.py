"""Why an event has fired, or has not."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motoko.errors import EventNotFound, WorkflowError
from motoko.phrases import counted, duration, moment
from motoko.store.ranges import numbers, ranges
from motoko.workflow import conditions, control, reporter
from motoko.workflow.pipelines.failed import standing
from motoko.workflow.views import firing_log
from motoko.workflow.views.firing_log import INTERRUPTED, Logged, runs_in_words
from motoko.workflow.views.reason import Reason
from motoko.workflow.views.troubles import with_full_disk

if TYPE_CHECKING:
    from motoko.daemon import Owner
    from motoko.workflow.conditions import Evaluated
    from motoko.workflow.workflow import Workflow

_MOST_FIRINGS = 5
#: A function that takes longer than this to answer is worth a word.
_LONG_S = 1.0


def why(workflow: Workflow, event: str, run_name: str | None = None) -> list[Reason]:
    """Why an event (``name``, or ``name@study``) has or has not fired, for each of its actions.

    Without a run name it is that of the orchestrator that runs, or the latest. EventNotFound
    for an event that neither the orchestrator nor the log knows; WorkflowError when several
    orchestrators run. The databases must be open.
    """
    name, _, task = event.partition("@")
    active = control.orchestrators(workflow)
    chosen = run_name or _only(active) or _latest(workflow)
    with workflow.vars.db.read() as ledger:
        log = firing_log.logged(ledger, active, run_name=chosen)
        failed = {one.function: one.in_words for one in standing(ledger, chosen)}
    own = [one for one in log if one.event == name and task in ("", one.task)]
    owner = active.get(chosen)
    if owner is None:
        if not own:
            raise EventNotFound(
                event, chosen, sorted({one.event for one in log}), is_running=False
            )
        return [_from_log(event, chosen, own, failed.get(name))]
    report = reporter.ask(workflow.state_dir, chosen) if owner.is_here else None
    if report is None:
        return [_unanswered(event, chosen, owner, own)]
    actions = [a for a in report["actions"] if a["event"] == name and task in ("", a["task"])]
    phases = report.get("phases", {})
    if name in phases and not any(action["flights"] for action in actions):
        text = failed.get(name, phases[name])
        told = {"firings": _in_words(own)} if own else {}
        return [Reason(name, "false", "pipeline", f"{name} {text}", told)]
    if not actions:
        if own:
            return [_from_log(event, chosen, own, failed.get(name))]
        events = {a["event"] for a in report["actions"]} | {one.event for one in log}
        known = sorted(events | phases.keys())
        raise EventNotFound(event, chosen, known, is_running=True)
    return [
        Inquiry(workflow, chosen, action, report).reason(
            [one for one in own if one.task == action["task"]]
        )
        for action in actions
    ]


def _only(active: Mapping[str, Owner]) -> str | None:
    if len(active) > 1:
        raise WorkflowError(f"several orchestrators run: say --run_name, {', '.join(active)}")
    return next(iter(active), None)


def _latest(workflow: Workflow) -> str:
    with workflow.vars.db.read() as ledger:
        names = list(ledger.run_names())
    if not names:
        raise WorkflowError("no orchestrator has run yet: `motoko run` starts one")
    return names[-1]


@dataclass
class Inquiry:
    """One question about one action of an orchestrator that runs."""

    workflow: Workflow
    run_name: str
    action: Mapping[str, Any]
    report: Mapping[str, Any]

    def reason(self, own: list[Logged]) -> Reason:
        """The answer, given the firings in the log."""
        self.label = conditions.label(self.action)
        self.evidence: dict[str, Any] = {"condition": self.action["condition"]}
        evaluated = self._evaluated()
        state, reason, sentence = self._answer(evaluated)
        if own:
            self.evidence["firings"] = _in_words(own)
        stall = self.report["stall"]
        if stall is not None:
            self.evidence["stalled"] = stall["since"]
        sentence = with_full_disk(self.workflow, sentence)
        return Reason(self.label, state, reason, f"{self.label} {sentence}", self.evidence)

    def _answer(self, evaluated: list[Evaluated]) -> tuple[str, str, str]:
        action = self.action
        if action["flights"]:
            return self._in_flight(evaluated)
        asked, asked_since = action["asked"], action["asked_since"]
        if asked_since is not None and time.time() - asked_since > _LONG_S:
            since = f"{moment(asked_since)} ({duration(time.time() - asked_since)})"
            text = (
                f"waits for its condition: {action['condition']} is being asked since {since}"
            )
            return "asked", "being asked", text
        if evaluated:
            is_true = any(one.run_ids for one in evaluated)
        else:
            is_true = asked is not None and asked["is_true"]
        if is_true and action["is_once"] and not self._left(evaluated):
            return "false", "once", "has fired for all that its condition holds for (once=True)"
        if not is_true:
            lack = conditions.lack_in_words(action, evaluated)
            return "false", "condition", f"does not fire: {lack}"
        if action["idle"]:
            return self._idle()
        what = "; ".join(one.in_words() for one in evaluated if one.run_ids)
        what = what or conditions.said(action)
        return "true", "next", f"is true and fires next: {what}"

    def _in_flight(self, evaluated: list[Evaluated]) -> tuple[str, str, str]:
        flights = self.action["flights"]
        first = min(flight["since"] for flight in flights)
        self.evidence["in flight"] = [
            f"since {moment(f['since'])}: {_runs(f) or 'no runs'}" for f in flights
        ]
        with_runs = ", ".join(_runs(flight) for flight in flights if _runs(flight))
        since = f"since {moment(first)} ({duration(time.time() - first)})"
        text = f"is in flight {since}{f' for {with_runs}' if with_runs else ''}"
        flown = {(f["study"], i) for f in flights for i in numbers(f["runs"])}
        waiting = [
            f"{one.study}.{i}"
            for one in evaluated
            for i in one.run_ids
            if (one.study, i) not in flown
        ]
        if waiting and self.action["is_serial"]:
            wait = f"{counted(len(waiting), 'further run')} that match"
            return "in flight", "serial", f"{text}; {wait} wait for its end (serial=True)"
        return "in flight", "in flight", text

    def _idle(self) -> tuple[str, str, str]:
        idle = max(self.action["idle"], key=lambda one: one["since"])
        with_runs = f" for {_runs(idle)}" if _runs(idle) else ""
        n_times = idle["n_times"]
        again = f", {n_times} times in a row" if n_times > 1 else ""
        self.evidence["waits since"] = idle["since"]
        return (
            "true",
            "nothing changed",
            f"is true and waits for a change: its firing at {moment(idle['since'])}{with_runs}"
            f" changed nothing{again}",
        )

    def _evaluated(self) -> list[Evaluated]:
        action = self.action
        if action["constraints"] is None:
            asked = action["asked"]
            if asked is not None:
                self.evidence |= {
                    "last asked": asked["when"],
                    "took_s": asked["took_s"],
                    "gave": [f"{s}: {t}" if s else t for s, t in asked["said"].items()],
                }
            return []
        found = list(conditions.evaluations(self.workflow, action, self.run_name))
        self.evidence["clauses"] = [
            {
                "study": one.study,
                "states": one.states,
                "clauses": [clause._asdict() for clause in one.clauses],
                "all": len(one.run_ids),
            }
            for one in found
        ]
        self.evidence["matching"] = runs_in_words(
            {one.study: ranges(one.run_ids) for one in found if one.run_ids}
        )
        return found

    def _left(self, evaluated: list[Evaluated]) -> bool:
        """Whether an action that fires once has not fired for some that match."""
        event, task = self.action["event"], self.action["task"]
        call = self.action.get("call", "")
        with self.workflow.vars.db.read() as ledger:
            if not evaluated:
                return not ledger.fired_runs(self.run_name, event, task, None, call)
            return any(
                set(one.run_ids) - ledger.fired_runs(self.run_name, event, task, one.study)
                for one in evaluated
            )


def _runs(flight: Mapping[str, Any]) -> str:
    study = flight["study"]
    return runs_in_words({study: flight["runs"]}) if study else ""


def _in_words(firings: list[Logged]) -> list[str]:
    earlier = len(firings) - _MOST_FIRINGS
    head = [f"{earlier} before these"] if earlier > 0 else []
    return head + [
        f"{moment(one.began)} {one.runs_in_words} {'' if one.state == 'ended' else one.state}"
        for one in firings[-_MOST_FIRINGS:]
    ]


def _from_log(event: str, run_name: str, own: list[Logged], failed: str | None) -> Reason:
    last = own[-1]
    if failed is not None:
        again = f"`motoko run --run_name {shlex.quote(run_name)} --retry-failed` calls it again"
        text = f"{event} {failed}; {again}"
        return Reason(event, "false", "failed", text, {"firings": _in_words(own)})
    runs = f" for {last.runs_in_words}" if last.runs_in_words else ""
    times = "once" if len(own) == 1 else f"{len(own)} times"
    fired = f"has fired {times}, last at {moment(last.began)}{runs}"
    if last.state == INTERRUPTED:
        fired += ", which was interrupted and is resumed by the next orchestrator"
    return Reason(
        event,
        "unknown",
        "no orchestrator",
        f"{event} {fired}; no orchestrator of run name {run_name} knows its condition now",
        {"firings": _in_words(own)},
    )


def _unanswered(event: str, run_name: str, owner: Owner, own: list[Logged]) -> Reason:
    where = "does not answer" if owner.is_here else f"runs on {owner.host}: ask there"
    return Reason(
        event,
        "unknown",
        "no answer",
        f"{event}: the orchestrator of run name {run_name} ({owner}) {where}",
        {"firings": _in_words(own)},
    )
