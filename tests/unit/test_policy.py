"""What is decided about failures, compared with a small model of what a policy promises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.config.policy import FailurePolicy, read_policy
from motoko.config.retry import CLASSES, DEFAULT
from motoko.model.policy import decide, escalated, of_run

BUDGETS = st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 3))
ENDS = st.sampled_from(["keep", "prune", "raise"])
FAILURES = st.lists(st.sampled_from(CLASSES), max_size=12)


def carried_out(policy: FailurePolicy, failures: list[str], entries: dict[str, Any]) -> Any:
    """What becomes of a run whose attempts fail so, one after the other, then succeed."""
    history: list[dict[str, Any]] = []
    pauses = []
    for number, failure in enumerate(failures, 1):
        decision = decide(policy, history, failure, entries)
        if decision.action != "retry":
            return number, decision.action, pauses, entries
        entries = {**entries, **decision.changes}
        pauses.append(decision.pause_s)
        history.append({"number": number, "class": failure, "retry_at": 0.0})
    return len(failures) + 1, "FINISHED", pauses, entries


class Model:
    """Purses: each class has one, each further attempt takes a coin out of it."""

    def __init__(self, budgets: dict[str, int], end: str, delay: float, backoff: float) -> None:
        self.purses = dict(budgets)
        self.end, self.delay, self.backoff = end, delay, backoff

    def carried_out(self, failures: list[str], mem: int, times: dict[str, float]) -> Any:
        n_attempts, pauses = 1, []
        spent = dict.fromkeys(CLASSES, 0)
        for failure in failures:
            if self.purses.get(failure, 0) == 0:
                return n_attempts, self.end, pauses, {"mem": mem}
            self.purses[failure] -= 1
            pauses.append(self.delay * self.backoff ** spent[failure])
            spent[failure] += 1
            mem = int(mem * times.get(failure, 1))
            n_attempts += 1
        return n_attempts, "FINISHED", pauses, {"mem": mem}


@pytest.mark.slow
@given(
    budgets=BUDGETS,
    end=ENDS,
    delay=st.integers(0, 100),
    backoff=st.integers(1, 3),
    times=st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 3)),
    failures=FAILURES,
    mem=st.integers(1, 64),
)
def test_policy_does_what_its_model_says(
    budgets: dict[str, int],
    end: str,
    delay: int,
    backoff: int,
    times: dict[str, float],
    failures: list[str],
    mem: int,
) -> None:
    written: dict[str, Any] = {"attempts": 0, "delay": delay, "backoff": backoff, "then": end}
    for name, n in budgets.items():
        written[name] = {"attempts": n, "times": {"mem": times[name]}} if name in times else n
    policy = read_policy({"retry": written})

    found = carried_out(policy, failures, {"mem": mem})

    factors = {name: factor for name, factor in times.items() if name in budgets}
    assert found == Model(budgets, end, delay, backoff).carried_out(failures, mem, factors)


@pytest.mark.slow
@given(budgets=BUDGETS, end=ENDS, before=FAILURES, failures=FAILURES)
def test_new_start_gives_all_budgets_back(
    budgets: dict[str, int], end: str, before: list[str], failures: list[str]
) -> None:
    policy = read_policy({"retry": {"attempts": 0, **budgets, "then": end}})
    old = [{"number": n, "class": name, "retry_at": 0.0} for n, name in enumerate(before)]
    last = {"number": len(old), "class": "application"}  # FAILED, and put to CREATED by hand

    now = [decide(policy, [*old, last], failure).action for failure in failures]

    assert now == [decide(policy, [], failure).action for failure in failures]


@given(budgets=BUDGETS, end=ENDS, delay=st.integers(0, 9))
def test_policy_survives_being_an_entry_of_a_run(
    budgets: dict[str, int], end: str, delay: int
) -> None:
    policy = read_policy({"retry": {"attempts": 1, **budgets, "then": end, "delay": delay}})

    again = read_policy(policy.for_runs())

    last = "prune" if end == "prune" else "keep"  # whoever made the run raises
    assert (again.last, again.again.budgets) == (last, policy.again.budgets)
    assert again.again.delay_s == delay


def test_run_has_a_policy_of_its_own_above_that_of_its_study() -> None:
    study = FailurePolicy(DEFAULT, "raise")

    assert of_run({}, study) == study
    assert of_run({"on_failure": "prune"}, study) == FailurePolicy(DEFAULT, "prune")
    assert of_run({"on_failure": {"retry": 4}}, study).again.budget("application") == 4
    assert of_run({"on_failure": "what a user calls so"}, study) == study


@pytest.mark.parametrize(
    ("name", "value", "factor", "more"),
    [
        ("mem", "4GB", 2, "8GB"),
        ("mem", "1.5 g", 2, "3 g"),
        ("mem", 123456789012, 2, 246913578024),
        ("mem", 1.5, 1.5, 2.25),
        ("mem", "0", 2, None),
        ("mem", None, 2, None),
        ("mem", 1e18, 2, None),
        ("walltime", "10:00", 2, "1200s"),
        ("walltime", 60.0, 1.5, 90),
        ("walltime", "soon", 2, None),
        ("walltime", None, 2, None),
        ("walltime", "1h", 1.0, None),
    ],
)
def test_more_is_so_many_times_as_much(name: str, value: Any, factor: float, more: Any) -> None:
    assert escalated(name, value, factor) == more


def test_no_pause_grows_beyond_a_day_unless_it_was_longer_already() -> None:
    hours = read_policy({"retry": {"attempts": 1000, "delay": "2h", "backoff": 10}})
    days = read_policy({"retry": {"attempts": 1000, "delay": "3d", "backoff": 10}})

    assert hours.again.pause_s(900) == hours.again.longest_pause_s == 86400
    assert days.again.pause_s(900) == 3 * 86400
