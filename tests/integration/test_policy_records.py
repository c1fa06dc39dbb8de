"""Runs in a database go the way that a small model of their policy says, step by step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motoko.config.policy import read_policy
from motoko.config.retry import CLASSES
from motoko.launch.record import Record
from motoko.launch.work import Work
from motoko.store.tables import Tables
from motoko.study.study import Study
from tests.support.effort import examples
from tests.support.launch_session import new_study, row

POINTS = itertools.count()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    with new_study(tmp_path_factory.mktemp("policy") / "s", "true\n") as found:
        yield found


def claim(study: Study) -> Any:
    """What a launcher has in its hands when it takes the next run."""
    work = Work("epoch", [], {}, n_claims=1, known_manifests=())
    (found,) = study.database.write(work.apply).claimed
    return found.row


def end_of(claimed: Any, policy: Any, failure: str | None) -> Record:
    """What there is to record of an attempt that failed so, or finished."""
    state = "FINISHED" if failure is None else "FAILED"
    number = claimed["attempt"]
    facts = {"nonce": claimed["nonce"], "state": state, "end_time": float(number)}
    return Record(
        run_id=claimed["id"],
        number=number,
        nonce=claimed["nonce"],
        state=state,
        put_states=frozenset(),
        entries={},
        changes={"end_time": float(number), "last_step": number},
        facts=facts if failure is None else {**facts, "class": failure},
        quantities={"y": (number, 0.5 * number)},
        is_over=True,
        policy=policy,
    )


@pytest.mark.slow
@settings(
    max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    budgets=st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 2)),
    failures=st.lists(st.sampled_from(CLASSES), max_size=6),
    is_told_twice=st.booleans(),
)
def test_nobody_sees_a_run_failed_that_has_budget_left(
    study: Study, budgets: dict[str, int], failures: list[str], is_told_twice: bool
) -> None:
    written = {"retry": {"attempts": 0, **budgets}}
    policy = read_policy(written)
    study.create_tasks({"x": float(next(POINTS))}, {}, run_name="r", event_name="main")
    left = dict(budgets)
    expected: list[str | None] = []
    seen: list[str] = []

    for failure in [*failures, None]:
        claimed = claim(study)
        record = end_of(claimed, policy, failure)
        for _ in range(1 + is_told_twice):
            study.database.write(lambda tables, one=record: bool(one.apply(tables)))
        expected.append(failure)
        seen.append(row(study, claimed["id"])["state"])
        if failure is None or left.get(failure, 0) == 0:
            break
        left[failure] -= 1
        assert seen[-1] == "CREATED"
        assert not study.quantities(claimed["id"])  # they are set aside with the attempt

    def history(tables: Tables) -> list[dict[str, Any]]:
        return list(tables.attempts(claimed["id"]))

    with study.database.read() as tables:
        attempts = history(tables)
    assert seen[-1] == ("FAILED" if expected[-1] else "FINISHED")
    assert seen[:-1] == ["CREATED"] * (len(expected) - 1)
    assert [one.get("class") for one in attempts] == expected
    assert [one.get("quantities") for one in attempts] == [
        *({"y": [n, 0.5 * n]} for n in range(1, len(expected))),
        None,
    ]
    assert study.quantities(claimed["id"])["y"][0] == len(expected)
