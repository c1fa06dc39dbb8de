"""Rows that are the same are not compared again, and no other is left out."""

from __future__ import annotations

from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from motoko.store.tables import Tables
from motoko.workflow.triggers import Compared
from tests.support.effort import examples

#: Runs and what is put into their rows; None removes one, and a change of no run is a gap.
CHANGES = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(1, 6)), st.one_of(st.none(), st.binary(max_size=1))
    )
)


class Rows:
    """Rows of runs by their ids."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}

    def has_run(self, run_id: int) -> bool:
        return run_id in self.rows

    def raw_run(self, run_id: int) -> bytes:
        return self.rows[run_id]


@settings(max_examples=examples(100))
@given(CHANGES)
def test_who_follows_what_differs_has_what_all_rows_say(
    changes: list[tuple[int | None, bytes | None]],
) -> None:
    rows, compared = Rows(), Compared()
    tables = cast(Tables, rows)
    followed: dict[int, bytes | None] = {}
    for run_id, content in changes:
        if run_id is not None and content is not None:
            rows.rows[run_id] = content
        elif run_id is not None:
            rows.rows.pop(run_id, None)
        leaf = None if run_id is None else {i for i in range(1, 7) if i % 2 == run_id % 2}

        differing = compared.differing(tables, leaf)
        for i in range(1, 7) if differing is None else differing:
            followed[i] = rows.rows.get(i)

        assert {i: row for i, row in followed.items() if row is not None} == rows.rows


def test_a_row_that_is_the_same_is_not_compared_again() -> None:
    rows, compared = Rows(), Compared()
    tables = cast(Tables, rows)
    rows.rows = {1: b"a", 2: b"b"}
    assert compared.differing(tables, {1, 2, 3}) == {1, 2, 3}

    rows.rows[2] = b"c"
    assert compared.differing(tables, {1, 2, 3}) == {2}

    del rows.rows[1]
    assert compared.differing(tables, {1, 2, 3}) == {1}


def test_after_a_comparison_with_other_rows_every_one_counts_as_another() -> None:
    rows, compared = Rows(), Compared()
    tables = cast(Tables, rows)
    rows.rows = {1: b"a"}
    assert compared.differing(tables, {1}) == {1}

    compared.forget()
    assert compared.differing(tables, {1}) == {1}
    assert compared.differing(tables, None) is None
    assert compared.differing(tables, {1}) == {1}
