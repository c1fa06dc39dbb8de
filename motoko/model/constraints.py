"""Constraints on runs and their jobs: parsed once, compiled to a function.

``motoko.model.grammar`` has the syntax. What names and values mean:

- The names of entries ignore case, values do not. ``runs.x`` and ``jobs.x`` say which of the
  two is meant, and must where both have a name. ``id`` alone is the run's; the job's is
  ``job_id`` or ``jobs.id``.
- A value is converted to the declared type of the entry; for an undeclared entry the type of
  its own value decides. In a clause on the state, ``FAILURE`` means FAILED.
- The right side may be another entry: always when it is written ``runs.x`` or ``jobs.x``
  without quotes, otherwise when it is a known name and the left side is not declared as text.
  Behind the operators for regular expressions it never is.
- An entry that is unset matches nothing, whatever the operator, ``!=`` and ``!~`` included.
- Regular expressions are searched for anywhere in a text; ``*`` makes them ignore case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

from motoko.columns import RUN_ENTRIES
from motoko.config.values import Refused
from motoko.errors import AmbiguousField, ConstraintError, UnknownField
from motoko.model import states
from motoko.model.bounds import Bounds, Interval
from motoko.model.grammar import Comparison, Either, Every, Node, parse_text, quoted, written
from motoko.model.operands import (
    COMPARE,
    Test,
    are_comparable,
    are_related,
    is_equality,
    is_ordered,
    regex_test,
    typed,
    typed_test,
    untyped_test,
)
from motoko.model.schema import JOB_ENTRIES, Schema

Matcher = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]

_ALWAYS_SET = frozenset({"id", "job_id"})
_NOTHING = Bounds(state=frozenset())
_MAX_ID = 1 << 62


def parse(
    constraints: str | Sequence[str] | None, schema: Schema, entries: Collection[str] = ()
) -> Constraint:
    """The constraint that a text means, or all texts of a list; None and blanks allow all.

    ``entries`` are the undeclared entries that runs have. Raises ConstraintError, whose
    position counts within the text that is wrong, UnknownField and AmbiguousField.
    """
    texts = [constraints] if isinstance(constraints, str) else list(constraints or ())
    names = _Names(schema, entries)
    parts = (_parse_one(text, names) for text in texts)
    return reduce(Constraint.__and__, parts, Constraint())


def clauses(
    constraints: str | Sequence[str] | None, schema: Schema, entries: Collection[str] = ()
) -> list[str]:
    """The parts of a constraint that must all hold, each as a constraint of its own."""
    texts = [constraints] if isinstance(constraints, str) else list(constraints or ())
    names = _Names(schema, entries)
    nodes = (parse_text(text, names.is_known) for text in texts)
    return [part for node in nodes if node is not None for part in _clauses_of(node)]


def _clauses_of(node: Node) -> list[str]:
    if isinstance(node, Every):
        return [text for part in node.parts for text in _clauses_of(part)]
    return [written(node)]


@dataclass(frozen=True, eq=False)
class Constraint:
    """A condition on a run and its job.

    ``matches(run, job)`` decides it, given the entries of both under lower-case names; the job
    may be empty unless ``needs_job``. ``fields`` are the entries that it reads, as ``runs.x``
    and ``jobs.x``. ``text`` can be parsed again.
    """

    text: str = ""
    bounds: Bounds = field(default_factory=Bounds)
    fields: frozenset[str] = frozenset()
    clauses: tuple[Matcher, ...] = field(default=(), repr=False)
    matches: Matcher = field(init=False, repr=False)
    #: Whether it reads any parameter of the job.
    needs_job: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", _every(self.clauses))
        needs_job = any(name.startswith("jobs.") for name in self.fields)
        object.__setattr__(self, "needs_job", needs_job)

    def __and__(self, other: Constraint) -> Constraint:
        if not self.text or not other.text:
            return self if self.text else other
        return Constraint(
            f"{self.text}, {other.text}",
            self.bounds & other.bounds,
            self.fields | other.fields,
            self.clauses + other.clauses,
        )

    def restricted_to(self, run_name: str) -> Constraint:
        """This constraint, for the runs of one run name only."""
        name = Constraint(
            f"runs.run_name = {quoted(run_name)}",
            Bounds(run_name=frozenset({run_name})),
            frozenset({"runs.run_name"}),
            (_on_run("run_name", typed_test("=", run_name)),),
        )
        return name & self


def _parse_one(text: str, names: _Names) -> Constraint:
    if not isinstance(text, str):
        raise TypeError(f"a constraint is a text or a list of texts, not {text!r}")
    node = parse_text(text, names.is_known)
    if node is None:
        return Constraint()
    part = _Compiler(text, names).compiled(node)
    shown = f"({text.strip()})" if isinstance(node, Either) else text.strip()
    clauses = part.clauses or (lambda run, job: True,)
    return Constraint(shown, part.bounds, part.fields, clauses)


@dataclass(frozen=True)
class _Field:
    """An entry that a constraint names; the id of a job is an entry of its runs."""

    of: Literal["run", "job"]
    name: str
    type: str | None

    def __str__(self) -> str:
        return f"{self.of}s.{self.name}"


class _Names:
    """Which entries there are."""

    def __init__(self, schema: Schema, entries: Collection[str]) -> None:
        self.schema = schema
        self.of_runs = {*RUN_ENTRIES, *schema.run, *(entry.lower() for entry in entries)}
        self.of_jobs = {*JOB_ENTRIES, *schema.job}

    def is_known(self, written: str) -> bool:
        """Whether a name, with or without its prefix, is one of an entry."""
        of, _, name = written.lower().rpartition(".")
        if not of:
            return name in self.of_runs or name in self.of_jobs
        return name in {"runs": self.of_runs, "jobs": self.of_jobs}.get(of, ())

    def resolved(self, text: str, at: int, written: str) -> _Field:
        """The entry that a name stands for; raises UnknownField or AmbiguousField."""
        of, _, name = written.lower().rpartition(".")
        if not self.is_known(written):
            known = {"runs": self.of_runs, "jobs": self.of_jobs}.get(of)
            if known is None:
                name, known = written, self.of_runs | self.of_jobs
            raise UnknownField(text, at, name, sorted(known))
        if not of and name != "id" and name in self.of_runs and name in self.of_jobs:
            raise AmbiguousField(text, at, name)
        if of == "jobs" or (not of and name not in self.of_runs):
            if name == "id":
                return _Field("run", "job_id", "int")
            return _Field("job", name, self.schema.job_type(name))
        return _Field("run", name, self.schema.run_type(name))


@dataclass(frozen=True)
class _Part:
    """A compiled piece of a constraint; no clause means that it is always true."""

    clauses: tuple[Matcher, ...]
    bounds: Bounds
    fields: frozenset[str]


class _Compiler:
    """Turns the tree of one text into functions and bounds."""

    def __init__(self, text: str, names: _Names) -> None:
        self.text = text
        self.names = names

    def error(self, at: int, why: str) -> ConstraintError:
        return ConstraintError(self.text, at, why)

    def compiled(self, node: Node) -> _Part:
        if isinstance(node, Comparison):
            return self.comparison(node)
        parts = [self.compiled(part) for part in node.parts]
        fields = frozenset[str]().union(*(part.fields for part in parts))
        if isinstance(node, Every):
            clauses = tuple(clause for part in parts for clause in part.clauses)
            return _Part(clauses, reduce(Bounds.__and__, (p.bounds for p in parts)), fields)
        either = _either([_every(part.clauses) for part in parts])
        return _Part((either,), reduce(Bounds.__or__, (p.bounds for p in parts)), fields)

    def comparison(self, clause: Comparison) -> _Part:
        left = self.names.resolved(self.text, clause.name_at, clause.name)
        if clause.is_regex:
            return self.regex(clause, left)
        if not is_ordered(left.type) and not is_equality(clause.operator):
            why = f"{left.name!r} is of type {left.type}, which = and != compare only"
            raise self.error(clause.operator_at, why)
        if self.names_entry(clause, left):
            right = self.names.resolved(self.text, clause.value_at, clause.value)
            return self.two_entries(clause, left, right)
        return self.value(clause, left)

    def names_entry(self, clause: Comparison, left: _Field) -> bool:
        """Whether the right side is another entry, not a value."""
        if clause.is_quoted:
            return False
        if re.fullmatch(r"(?:runs|jobs)\.\w+", clause.value, re.IGNORECASE):
            return True
        return left.type != "str" and self.names.is_known(clause.value)

    def regex(self, clause: Comparison, left: _Field) -> _Part:
        if left.type not in (None, "str"):
            why = f"{clause.operator} needs text, and {left.name!r} is of type {left.type}"
            raise self.error(clause.operator_at, why)
        flags = re.IGNORECASE if clause.operator.endswith("*") else re.NOFLAG
        try:
            pattern = re.compile(clause.value, flags)
        except (re.error, OverflowError, RecursionError) as error:
            at = clause.value_at + (getattr(error, "pos", None) or 0) + clause.is_quoted
            raise self.error(at, f"not a regular expression: {error}") from None
        matcher = _on(left, regex_test(clause.operator, pattern))
        return _Part((matcher,), Bounds(is_exact=False), frozenset({str(left)}))

    def two_entries(self, clause: Comparison, left: _Field, right: _Field) -> _Part:
        if not are_comparable(left.type, right.type):
            why = (
                f"cannot compare {left.name!r} ({left.type}) with {right.name!r} ({right.type})"
            )
            raise self.error(clause.value_at, why)
        fields = frozenset({str(left), str(right)})
        if left == right and left.of == "run" and left.name in _ALWAYS_SET:
            if clause.operator in ("=", "<=", ">="):
                return _Part((), Bounds(), fields)
            return _Part((_never,), _NOTHING, fields)
        if not is_ordered(right.type) and not is_equality(clause.operator):
            why = f"{right.name!r} is of type {right.type}, which = and != compare only"
            raise self.error(clause.operator_at, why)
        matcher = _on_two(left, right, clause.operator)
        return _Part((matcher,), Bounds(is_exact=False), fields)

    def value(self, clause: Comparison, left: _Field) -> _Part:
        fields = frozenset({str(left)})
        if left.type is None:
            test = untyped_test(clause.operator, clause.value, clause.is_quoted)
            return _Part((_on(left, test),), Bounds(is_exact=False), fields)
        try:
            value = typed(left.type, clause.value)
        except Refused as refused:
            why = (
                f"{left.name!r} is of type {left.type}: expected {refused.expected},"
                f" found {clause.value!r}"
            )
            raise self.error(clause.value_at, why) from None
        if left == _Field("run", "state", "str") and value.strip():
            value = states.normalise(value)
        matcher = _on(left, typed_test(clause.operator, value))
        return _Part((matcher,), _bounds_of(left, clause.operator, value), fields)


def _bounds_of(left: _Field, sign: str, value: Any) -> Bounds:
    if left.of == "run" and left.name in ("state", "run_name"):
        if sign == "=":
            only = frozenset({value})
            return Bounds(state=only) if left.name == "state" else Bounds(run_name=only)
        return Bounds(is_exact=False)
    interval = _interval(left.type, sign, value)
    if interval is None:
        return Bounds(is_exact=False)
    if left.of == "job":
        return Bounds(job={left.name: interval})
    if left.name == "id":
        return Bounds(run_id=_among_ids(interval))
    if left.name == "job_id":
        return Bounds(job_id=_among_ids(interval))
    return Bounds(is_exact=False)


def _among_ids(interval: Interval) -> Interval:
    """The same ids, which are never negative, with ends that a 64-bit index can take."""
    low, high = interval.low, interval.high
    return Interval(
        None if low is None else max(0, min(low, _MAX_ID)),
        None if high is None else max(-1, min(high, _MAX_ID - 1)),
    )


def _interval(kind: str | None, sign: str, value: Any) -> Interval | None:
    if kind in ("list", "dict") or sign == "!=":
        return None
    if sign == "=":
        return Interval.at(value)
    is_open = sign in ("<", ">")
    if kind == "int" and is_open:
        value, is_open = value + (1 if sign == ">" else -1), False
    if sign in ("<", "<="):
        return Interval(high=value, high_open=is_open)
    return Interval(low=value, low_open=is_open)


def _on(left: _Field, test: Test) -> Matcher:
    return _on_job(left.name, test) if left.of == "job" else _on_run(left.name, test)


def _on_run(name: str, test: Test) -> Matcher:
    def matches(run: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
        value = run.get(name)
        return value is not None and test(value)

    return matches


def _on_job(name: str, test: Test) -> Matcher:
    def matches(run: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
        value = job.get(name)
        return value is not None and test(value)

    return matches


def _on_two(left: _Field, right: _Field, sign: str) -> Matcher:
    compare = COMPARE[sign]

    def matches(run: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
        one = (run if left.of == "run" else job).get(left.name)
        other = (run if right.of == "run" else job).get(right.name)
        return one is not None and other is not None and are_related(compare, one, other)

    return matches


def _never(run: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    return False


def _every(clauses: Sequence[Matcher]) -> Matcher:
    if len(clauses) == 1:
        return clauses[0]

    def matches(run: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
        for clause in clauses:  # noqa: SIM110 - a generator would double the time
            if not clause(run, job):
                return False
        return True

    return matches


def _either(clauses: Sequence[Matcher]) -> Matcher:
    def matches(run: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
        for clause in clauses:  # noqa: SIM110 - a generator would double the time
            if clause(run, job):
                return True
        return False

    return matches
