"""Random constraints on random data, against a filter that is written down independently."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motoko.model.constraints import parse
from motoko.model.schema import Field, Schema
from tests.support.bounds import admits
from tests.support.effort import examples

SCHEMA = Schema(
    "s",
    {
        n: Field(n, t)
        for n, t in (("x", "float"), ("n", "int"), ("word", "str"), ("on", "bool"))
    },
    {"y": Field("y", "float"), "note": Field("note", "str")},
)
WORDS = [
    "A",
    "B",
    "FINISHED",
    "SLURM submit",
    "it's",
    "a, b",
    "and",
    "B or C",
    "x = 1",
    "(",
    "",
]
NUMBERS = [-1, 0, 1, 2, 3]
FLOATS = [-1.0, 0.0, 0.5, 1.0, 2.0, 2.5]
PATTERNS = ["^A", "B", "S.*t", "[a-z]", "(A|B)$", "o{1}r", "="]

#: Name in the text, where the value is, and what it can be compared with.
NAMES: dict[str, tuple[str, str, list[Any]]] = {
    "id": ("run", "id", NUMBERS),
    "runs.id": ("run", "id", NUMBERS),
    "Job_ID": ("run", "job_id", NUMBERS),
    "jobs.id": ("run", "job_id", NUMBERS),
    "state": ("run", "state", WORDS),
    "RUNS.run_name": ("run", "run_name", WORDS),
    "nproc": ("run", "nproc", NUMBERS),
    "y": ("run", "y", FLOATS),
    "note": ("run", "note", WORDS),
    "x": ("job", "x", FLOATS),
    "jobs.N": ("job", "n", NUMBERS),
    "word": ("job", "word", WORDS),
    "on": ("job", "on", [True, False]),
}
NUMERIC = [name for name, (_, _, values) in NAMES.items() if values in (NUMBERS, FLOATS)]

run_rows = st.fixed_dictionaries(
    {
        "id": st.integers(1, 4),
        "job_id": st.integers(1, 4),
        "state": st.sampled_from([word for word in WORDS if word]),
        "run_name": st.sampled_from(WORDS),
    },
    optional={
        "nproc": st.sampled_from(NUMBERS),
        "y": st.sampled_from(FLOATS),
        "note": st.sampled_from(WORDS),
    },
)
job_rows = st.fixed_dictionaries(
    {},
    optional={
        "x": st.sampled_from(FLOATS),
        "n": st.sampled_from(NUMBERS),
        "word": st.sampled_from(WORDS),
        "on": st.booleans(),
    },
)


@st.composite
def comparisons(draw):
    name = draw(st.sampled_from(sorted(NAMES)))
    _, _, values = NAMES[name]
    if name in NUMERIC and draw(st.integers(0, 4)) == 0:
        return ("entry", name, draw(st.sampled_from(["=", "!=", "<", ">="])),
                draw(st.sampled_from(NUMERIC)))  # fmt: skip
    if values is WORDS and draw(st.integers(0, 2)) == 0:
        operator = draw(st.sampled_from(["~", "~*", "!~", "!~*"]))
        return ("pattern", name, operator, draw(st.sampled_from(PATTERNS)))
    operators = ["=", "!="] if name == "on" else ["=", "!=", "<", ">", "<=", ">=", "=="]
    return ("value", name, draw(st.sampled_from(operators)), draw(st.sampled_from(values)))


trees = st.recursive(
    comparisons(),
    lambda inner: st.tuples(
        st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


def holds(tree: Any, run: dict[str, Any], job: dict[str, Any]) -> bool:
    """The filter: what a constraint means, by cases."""
    if tree[0] == "and":
        return all(holds(part, run, job) for part in tree[1])
    if tree[0] == "or":
        return any(holds(part, run, job) for part in tree[1])
    kind, name, operator, right = tree
    left = value_of(name, run, job)
    if kind == "entry":
        right = value_of(right, run, job)
    if left is None or right is None:
        return False
    if kind == "pattern":
        found = re.search(right, left, re.IGNORECASE if "*" in operator else 0)
        return (found is None) if "!" in operator else (found is not None)
    return {
        "=": left == right,
        "==": left == right,
        "!=": left != right,
        "<": left < right,
        ">": left > right,
        "<=": left <= right,
        ">=": left >= right,
    }[operator]


def value_of(name: str, run: dict[str, Any], job: dict[str, Any]) -> Any:
    of, key, _ = NAMES[name]
    return (run if of == "run" else job).get(key)


@st.composite
def written(draw, tree: Any, is_outermost: bool = True) -> str:
    """One of the ways to write a tree down."""
    if tree[0] in ("and", "or"):
        parts = [draw(written(part, is_outermost=False)) for part in tree[1]]
        if tree[0] == "or":
            text = draw(st.sampled_from([" or ", " OR "])).join(parts)
        else:
            text = draw(st.sampled_from([",", ", ", " and ", "  AND "])).join(parts)
        is_plain = is_outermost or len(parts) == 1
        return text if is_plain and draw(st.booleans()) else f"({text})"
    kind, name, operator, right = tree
    text = str(right).lower() if isinstance(right, bool) else str(right)
    is_simple = re.fullmatch(r"[\w. -]+", text) and not re.search(r"\b(and|or)\b", text)
    if kind == "value" and not (is_simple and draw(st.booleans())):
        mark = draw(st.sampled_from("'\""))
        text = mark + text.replace(mark, mark * 2) + mark
    blank = draw(st.sampled_from(["", " ", "  "]))
    return f"{name}{blank}{operator}{blank}{text}"


@st.composite
def constraints_with_trees(draw):
    tree = draw(trees)
    return tree, draw(written(tree))


@settings(max_examples=examples(150, 400))
@given(constraints_with_trees(), st.lists(st.tuples(run_rows, job_rows), min_size=5))
def test_constraint_selects_what_the_filter_selects(drawn, rows):
    tree, text = drawn
    constraint = parse(text, SCHEMA)

    for run, job in rows:
        expected = holds(tree, run, job)

        assert constraint.matches(run, job) is expected
        if expected:
            assert admits(constraint.bounds, run, job)
        elif constraint.bounds.is_exact:
            assert not admits(constraint.bounds, run, job)
        if constraint.bounds.is_empty:
            assert not expected
        if not constraint.needs_job:
            assert constraint.matches(run, {}) is expected


@pytest.mark.slow
@settings(max_examples=examples(150))
@given(st.lists(constraints_with_trees(), max_size=3), run_rows, job_rows)
def test_list_means_all_of_its_texts(drawn, run, job):
    texts = [text for _, text in drawn]
    constraint = parse(texts, SCHEMA)
    named = constraint.restricted_to("A")

    expected = all(holds(tree, run, job) for tree, _ in drawn)

    assert constraint.matches(run, job) is expected
    assert parse(constraint.text, SCHEMA).matches(run, job) is expected
    assert named.matches(run, job) is (expected and run["run_name"] == "A")
    if constraint.bounds.is_exact:
        assert admits(constraint.bounds, run, job) is expected
