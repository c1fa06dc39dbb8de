"""Expressions for the values along a dimension, which are worked out and never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.config import read_study
from motoko.config.expression import NoExpression, evaluate
from motoko.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("range(3)", [0, 1, 2]),
        ("range(1, 7, 2)", [1, 3, 5]),
        ("linspace(0, 1, 5)", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("np.logspace(0, 2, 3)", [1.0, 10.0, 100.0]),
        ("[2 * x ** 2 - 1 for x in range(4) if x != 1]", [-1, 7, 17]),
        ("[x + y for x in [1, 2] for y in (10, 20)]", [11, 21, 12, 22]),
        ("[a * b for a, b in [[1, 2], [3, 4]]]", [2, 12]),
        ("list(range(2)) + [1e-3, -5]", [0, 1, 1e-3, -5]),
        ("[0.5] * 2", [0.5, 0.5]),
        ("1 / 4", 0.25),
    ],
)
def test_expression_is_worked_out(text: str, values: Any) -> None:
    assert evaluate(text) == values


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('x')",
        "().__class__",
        "[x for x in ().__class__.__bases__]",
        "(lambda: 1)()",
        "x",
        "{1: 2}",
        "'%s' % 1",
        "f'{1}'",
        "range(10 ** 9)",
        "10 ** 10 ** 10",
        "[1] * 10 ** 9",
        "'a' * 10 ** 9",
        "linspace(0, 1, 10 ** 9)",
        "arange(0, 1, 1e-9)",
        "[x for x in range(9999) for y in range(9999)]",
        "1 / 0",
        "[" * 200 + "]" * 200,
        "[x := 1]",
        "1j",
        "print(1)",
        "range(2, step=1)",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NoExpression):
        evaluate(text)


@given(st.text(max_size=40))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        evaluate(text)
    except NoExpression:
        pass


def test_study_has_the_values_of_its_expressions(tmp_path: Path) -> None:
    text = "study: s\njob: {a: float, b: int, c: list, d: str}\njob_space:\n"
    text += "  a: linspace(0, 1, 3)\n  b: range(2)\n  c: '[[1], [2]]'\n  d: range(3)\n"
    (tmp_path / "bd.yaml").write_text(text)

    space = read_study(tmp_path).job_space

    assert space == {"a": [0.0, 0.5, 1.0], "b": [0, 1], "c": [[1], [2]], "d": "range(3)"}


def test_mistake_in_an_expression_is_named_with_its_place(tmp_path: Path) -> None:
    text = "study: s\njob: {a: float}\njob_space:\n  a: linspce(0, 1)\n"
    (tmp_path / "bd.yaml").write_text(text)

    with pytest.raises(ConfigError, match=r"bd.yaml:4: job_space.a.*calls 'linspce'") as raised:
        read_study(tmp_path)

    assert len(raised.value.mistakes) == 1
