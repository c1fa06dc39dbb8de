"""Constraints: their grammar, what they mean, and the bounds that indexes use."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from motoko.errors import AmbiguousField, ConstraintError, UnknownField
from motoko.model.bounds import Bounds, Interval
from motoko.model.constraints import Constraint, parse
from motoko.model.schema import Field, Schema
from tests.support.bounds import contains

JOB = {"x": "float", "n": "int", "name": "str", "flag": "bool", "l": "list", "d": "dict"}
SCHEMA = Schema(
    "s",
    {name: Field(name, kind) for name, kind in {**JOB, "both": "int"}.items()},
    {"both": Field("both", "int"), "y": Field("y", "float"), "remark": Field("remark", "str")},
)
RUN = {
    "id": 3,
    "job_id": 2,
    "state": "SLURM submit",
    "run_name": "test",
    "both": 1,
    "y": 2.0,
    "remark": "it's, fine",
    "free": "5",
    "count": 5,
    "ok": True,
    "deps": [1, 2],
}
VALUES = {
    "id": 2,
    "x": 1.5,
    "n": 2,
    "name": "Foo and Bar",
    "flag": True,
    "l": [1, 2.0, "a"],
    "d": {"k": [1]},
    "both": 2,
}
ENTRIES = ("free", "Count", "ok", "deps", "missing")


def matches(constraints) -> bool:
    return parse(constraints, SCHEMA, ENTRIES).matches(RUN, VALUES)


TRUE = [
    "id = 3",
    "id == 3",
    "id<=3",
    "id >= 3",
    "runs.id = 3, jobs.id = 2",
    "jobs.id = job_id",
    "runs.job_id = jobs.id",
    "RUNS.ID = 3 AND Jobs.X > 1",
    "state = SLURM submit",
    "state =   SLURM submit   ",
    "state = SLURM submit and id < 4",
    "state = SLURM submit,id < 4",
    "(state = SLURM submit)",
    "((id = 4) or ((state = SLURM submit)))",
    "id = 4 or id = 3",
    "id = 4 and id = 3 or n = 2",
    "n = 2 or id = 4 and id = 3",
    "id = 3 and (n = 7 or n = 2)",
    "state != FINISHED",
    "state = 'SLURM submit'",
    'state = "SLURM submit"',
    "remark = 'it''s, fine'",
    'remark = "it\'s, fine"',
    "name = 'Foo and Bar'",
    "name ~ ^Foo",
    "name ~ o{2}",
    "name ~ ^(Foo|Bar) and n = 2",
    "name ~ [,(] or n = 2",
    "name ~* ^FOO",
    "name !~ ^foo",
    "name !~* x$",
    "name ~ 'and B'",
    r"name !~ \(, n = 2",
    "name ~ (?=F)",
    "name < G",
    "x = 1.5",
    "x < 1e1",
    "x > -inf",
    "n = 2.0",
    "n <= 2",
    "flag = true",
    "flag != no",
    'l = [1, 2, "a"]',
    "l != [1]",
    'd = {"k": [1]}',
    "x < n",
    "y = n",
    "runs.both < jobs.both",
    "free = 5",
    "free = '5'",
    "count = 5",
    "COUNT < 5.5",
    "count != abc",
    "count != '5'",
    "ok = true",
    "ok != 1",
    "deps = [1, 2]",
    "free ~ ^5$",
    "count = n or count = 5",
    "",
    "  ",
    None,
    [],
    ["id = 3", "", "n = 2"],
    ("id = 3",),
    ["id = 4 or id = 3", "n = 2 or n = 3"],
]

FALSE = [
    "id = 4",
    "id < 3",
    "id > 3 or n > 2",
    "id = 3, n = 3",
    "state = slurm submit",
    "state = FAILURE",
    "name ~ ^foo",
    "name !~ Bar",
    "x = n",
    "count = '5'",
    "count < abc",
    "ok = 1",
    "ok < true",
    "deps < 3",
    "count ~ 5",
    "jobs.id != job_id",
    "missing = 1",
    "missing != 1",
    "missing !~ a",
    "missing = y",
    "y != missing",
    "last_step >= 0 or last_step < 0 or last_step != 3",
    ["id = 3", "n = 3"],
]


@pytest.mark.parametrize("constraints", TRUE)
def test_constraint_holds(constraints):
    assert matches(constraints) is True


@pytest.mark.parametrize("constraints", FALSE)
def test_constraint_does_not_hold(constraints):
    assert matches(constraints) is False


def test_old_spelling_of_failed_is_understood():
    failed = {**RUN, "state": "FAILED"}

    assert parse("state = FAILURE", SCHEMA).matches(failed, {})
    assert not parse("state != FAILURE", SCHEMA).matches(failed, {})
    assert not parse("remark = FAILURE", SCHEMA).matches({"remark": "FAILED"}, {})


KNOWN_JOBS = "both, d, flag, id, l, n, name, x"
KNOWN = (
    "attempt, both, create_time, d, end_time, event_name, exec, flag, id, job_id, l, last_step,"
    " last_step_time, machine_name, n, name, nproc, remark, run_name, run_path, start_time,"
    " state, workflow, x, y"
)
SEPARATOR = "',' or 'and' is missing before this, or quotes around the value"

ERRORS = [
    ("stat = A", 0, f"unknown name 'stat'; did you mean 'state'? (known: {KNOWN})"),
    ("id = 3, jobs.foo = 1", 8, f"unknown name 'foo' (known: {KNOWN_JOBS})"),
    ("n = jobs.qq", 4, f"unknown name 'qq' (known: {KNOWN_JOBS})"),
    ("jobz.x = 1", 0, f"unknown name 'jobz.x' (known: {KNOWN})"),
    ("both = 1", 0, "both runs and jobs have 'both': write runs.both or jobs.both"),
    ("id = Both", 5, "both runs and jobs have 'both': write runs.both or jobs.both"),
    ("x = abc", 4, "'x' is of type float: expected a number, found 'abc'"),
    ("x = nan", 4, "'x' is of type float: expected a number, found 'nan'"),
    ("id = 1.5", 5, "'id' is of type int: expected a whole number, found '1.5'"),
    ("flag = 2", 7, "'flag' is of type bool: expected true or false, found '2'"),
    ("l = [1", 4, "'[' is never closed: put the value in quotes"),
    ("l = 3", 4, "'l' is of type list: expected a list, written as JSON, found '3'"),
    ("d = {a}", 4, "'d' is of type dict: expected a mapping, written as JSON, found '{a}'"),
    ("flag < true", 5, "'flag' is of type bool, which = and != compare only"),
    ("l >= [1]", 2, "'l' is of type list, which = and != compare only"),
    ("n ~ 3", 2, "~ needs text, and 'n' is of type int"),
    ("name ~ a(", 8, "'(' is never closed: put the value in quotes"),
    ("name ~ *a", 7, "not a regular expression: nothing to repeat at position 0"),
    ("name ~ '*a'", 8, "not a regular expression: nothing to repeat at position 0"),
    ("x = name", 4, "cannot compare 'x' (float) with 'name' (str)"),
    ("name = runs.y", 7, "cannot compare 'name' (str) with 'y' (float)"),
    ("name", 4, "expected an operator after 'name'"),
    ("name 3", 5, "expected an operator after 'name'"),
    (
        "state = stop and go",
        19,
        "expected an operator after 'go' (a value that holds 'and' needs quotes)",
    ),
    ("id => 3", 3, "unknown operator '=>' (known: = != < > <= >= ~ ~* !~ !~*)"),
    ("id <> 3", 3, "unknown operator '<>' (known: = != < > <= >= ~ ~* !~ !~*)"),
    ("name =~ a", 5, "unknown operator '=~' (known: = != < > <= >= ~ ~* !~ !~*)"),
    ("id =", 4, "expected a value after '='"),
    ("id = , n = 2", 5, "expected a value after '='"),
    ("id = and n = 2", 5, "expected a value after '='"),
    ("(id = )", 6, "expected a value after '='"),
    ("= 3", 0, "expected a name"),
    (", id = 3", 0, "expected a name"),
    ("and id = 3", 0, "expected a name"),
    ("id = 3,", 7, "expected a name after ','"),
    ("id = 3 and", 10, "expected a name after 'and'"),
    ("id = 3,, n = 2", 7, "expected a name after ','"),
    ("()", 1, "expected a name"),
    ("(id = 3", 0, "'(' is never closed"),
    ("id = 3)", 6, "')' without its '('"),
    ("(id = 3) n = 2", 9, "expected ',', 'and' or 'or'"),
    ("state = 'a", 8, "the quote is never closed"),
    ("state = 'a' b", 12, "expected ',', 'and' or 'or' after the quoted value"),
    ("state = A id < 3", 13, SEPARATOR),
    ("state = A foo != 3", 14, SEPARATOR),
    ("state = A name ~ b", 15, SEPARATOR),
    ("name ~ a id < 3", 9, SEPARATOR),
    (
        "id = 3 or n = 2, x = 1",
        15,
        "',' and 'or' side by side: use 'and', and parentheses to say which",
    ),
    ("(" * 200 + "id = 3", 101, "parentheses nested too deeply"),
]


@pytest.mark.parametrize(("text", "position", "why"), ERRORS)
def test_error_shows_text_place_and_reason(text, position, why):
    with pytest.raises(ConstraintError) as caught:
        parse(["id = 3", text], SCHEMA)

    assert (caught.value.why, caught.value.position, caught.value.text) == (why, position, text)
    assert str(caught.value) == f"{why}\n  {text}\n  {' ' * position}^"


def test_errors_of_names_are_of_their_own_kinds():
    with pytest.raises(UnknownField) as unknown:
        parse("naem = 1", SCHEMA)
    with pytest.raises(AmbiguousField) as ambiguous:
        parse("both = 1", SCHEMA)

    assert unknown.value.name == "naem" and "name" in unknown.value.known
    assert ambiguous.value.name == "both"


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="a constraint is a text or a list of texts, not 3"):
        parse(["id = 3", 3], SCHEMA)


def test_undeclared_entry_must_be_known_to_exist():
    assert parse("Free = 1", SCHEMA, ["FREE"]).fields == {"runs.free"}
    with pytest.raises(UnknownField):
        parse("free = 1", SCHEMA)


def test_list_of_the_caller_is_left_alone():
    constraints = ["id = 3"]

    parse(constraints, SCHEMA).restricted_to("a")

    assert constraints == ["id = 3"]


def test_constraint_knows_what_it_reads():
    constraint = parse("id = 3, x < n or jobs.id = 3".replace(",", " and"), SCHEMA)

    assert constraint.fields == {"runs.id", "runs.job_id", "jobs.x", "jobs.n"}
    assert constraint.needs_job
    assert not parse("jobs.id = 3, state = A", SCHEMA).needs_job


def test_constraint_without_clause_is_true():
    assert parse(None, SCHEMA).clauses == ()
    assert parse([" "], SCHEMA).bounds == Bounds()
    assert (Constraint() & parse("id = 3", SCHEMA)).text == "id = 3"


def test_text_of_a_constraint_can_be_parsed_again():
    constraint = parse(["id = 3 or n = 2", "state = SLURM submit"], SCHEMA)

    again = parse(constraint.text, SCHEMA)

    assert constraint.text == "(id = 3 or n = 2), state = SLURM submit"
    assert again.text == constraint.text and again.bounds == constraint.bounds


def test_restriction_to_a_run_name_quotes_it():
    constraint = parse("id = 3", SCHEMA).restricted_to("it's, a = b")

    assert constraint.text == "runs.run_name = 'it''s, a = b', id = 3"
    assert constraint.matches({**RUN, "run_name": "it's, a = b"}, {})
    assert not constraint.matches(RUN, {})
    assert parse(constraint.text, SCHEMA).bounds == constraint.bounds
    assert constraint.bounds.run_name == {"it's, a = b"}


BOUNDS = [
    ("state = A", Bounds(state=frozenset({"A"}))),
    ("state = FAILURE", Bounds(state=frozenset({"FAILED"}))),
    ("state = A or state = B", Bounds(state=frozenset({"A", "B"}))),
    ("state = A, state = B", Bounds(state=frozenset())),
    ("id < 3", Bounds(run_id=Interval(None, 2))),
    ("id > 3, id <= 7", Bounds(run_id=Interval(4, 7))),
    ("job_id = 3", Bounds(job_id=Interval(3, 3))),
    ("jobs.id = 3", Bounds(job_id=Interval(3, 3))),
    ("runs.job_id = jobs.id", Bounds()),
    ("id != id", Bounds(state=frozenset())),
    (f"id < {10**30}", Bounds(run_id=Interval(None, 2**62 - 1))),
    ("x < 3", Bounds(job={"x": Interval(None, 3.0, high_open=True)})),
    ("x >= 3 or x < 2", Bounds(job={"x": Interval()}, is_exact=False)),
    ("x >= 3 or x < 3", Bounds(job={"x": Interval()})),
    ("x > 3 or x < 3", Bounds(job={"x": Interval()}, is_exact=False)),
    ("n > 3", Bounds(job={"n": Interval(4, None)})),
    ("name = a b", Bounds(job={"name": Interval("a b", "a b")})),
    ("flag = yes", Bounds(job={"flag": Interval(True, True)})),
    ("x != 3", Bounds(is_exact=False)),
    ("name ~ a", Bounds(is_exact=False)),
    ("x < n", Bounds(is_exact=False)),
    ("nproc = 3", Bounds(is_exact=False)),
    ("state = A, nproc = 3", Bounds(state=frozenset({"A"}), is_exact=False)),
    ("state = A or nproc = 3", Bounds(is_exact=False)),
    ("state = A and x = 1 or state = B and x = 1",
     Bounds(state=frozenset({"A", "B"}), job={"x": Interval(1.0, 1.0)})),
    ("state = A and id = 1 or state = B and id = 2",
     Bounds(state=frozenset({"A", "B"}), run_id=Interval(1, 2), is_exact=False)),
    ("(state = A and state = B) or id = 3", Bounds(run_id=Interval(3, 3))),
    ("state = A or id = id", Bounds()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "bounds"), BOUNDS)
def test_bounds_are_as_tight_as_they_can_be(text, bounds):
    assert parse(text, SCHEMA).bounds == bounds


def test_bounds_are_empty_when_nothing_can_match():
    assert parse("state = A, state = B", SCHEMA).bounds.is_empty
    assert parse("id < 3, id > 3", SCHEMA).bounds.is_empty
    assert parse("x < 3, x >= 3", SCHEMA).bounds.is_empty
    assert not parse("x <= 3, x >= 3", SCHEMA).bounds.is_empty


def all_intervals() -> list[Interval]:
    ends = (None, 1, 2, 3)
    return [
        Interval(low, high, low_open, high_open)
        for low, high in itertools.product(ends, ends)
        for low_open, high_open in itertools.product((False, True), repeat=2)
    ]


def test_intervals_behave_as_sets():
    points = (0.5, 1, 1.5, 2, 2.5, 3, 3.5)
    inside = {
        interval: {point for point in points if contains(interval, point)}
        for interval in all_intervals()
    }

    for one, points_of_one in inside.items():
        assert one.is_empty is (not points_of_one)
        for other, points_of_other in inside.items():
            both = one.intersect(other)
            assert inside[dataclasses.replace(both)] == points_of_one & points_of_other
            if not one.is_empty and not other.is_empty:
                union = {p for p in points if contains(one.hull(other), p)}
                assert union >= points_of_one | points_of_other
                assert one.touches(other) is (union == points_of_one | points_of_other)
