"""Values that are kept, so many at most."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from motoko.store.kept import Kept
from tests.support.effort import examples


@settings(max_examples=examples(200))
@given(st.integers(1, 40), st.lists(st.integers(0, 100)))
def test_the_latest_value_is_there_and_never_too_many_are(
    most: int, numbers: list[int]
) -> None:
    kept: Kept[int] = Kept(most)
    for place, number in enumerate(numbers):
        kept.keep(number, place)

        assert kept[number] == place
        assert len(kept) <= most
    assert all(numbers[place] == number for number, place in kept.items())


def test_who_asks_for_a_few_too_many_in_order_finds_most_of_them_again() -> None:
    kept: Kept[int] = Kept(1000)
    for _ in range(3):
        n_found = 0
        for number in range(1010):
            n_found += number in kept
            if number not in kept:
                kept.keep(number, number)

    assert n_found > 800
