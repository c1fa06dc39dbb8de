"""What a condition lacks: a constraint clause by clause, a function by what it said last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.errors import UnknownField
from motoko.phrases import counted, duration, moment
from motoko.workflow.actions import ALL_TASKS

if TYPE_CHECKING:
    from motoko.model.constraints import Constraint
    from motoko.store.tables import Tables
    from motoko.workflow.rule import Rule
    from motoko.workflow.workflow import Workflow


class Clause(NamedTuple):
    """One of the parts of a constraint that must all hold."""

    text: str
    #: How many runs it holds for, whatever the other parts say.
    n_runs: int


class Evaluated(NamedTuple):
    """A constraint asked of one study now."""

    study: str
    #: All runs of the run name, by state.
    states: dict[str, int]
    clauses: list[Clause]
    run_ids: list[int]
    #: What the constraint names and the study does not know, if there is such a thing.
    unknown: str = ""

    def in_words(self) -> str:
        """For how many runs it holds, and what keeps it from holding for any."""
        if self.unknown:
            return f"{self.study} does not know {self.unknown!r} so far"
        there = ", ".join(f"{n} {state}" for state, n in self.states.items()) or "no runs"
        where = f"{self.study} ({there})"
        if self.run_ids:
            return f"{_runs_match(len(self.run_ids))} it in {where}"
        if not self.states:
            return f"{self.study} has no runs"
        if len(self.clauses) == 1:
            return f"no run of {where} matches `{self.clauses[0].text}`"
        nowhere = [f"`{clause.text}`" for clause in self.clauses if not clause.n_runs]
        if nowhere:
            return f"no run of {where} matches {_any_of(nowhere)}"
        *first, last = (f"`{c.text}` ({_do(c.n_runs)})" for c in self.clauses)
        every = "both" if len(first) == 1 else "all of"
        return f"no run of {where} matches {every} {', '.join(first)} and {last}"


def evaluated(
    tables: Tables, study: str, constraints: Sequence[str], run_name: str | None
) -> Evaluated:
    """Ask a constraint, and each of its parts, of the runs of a run name, or of all."""

    def parsed(texts: str | Sequence[str]) -> Constraint:
        found = tables.parse(texts)
        return found if run_name is None else found.restricted_to(run_name)

    clauses = [Clause(text, tables.count(parsed(text))) for text in tables.clauses(constraints)]
    states = tables.counts(run_name)
    return Evaluated(study, states, clauses, tables.select(parsed(constraints)))


def evaluations(
    workflow: Workflow, report: Mapping[str, Any], run_name: str | None
) -> Iterator[Evaluated]:
    """A reported action's constraint, asked of each study that it watches."""
    constraints, task = report["constraints"], report["task"]
    names = workflow.task_managers if task == ALL_TASKS else [task]
    for name in names:
        with workflow.task_manager(name).base.database.read() as tables:
            try:
                yield evaluated(tables, name, constraints, run_name)
            except UnknownField as error:  # the name is one of another study
                yield Evaluated(name, {}, [], [], error.name)


def said(report: Mapping[str, Any]) -> str:
    """What a reported action's function said when it was asked last."""
    asked = report["asked"]
    name = report["condition"]
    if asked is None:
        return f"{name} has not been asked yet"
    said_of: Mapping[str, str] = asked["said"]
    answers = [f"{text} for {study}" if study else text for study, text in said_of.items()]
    took = duration(asked["took_s"])
    what = ", ".join(answers) or "nothing"
    return f"{name} gave {what} at {moment(asked['when'])} (it took {took})"


def lack(workflow: Workflow, report: Mapping[str, Any], run_name: str | None) -> str:
    """Why a reported action does not fire, in words."""
    if report["constraints"] is None:
        return lack_in_words(report, [])
    return lack_in_words(report, list(evaluations(workflow, report, run_name)))


def lacks(workflow: Workflow, rules: Iterable[Rule]) -> list[str]:
    """Why none of these fires, in words."""
    found = []
    for rule in rules:
        why = lack(workflow, rule.report(), workflow.run_name)
        found.append(f"{rule.action.label}: {why}")
    return found


def lack_in_words(report: Mapping[str, Any], found: Sequence[Evaluated]) -> str:
    """The same, given what a constraint said of each study."""
    text = "; ".join(one.in_words() for one in found) or said(report)
    if report["is_once"]:
        text += " (once=True: not for runs that it has fired for before)"
    return text


def label(report: Mapping[str, Any]) -> str:
    """How a reported action is named in messages."""
    task, event = report["task"], report["event"]
    return str(event) if task == ALL_TASKS else f"{event}@{task}"


def _runs_match(n: int) -> str:
    return f"{counted(n, 'run')} match{'es' if n == 1 else ''}"


def _any_of(clauses: Sequence[str]) -> str:
    if len(clauses) == 1:
        return clauses[0]
    *first, last = clauses
    return f"{'either ' if len(first) == 1 else ''}{', '.join(first)} or {last}"


def _do(n: int) -> str:
    return f"{counted(n, 'run')} do{'es' if n == 1 else ''}"
