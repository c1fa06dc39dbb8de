"""When an action fires again that has changed nothing."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from motoko.workflow import rule
from motoko.workflow.actions import Action, no_action
from motoko.workflow.rule import Rule
from motoko.workflow.triggers import Trigger

NOW = 1000.0
LONGEST_S = 0.5


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Rule:
    """The rule of an action, at a time that stands still."""
    clock = SimpleNamespace(monotonic=lambda: NOW, time=lambda: NOW)
    monkeypatch.setattr(rule, "time", clock)
    return Rule(Action("e", "mult", "state = FINISHED", no_action))


def fire(known: Rule, trigger: Trigger, n_changes: int, *, has_changed: bool = False) -> float:
    """Let a firing begin and end; how long is waited for the next, when more has changed."""
    known.begin("key", trigger, n_changes)
    known.note("key", has_changed, LONGEST_S)
    known.end("key")
    assert has_changed or known.due(trigger, n_changes) == math.inf
    return max(0.0, known.due(trigger, n_changes + 1) - NOW)


def test_what_changes_nothing_is_repeated_after_pauses_that_grow(known: Rule) -> None:
    trigger = Trigger("mult", (1, 2))

    pauses = [fire(known, trigger, n_changes) for n_changes in range(5)]

    assert pauses == pytest.approx([0.0, 0.2, 0.4, LONGEST_S, LONGEST_S])


def test_what_changes_something_or_is_for_other_runs_is_not_waited_for(known: Rule) -> None:
    for n_changes in range(3):
        fire(known, Trigger("mult", (1, 2)), n_changes)

    assert known.due(Trigger("mult", (1,)), 2) == 0.0
    assert fire(known, Trigger("mult", (1,)), 3) == 0.0
    assert fire(known, Trigger("mult", (1,)), 4, has_changed=True) == 0.0


@pytest.mark.parametrize("condition", ["state = FINISHED", lambda: True])
def test_what_changes_nothing_is_repeated_as_time_passes_if_a_function_asks_for_it(
    known: Rule, condition: Any
) -> None:
    rule = known.replaced(Action("e", "mult", condition, no_action), {})
    trigger = Trigger("mult", (1,))
    fire(rule, trigger, 0)

    rule.look_again()

    assert (rule.due(trigger, 0) < math.inf) is callable(condition)


def test_an_action_that_is_registered_again_keeps_its_pauses(known: Rule) -> None:
    trigger = Trigger("mult", (1, 2))
    for n_changes in range(3):
        fire(known, trigger, n_changes)

    again = known.replaced(Action("e", "mult", "state = FAILED", no_action), {})

    assert again.due(trigger, 3) - NOW == pytest.approx(0.4)
