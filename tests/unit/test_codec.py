"""What values are in the database: the same when they are read back, and alike when equal."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from motoko.store.codec import decode, digest, encode, ordered
from tests.support.effort import examples

NUMBERS = st.integers() | st.floats(allow_nan=False)
WORDS = st.sampled_from(["", "a", "b", "$", "v", "10"])
KEYS = NUMBERS | WORDS | st.tuples(NUMBERS, WORDS)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.binary() | st.sets(KEYS),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(WORDS, inner),
        st.dictionaries(KEYS, inner),
    ),
    max_leaves=8,
)


def said_otherwise(value: Any, chance: random.Random) -> Any:
    """An equal value: in another order where there is none, whole numbers of another type."""
    kind = type(value)
    if kind is int and float(value) == value and chance.random() < 0.5:
        return float(value)
    if kind is float and value.is_integer() and chance.random() < 0.5:
        return int(value)
    if kind in (list, tuple):
        return kind(said_otherwise(v, chance) for v in value)
    if kind is set:
        return {
            said_otherwise(v, chance)
            for v in chance.sample(sorted(value, key=repr), len(value))
        }
    if kind is dict:
        pairs = chance.sample(list(value.items()), len(value))
        return {said_otherwise(k, chance): said_otherwise(v, chance) for k, v in pairs}
    return value


@settings(max_examples=examples(50))
@given(value=VALUES)
def test_what_is_stored_is_read_back(value: Any):
    assert decode(encode(value)) == value


@settings(max_examples=examples(50))
@given(value=VALUES, chance=st.randoms(use_true_random=False))
def test_equal_values_have_one_digest_and_one_key(value: Any, chance: random.Random):
    other = said_otherwise(value, chance)

    assert other == value
    assert digest(other) == digest(value)
    assert ordered([other]) == ordered([value])


def test_equal_values_are_alike_whatever_they_are_in():
    for one, other in [
        ({1: "a", 2: "b"}, {2: "b", 1.0: "a"}),
        ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}]),
        ({1e16, 10**17}, frozenset({10**16, 10**17})),
    ]:
        assert one == other
        assert digest(one) == digest(other)
        assert ordered(one) == ordered(other)
    assert digest([True]) != digest([1])
