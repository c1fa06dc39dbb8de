"""The state machine of runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.errors import InvalidTransition
from motoko.model import states

#: The rules once more, written down independently: a letter for each state, U for the user's.
RULES = {
    "CREATED": "S R F X C U",
    "SUBMITTED": "R F X C N U",
    "RUNNING": "F X C N U",
    "FINISHED": "U N X",
    "FAILED": "U N F C",
    "CANCELLED": "N U",
    "U": "U N F X C",
}
LETTERS = {
    "CREATED": "N",
    "SUBMITTED": "S",
    "RUNNING": "R",
    "FINISHED": "F",
    "FAILED": "X",
    "CANCELLED": "C",
}

any_state = st.one_of(
    st.sampled_from(states.BUILT_IN),
    st.sampled_from(["FORWARDED", "SLURM submit", "*", "finished", "FAILURE"]),
    st.text(min_size=1),
)


def is_allowed_by_rules(before: str, after: str) -> bool:
    if before == after:
        return True
    row = RULES[before if before in LETTERS else "U"]
    return LETTERS.get(after, "U") in row.split()


@given(any_state, any_state)
def test_table_is_that_of_the_rules(before, after):
    assert states.is_allowed(before, after) is is_allowed_by_rules(before, after)


@given(st.lists(any_state))
def test_run_never_leaves_the_table(wishes):
    state = states.CREATED

    for wish in wishes:
        before = state
        try:
            states.check("s.1", state, wish)
        except InvalidTransition:
            assert not is_allowed_by_rules(before, wish)
        else:
            state = wish
            assert is_allowed_by_rules(before, state)


def test_every_row_of_the_table_is_of_known_states():
    known = {*states.BUILT_IN, states.USER}

    assert set(states.TRANSITIONS) == known
    assert all(after <= known for after in states.TRANSITIONS.values())


def test_every_state_leads_back_to_created():
    assert all(states.is_allowed(state, "CREATED") for state in (*states.BUILT_IN, "MINE"))


def test_refused_change_says_what_is_allowed():
    with pytest.raises(InvalidTransition) as caught:
        states.check("solve.3", "FINISHED", "RUNNING")

    assert str(caught.value) == (
        "run solve.3 cannot go from FINISHED to RUNNING "
        "(from FINISHED: CREATED, FAILED, any state of your own)"
    )
    assert (caught.value.run, caught.value.before, caught.value.after) == (
        "solve.3",
        "FINISHED",
        "RUNNING",
    )


@pytest.mark.parametrize(
    ("state", "is_over", "is_bad", "is_active"),
    [
        ("CREATED", False, False, False),
        ("SUBMITTED", False, False, True),
        ("RUNNING", False, False, True),
        ("FINISHED", True, False, False),
        ("FAILED", True, True, False),
        ("CANCELLED", True, True, False),
        ("FORWARDED", False, False, False),
    ],
)
def test_states_are_of_kinds(state, is_over, is_bad, is_active):
    assert states.is_over(state) is is_over
    assert states.is_bad(state) is is_bad
    assert (state in states.ACTIVE) is is_active


OWN = {"state": "DIVERGED", "nonce": "a"}


@pytest.mark.parametrize(
    ("row", "has_ended", "has_failed"),
    [
        ({"state": "CREATED"}, False, False),
        ({"state": "RUNNING", "nonce": "a"}, False, False),
        ({"state": "FINISHED", "has_finished": 1}, True, False),
        ({"state": "CANCELLED"}, True, True),
        ({"state": "FAILED", "has_finished": 1}, True, False),
        ({**OWN, "has_finished": 1}, True, False),
        (OWN, False, False),
        ({**OWN, "end_time": 3.0}, True, False),
        ({"state": "SKIPPED"}, True, False),
    ],
)
def test_a_run_in_a_state_of_the_users_own_has_ended_unless_it_executes(
    row, has_ended, has_failed
):
    assert states.has_ended(row) is has_ended
    assert states.has_failed(row) is has_failed


def test_old_spelling_means_failed_and_case_matters():
    assert states.normalise("FAILURE") == "FAILED"
    assert states.normalise("failure") == "failure"
    assert states.normalise("SLURM submit") == "SLURM submit"


@pytest.mark.parametrize("nothing", ["", "  ", None, 3, b"FAILED", ["FAILED"]])
def test_what_is_no_text_is_no_state(nothing):
    with pytest.raises(ValueError, match="a state is a text that is not empty, not "):
        states.normalise(nothing)
