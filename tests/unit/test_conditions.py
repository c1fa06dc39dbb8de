"""What a condition lacks, in words."""

from __future__ import annotations

import pytest

from motoko.workflow.conditions import Clause, Evaluated


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([0], "matches `a`"),
        ([2, 0], "matches `b`"),
        ([0, 0], "matches either `a` or `b`"),
        ([0, 3, 0, 0], "matches `a`, `c` or `d`"),
        ([2, 1], "matches both `a` (2 runs do) and `b` (1 run does)"),
        ([2, 1, 3], "matches all of `a` (2 runs do), `b` (1 run does) and `c` (3 runs do)"),
    ],
)
def test_what_keeps_a_constraint_from_holding_is_a_sentence(
    counts: list[int], words: str
) -> None:
    clauses = [Clause(text, n) for text, n in zip("abcd", counts, strict=False)]

    found = Evaluated("solve", {"FINISHED": 3}, clauses, [])

    assert found.in_words() == f"no run of solve (3 FINISHED) {words}"
