"""Parameter spaces: merging and expansion."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.errors import SchemaError
from motoko.model.schema import UNSET, Field, Schema
from motoko.model.space import expand, merge, size


def schema(**types: str) -> Schema:
    return Schema("s", {name: Field(name, kind) for name, kind in types.items()}, {})


ALL = schema(a="int", b="float", c="str", l="list", d="dict")

dimensions = {
    "a": st.lists(st.integers(), max_size=4),
    "b": st.lists(st.floats(allow_nan=False), max_size=4),
    "c": st.lists(st.text(max_size=3), max_size=3),
    "l": st.lists(st.lists(st.integers(), max_size=2), min_size=1, max_size=3),
    "d": st.lists(st.dictionaries(st.text(max_size=1), st.integers(), max_size=2), max_size=3),
}


@st.composite
def spaces(draw):
    """A space, and its dimensions as a test would spell them out: a constant has one value."""
    names = draw(st.lists(st.sampled_from(sorted(dimensions)), unique=True))
    axes = {name: draw(dimensions[name]) for name in names}
    space = {}
    for name, values in axes.items():
        is_constant = len(values) == 1 and draw(st.booleans())
        key = name.upper() if draw(st.booleans()) else name
        space[key] = values[0] if is_constant else values
    return space, axes


@given(spaces())
def test_expansion_is_the_product(drawn):
    space, axes = drawn

    points = list(expand(space, ALL))

    expected = [
        dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())
    ]
    assert points == expected
    assert size(space, ALL) == len(expected)
    assert all(list(p) == [n for n in ALL.job if n in p] for p in points)
    assert all(ALL.convert_job(point) == point for point in points)


def test_last_key_varies_fastest():
    points = expand({"c": ["x", "y"], "a": [1, 2]}, ALL)

    assert [(p["c"], p["a"]) for p in points] == [("x", 1), ("x", 2), ("y", 1), ("y", 2)]


def test_list_parameter_takes_a_list_as_one_value():
    assert list(expand({"l": [1, 2]}, ALL)) == [{"l": [1, 2]}]
    assert list(expand({"l": []}, ALL)) == [{"l": []}]
    assert list(expand({"l": [1, [2]]}, ALL)) == [{"l": [1, [2]]}]
    assert list(expand({"l": [[1], [2]]}, ALL)) == [{"l": [1]}, {"l": [2]}]
    assert list(expand({"l": np.eye(2)}, ALL)) == [{"l": [1.0, 0.0]}, {"l": [0.0, 1.0]}]


@pytest.mark.parametrize("values", [range(2), (0, 1), np.arange(2), np.array([0.0, 1.0])])
def test_ranges_tuples_and_arrays_are_dimensions(values):
    points = list(expand({"a": values}, ALL))

    assert points == [{"a": 0}, {"a": 1}]
    assert all(type(point["a"]) is int for point in points)


def test_empty_dimension_leaves_nothing_and_no_dimension_one_point():
    assert list(expand({"a": [], "b": 1}, ALL)) == []
    assert list(expand({}, ALL)) == [{}]


def test_none_along_a_dimension_leaves_the_parameter_unset():
    assert list(expand({"a": [1, None], "b": None}, ALL)) == [{"a": 1}, {}]


def test_default_stands_for_a_parameter_that_is_not_given():
    with_default = Schema("s", {"b": Field("b", "int"), "a": Field("a", "int", 7)}, {})

    assert list(expand({"b": [1, 2]}, with_default)) == [{"b": 1, "a": 7}, {"b": 2, "a": 7}]
    assert list(expand({"a": [None, 1]}, with_default)) == [{"a": 7}, {"a": 1}]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"zz": 1}, "study 's', 'zz': no such job parameter; known: a, b, c, l, d"),
        ({"a": [1, "x"]}, "study 's', 'a': found text 'x'; expected a whole number (int)"),
        ({"a": 1, "A": 2}, "study 's', 'a': given twice, as 'a' and as 'A'; names ignore case"),
        ({"a": np.eye(2)}, "study 's', 'a': found a list [1.0, 0.0]; expected a whole number"),
    ],
)
def test_mistakes_show_before_the_first_point(space, message):
    with pytest.raises(SchemaError) as caught:
        expand(space, ALL)

    assert str(caught.value).startswith(message)


def test_large_space_is_streamed():
    space = {"a": range(10**6), "b": range(10**4), "c": ["x"] * 1000}

    first = next(expand({**space, "b": 1, "c": "x", "a": range(10)}, ALL))

    assert first == {"a": 0, "b": 1.0, "c": "x"}
    assert size(space, ALL) == 10**13


def test_hundred_thousand_points_take_less_than_a_second():
    space = {"c": "x", "b": np.linspace(0, 1, 100), "a": range(1000)}

    start = time.perf_counter()
    n_points = sum(1 for _ in expand(space, ALL))

    assert n_points == 100_000
    assert time.perf_counter() - start < 1.0


def test_given_values_go_over_the_defaults():
    defaults = {"A": 1, "b": 2, "opts": {"x": 1, "deep": {"y": 2, "Y": 3}}}

    merged = merge(defaults, {"c": 3, "a": [4, 5], "Opts": {"deep": {"y": 7}, "z": 8}})

    assert merged == {
        "a": [4, 5],
        "b": 2,
        "opts": {"x": 1, "deep": {"y": 7, "Y": 3}, "z": 8},
        "c": 3,
    }
    assert list(merged) == ["a", "b", "opts", "c"]
    assert defaults["opts"] == {"x": 1, "deep": {"y": 2, "Y": 3}}


def test_only_mappings_are_merged():
    assert merge({"a": {"x": 1}}, {"a": 3}) == {"a": 3}
    assert merge({"a": 3}, {"a": {"x": 1}}) == {"a": {"x": 1}}
    assert merge({"a": {"x": 1}}, {"a": None}) == {"a": None}


def test_unset_is_one_and_false():
    assert not UNSET and repr(UNSET) == "UNSET"
