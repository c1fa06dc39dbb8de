"""When a workflow that is called again and again has nothing to do for now."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from motoko.cli import parting
from motoko.workflow import control


class Office:
    """A launcher's, whose holder is another at each look; None is nobody, who has died."""

    def __init__(self, *at_rest: Any, was_stopped: bool = False) -> None:
        self.was_stopped = was_stopped
        self.left = list(at_rest)

    def owner(self) -> Any:
        now = self.left.pop(0)
        return None if now is None else SimpleNamespace(facts={"is_at_rest": now})


def looks_left(
    office: Office, noticed: Iterator[int | None], monkeypatch: pytest.MonkeyPatch
) -> int:
    """At how many looks nobody looks any more, since all is at rest."""

    class Workflow:
        n_noticed = property(lambda self: next(noticed))

    monkeypatch.setattr(parting, "_QUIET_S", 0.0)
    monkeypatch.setattr(parting, "_LOOK_S", 0.0)
    monkeypatch.setattr(control, "launcher_office", lambda workflow: office)
    workflow: Any = Workflow()
    leave = parting.Parting(is_once=True).watch(workflow)
    assert leave is not None
    anyio.run(leave)
    return len(office.left)


def test_a_launcher_that_has_died_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(None, None, False, True, True)
    assert looks_left(office, iter([7, 7, 7, 7, 7]), monkeypatch) == 1


def test_one_that_was_stopped_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(None, None, was_stopped=True)
    assert looks_left(office, iter([7, 7]), monkeypatch) == 1


def test_what_is_called_and_works_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(True, True, True)
    assert looks_left(office, iter([None, 7, 7]), monkeypatch) == 1
