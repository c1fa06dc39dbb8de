"""Ids in few words and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from motoko.store.ranges import numbers, ranges


@given(st.sets(st.integers(1, 60)))
def test_ranges_give_back_the_ids_in_order(ids: set[int]) -> None:
    assert numbers(ranges(ids)) == sorted(ids)


def test_ids_in_a_row_are_one_pair() -> None:
    assert ranges([3, 1, 2, 7]) == [[1, 3], [7, 7]]
