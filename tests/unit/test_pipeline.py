"""Steps and pipelines: what each name promises."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.errors import PipelineError
from motoko.pipeline import CyclicSteps, DuplicateStep, Pipeline, Step, UnknownStep

DIAMOND = Pipeline(
    [
        Step("last", ["left", "right"]),
        Step("right", requires=("first",), payload={"n": 1}),
        Step("left", requires=["first"], payload=3),
        Step("first"),
    ]
)


def names(pipeline: Pipeline) -> list[str]:
    return [step.name for step in pipeline]


def test_step_has_a_name_requirements_and_a_payload() -> None:
    step = Step("a", ["b", "c", "b"], {"x": 1})

    assert (step.name, step.requires, step.payload) == ("a", ("b", "c"), {"x": 1})
    assert (Step("a").requires, Step("a").payload) == ((), None)
    with pytest.raises(TypeError, match=r"requires=\['bc'\]"):
        Step("a", "bc")  # type: ignore[arg-type]


def test_step_is_immutable_and_hashable_whatever_its_payload() -> None:
    step = Step("a", ["b"], {"x": [1]})

    with pytest.raises(FrozenInstanceError):
        step.name = "b"  # type: ignore[misc]
    assert len({step, Step("a", ["b"], {"x": [1]}), Step("a", ["b"], 2)}) == 2
    assert pickle.loads(pickle.dumps(step)) == step


def test_replace_gives_a_clone_and_leaves_the_original() -> None:
    step = Step("a", ["b"], 1)

    changed = step.replace(payload=2, requires=["c"])

    assert changed == Step("a", ("c",), 2)
    assert step == Step("a", ("b",), 1)
    with pytest.raises(TypeError):
        step.replace(unknown=1)


def test_params_is_the_payload() -> None:
    payload = {"x": 1}

    assert Step("a", payload=payload).params is payload


def test_describe_is_in_topological_order_and_serialisable() -> None:
    described = DIAMOND.describe()

    assert described == [
        {"name": "first", "requires": [], "payload_type": None},
        {"name": "right", "requires": ["first"], "payload_type": "dict"},
        {"name": "left", "requires": ["first"], "payload_type": "int"},
        {"name": "last", "requires": ["left", "right"], "payload_type": None},
    ]
    assert json.loads(json.dumps(described)) == described


def test_adjacency_has_every_step_with_its_dependents() -> None:
    assert DIAMOND.adjacency() == {
        "last": [],
        "right": ["last"],
        "left": ["last"],
        "first": ["right", "left"],
    }


def test_dependencies_are_those_declared_and_an_unknown_name_is_a_key_error() -> None:
    assert DIAMOND.dependencies("last") == ("left", "right")
    assert DIAMOND.dependencies("first") == ()
    with pytest.raises(KeyError, match="there is no step 'rigth'; did you mean 'right'") as e:
        DIAMOND.dependencies("rigth")
    assert isinstance(e.value, UnknownStep)


def test_steps_are_found_by_name() -> None:
    assert DIAMOND["left"].payload == 3
    assert "left" in DIAMOND
    assert "other" not in DIAMOND
    assert len(DIAMOND) == 4
    assert DIAMOND.steps == tuple(DIAMOND)


def test_pipeline_without_steps_is_one() -> None:
    assert Pipeline([]).describe() == []
    assert Pipeline([]).to_mermaid() == "flowchart TD\n"


@pytest.mark.parametrize(
    ("steps", "kind", "said"),
    [
        ([Step("a"), Step("a")], DuplicateStep, "two steps are named 'a'"),
        ([Step("a"), Step("b", ["aa"])], UnknownStep, "step 'b' requires unknown step 'aa'"),
        ([Step("a", ["a"])], CyclicSteps, "wait for each other: 'a' requires 'a'"),
    ],
)
def test_what_is_no_pipeline_is_a_value_error(
    steps: list[Step], kind: type[Exception], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        Pipeline(steps)

    assert type(caught.value) is kind
    assert isinstance(caught.value, PipelineError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)


def test_cycle_is_shown_without_the_steps_that_only_wait_for_it() -> None:
    steps = [
        Step("after", ["c"]),
        Step("a", ["before", "b"]),
        Step("b", ["c"]),
        Step("c", ["a"]),
        Step("before"),
    ]

    with pytest.raises(CyclicSteps) as caught:
        Pipeline(steps)

    assert caught.value.cycle == ("c", "a", "b", "c")
    assert "'c' requires 'a' requires 'b' requires 'c'" in str(caught.value)


def test_mermaid_has_every_step_and_every_requirement() -> None:
    pipeline = Pipeline([Step("a b", ["x"]), Step("x"), Step('"<end>"', ["x", "a b"])])

    assert pipeline.to_mermaid() == (
        "flowchart TD\n"
        '    s0["x"]\n'
        '    s1["a b"]\n'
        '    s2["&quot;&lt;end&gt;&quot;"]\n'
        "    s0 --> s1\n"
        "    s0 --> s2\n"
        "    s1 --> s2\n"
    )


@st.composite
def step_lists(draw: Any, *, is_acyclic: bool) -> list[Step]:
    """Steps in any order, whose requirements lead to others (only earlier ones of a secret
    order, if they form no cycle)."""
    order = draw(st.lists(st.text("abcdef", min_size=1, max_size=2), unique=True, max_size=8))
    steps = []
    for i, name in enumerate(order):
        possible = order[:i] if is_acyclic else order
        chosen = st.lists(st.sampled_from(possible), max_size=3) if possible else st.just([])
        steps.append(Step(name, draw(chosen)))
    return draw(st.permutations(steps))


@pytest.mark.slow
@given(step_lists(is_acyclic=True))
def test_every_step_comes_after_what_it_requires(steps: list[Step]) -> None:
    order = names(Pipeline(steps))

    assert sorted(order) == sorted(step.name for step in steps)
    for step in steps:
        assert all(order.index(name) < order.index(step.name) for name in step.requires)


@given(step_lists(is_acyclic=True))
def test_ties_are_as_declared(steps: list[Step]) -> None:
    """The slow way to the same order: at each place the first that is possible."""
    left, expected = list(steps), list[str]()
    while left:
        chosen = next(step for step in left if set(step.requires) <= set(expected))
        left.remove(chosen)
        expected.append(chosen.name)

    assert names(Pipeline(steps)) == expected


@pytest.mark.slow
@given(step_lists(is_acyclic=True))
def test_adjacency_is_the_reverse_of_dependencies(steps: list[Step]) -> None:
    pipeline = Pipeline(steps)

    edges = {
        (name, later) for name, several in pipeline.adjacency().items() for later in several
    }
    assert edges == {(name, step.name) for step in steps for name in step.requires}
    assert all(pipeline.dependencies(step.name) == step.requires for step in steps)


@given(step_lists(is_acyclic=False))
def test_a_cycle_is_refused_and_is_one(steps: list[Step]) -> None:
    by_name = {step.name: step for step in steps}
    try:
        order = names(Pipeline(steps))
    except CyclicSteps as error:
        cycle = error.cycle
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        for name, required in pairwise(cycle):
            assert required in by_name[name].requires
    else:
        assert len(order) == len(steps)
