"""What comes in through the launcher's socket may be anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from motoko.launch.knocks import Knock, understood

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
MESSAGES = st.binary(max_size=200) | (
    JSON | st.fixed_dictionaries({"run": JSON, "nonce": JSON})
).map(lambda said: json.dumps(said).encode())


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(MESSAGES)
@example(b'{"run": [], "nonce": "a"}')
@example(b'{"run": {}, "nonce": []}')
@example(b"[" * 4096)
@example(b'{"a":' * 800)
@example(b"9" * 4096)
@example(b'"\\ud800"')
def test_nothing_that_is_sent_raises(message: bytes) -> None:
    knock = understood(message)

    if knock is not None:
        {knock: 1}[knock]
        assert (type(knock.run_id), type(knock.nonce)) == (int, str)


@given(st.integers(), st.text())
def test_a_knock_is_understood_whatever_else_it_says(run_id: int, nonce: str) -> None:
    said = {"study": "s", "run": run_id, "attempt": 1, "nonce": nonce}

    assert understood(json.dumps(said).encode()) == Knock(run_id, nonce)


@pytest.mark.parametrize("run_id", [True, 1.0, "1", [1], None])
def test_what_merely_equals_an_id_is_none(run_id: object) -> None:
    assert understood(json.dumps({"run": run_id, "nonce": "a"}).encode()) is None


@pytest.mark.parametrize(
    ("journal", "understood_as"),
    [
        (".motoko-journal-1-node1-7-ab", ".motoko-journal-1-node1-7-ab"),
        ("../x", None),
        ("a\0", None),
        ("", None),
        ("a" * 300, None),
        (1, None),
    ],
)
def test_a_journal_is_told_by_a_name_that_a_file_can_have(
    journal: object, understood_as: str | None
) -> None:
    said = {"run": 1, "nonce": "a", "journal": journal}

    assert understood(json.dumps(said).encode()) == Knock(1, "a", understood_as)
