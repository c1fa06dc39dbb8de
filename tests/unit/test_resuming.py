"""Whether a run name goes on with what it was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.errors import ParametersChanged
from motoko.workflow import Workflow, resuming
from tests.support.workflows import write_workflow

STUDY = "study: solve\njob: {h: float}\njob_space: {h: [1.0, 2.0]}\nrun_params: {nproc: 2}\n"


def check(before: Any, now: Any, *, is_accepted: bool = False, most_shown: int = 10) -> Any:
    facts = None if before is None else {"parameters": before}
    return resuming.check("first", facts, now, is_accepted=is_accepted, most_shown=most_shown)


def test_options_studies_and_pipeline_decide_on_what_is_computed(tmp_path: Path) -> None:
    steps = "{solve: {run: {nproc: 1}}, again: {study: solve, requires: [solve]}}"
    pipeline = f"pipeline: {{steps: {steps}, on_failure: prune}}\n"
    write_workflow(tmp_path, {"solve": STUDY}, more=pipeline)
    workflow = Workflow(str(tmp_path))

    found = resuming.parameters(workflow, {"n": 3, "out": object(), "deep": {"x": (1, 2)}})

    assert found == {
        "options.n": 3,
        "options.deep.x": (1, 2),
        "pipeline.steps.solve.run.nproc": 1,
        "pipeline.steps.again.study": "solve",
        "pipeline.steps.again.requires": ["solve"],
        "pipeline.on_failure": "prune",
        "solve.job_space.h": [1.0, 2.0],
        "solve.run_params.nproc": 2,
    }


def test_defaults_that_no_study_gives_a_value_decide_too(tmp_path: Path) -> None:
    job = "{h: {type: float, default: 0.5}, Width: {type: float, default: 1.0}}"
    text = f"study: solve\njob: {job}\nrun: {{tol: {{type: float, default: 0.1}}}}\n"
    write_workflow(tmp_path, {"solve": f"{text}job_space: {{h: 1.0}}\n"})

    found = resuming.parameters(Workflow(str(tmp_path)), {})

    width, tol = "solve.job.width (default)", "solve.run.tol (default)"
    assert found == {"solve.job_space.h": 1.0, width: 1.0, tol: 0.1}
    assert check(found, {**found, width: 2.0}, is_accepted=True) == [(width, "1.0", "2.0")]
    with pytest.raises(ParametersChanged):
        check(found, {**found, tol: 0.2})


def test_a_parameter_that_is_declared_later_changes_nothing() -> None:
    assert check({"x": 1}, {"x": 1, "solve.job.width (default)": 1.0}) == []


def test_changes_are_refused_with_what_is_old_and_new() -> None:
    before = {"options.n": 5, "options.gone": "x", "solve.job_space.h": list(range(40))}
    now = {"options.n": 7, "options.came": True, "solve.job_space.h": [*range(39), -1]}

    with pytest.raises(ParametersChanged) as caught:
        check(before, now)

    assert str(caught.value).splitlines() == [
        "run name 'first' was begun with other parameters (old -> new):",
        "  options.came       nothing -> True",
        "  options.gone       'x' -> nothing",
        "  options.n          5 -> 7",
        "  solve.job_space.h  ...37, 38, 39] -> ...37, 38, -1]",
        "take another run name, or go on with the new ones: --accept-changes, or in Python"
        " workflow.accepts_changes = True",
    ]
    assert len(check(before, now, is_accepted=True)) == 4
    assert check(None, now) == check(now, dict(now)) == []


def test_what_is_no_number_stays_what_it_was() -> None:
    assert check({"x": [float("nan")], "y": 1}, {"x": [float("nan")], "y": 1.0}) == []


@given(
    before=st.dictionaries(st.text("abc", min_size=1), st.integers(0, 2)),
    now=st.dictionaries(st.text("abc", min_size=1), st.integers(0, 2)),
    most_shown=st.integers(2, 9),
)
def test_as_many_lines_as_fit_are_shown_and_the_rest_is_counted(
    before: dict[str, int], now: dict[str, int], most_shown: int
) -> None:
    n_changed = sum(before.get(key) != now.get(key) for key in {*before, *now})
    try:
        assert check(before, now, most_shown=most_shown) == []
        assert before == now
    except ParametersChanged as error:
        _, *lines, _ = str(error).splitlines()
        n_more = int(lines[-1].split()[1]) if lines[-1].endswith(" more") else 0
        assert len(lines) <= most_shown
        assert len(lines) - bool(n_more) + n_more == n_changed == len(error.changes)


@given(
    same=st.text(max_size=200),
    old=st.text(max_size=50),
    new=st.text(max_size=50),
    rest=st.text(max_size=200),
)
def test_what_is_shown_of_long_values_is_short_and_different(
    same: str, old: str, new: str, rest: str
) -> None:
    if old == new:
        return

    shown = resuming._contrasted(same + old + rest, same + new + rest)

    assert max(map(len, shown)) <= 42
    if same + old + rest != same + new + rest:
        assert shown[0] != shown[1]


def test_a_default_that_comes_or_goes_is_a_changed_one(tmp_path: Path) -> None:
    found = []
    for number, declared in enumerate(("int", "{type: int, default: 4}")):
        text = f"study: solve\njob: {{h: float}}\nrun: {{z: {declared}}}\n"
        write_workflow(tmp_path / str(number), {"solve": f"{text}job_space: {{h: 1.0}}\n"})
        found.append(resuming.parameters(Workflow(str(tmp_path / str(number))), {}))
    key = "solve.run.z (default)"

    assert check(*found, is_accepted=True) == [(key, "nothing", "4")]
    assert check(*reversed(found), is_accepted=True) == [(key, "4", "nothing")]
    with pytest.raises(ParametersChanged):
        check(*found)
