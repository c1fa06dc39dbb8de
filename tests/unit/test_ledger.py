"""What is read of the workflow's own database to answer a question about one run name."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from motoko.store import firing as firings
from motoko.store import layout, ledger, rebuild
from motoko.store.firing import Effects, Firing, firing_key
from motoko.store.ledger import FAILURE, Ledger
from motoko.workflow.actions import Action, no_action
from motoko.workflow.history import History
from motoko.workflow.triggers import Trigger

HOUR_S = 3600.0
BEGAN = 1.8e9


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger with a run name that began at `BEGAN`."""
    monkeypatch.setattr(ledger, "time", SimpleNamespace(time=lambda: BEGAN))
    return _ledger("new")


def _ledger(*run_names: str) -> Ledger:
    root: dict[str, Any] = {}
    layout.initialise(root, layout.WORKFLOW, {})
    found = Ledger(root, "here")
    for name in run_names:
        found.set_run_name(name)
    return found


def _add(kept: Ledger, began: float, run_name: str, **more: Any) -> str:
    firing: Firing = Firing(kept, run_name, "refine", "mult", "mult", (1,))  # type: ignore[arg-type]
    key = f"{firing_key(began)}-{len(kept.trees['firings']):06d}"
    kept.set_firing(key, {**firing.record(began, Effects()), "began": began, **more})
    return key


def test_the_firings_of_a_run_name_are_read_up_to_where_it_began(kept: Ledger) -> None:
    for n in range(3):
        kept.trees["firings"][f"{firing_key(BEGAN - 2 * HOUR_S + n)}-0"] = b"is not read"
    _add(kept, BEGAN - 1, "old")
    other = _add(kept, BEGAN + 1, "old")
    failed = _add(kept, BEGAN + 2, "new", **{FAILURE: {"cause": "it broke"}})
    own = _add(kept, BEGAN + 3, "new")

    assert list(kept.firings(run_name="new")) == [failed, own]
    assert list(kept.firings(1000, "new")) == [failed, own]
    assert list(kept.firings(1, "new")) == [own]
    assert kept.failures("new") == {"refine": [(failed, {"cause": "it broke"})]}
    assert list(kept.firings(3)) == [other, failed, own]


def test_the_clock_of_another_machine_hides_no_firing(kept: Ledger) -> None:
    late = _add(kept, BEGAN - 0.9 * HOUR_S, "new")

    assert list(kept.firings(run_name="new")) == [late]


def test_a_clock_that_was_set_back_hides_no_firing(
    kept: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firings, "time", SimpleNamespace(time=lambda: BEGAN - 9 * HOUR_S))
    database = SimpleNamespace(read=lambda: nullcontext(kept))
    workflow: Any = SimpleNamespace(vars=SimpleNamespace(db=database), run_name="new")
    history = History(workflow)
    history.open()

    firing = history.begin(Action("e", "mult", "x > 1", no_action), Trigger())
    kept.set_firing(firing.key, firing.record(None, Effects()))

    assert list(kept.firings(run_name="new")) == [firing.key]
    assert firing.began == BEGAN - 9 * HOUR_S


def test_the_firings_of_a_run_name_of_which_the_record_was_lost_are_all_found(
    kept: Ledger,
) -> None:
    early = _add(kept, BEGAN - 9 * HOUR_S, "lost")
    found: Any = SimpleNamespace(trees=kept.trees)
    again = _ledger()

    rebuild.fill_ledger(again, found)
    again.set_run_name("lost")

    assert list(again.firings(run_name="lost")) == [early]
