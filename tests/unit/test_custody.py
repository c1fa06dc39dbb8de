"""What ends with a command of several, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from motoko.cli.parting import Parting
from motoko.workflow import Workflow, control
from motoko.workflow.custody import using
from motoko.workflow.upkeep import ending
from tests.support.processes import kill_processes_of
from tests.support.workflows import write_workflow
from tests.unit.test_use import start


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield write_workflow(tmp_path, {"mult": None})
    kill_processes_of(tmp_path)


@pytest.fixture
def put_back(monkeypatch: pytest.MonkeyPatch) -> list[Workflow]:
    found: list[Workflow] = []

    def reset(workflow: Workflow, *_: object, **how: Any) -> Any:
        found.append(workflow)
        return SimpleNamespace(n_runs=0)

    monkeypatch.setattr(ending, "reset_active", reset)
    return found


def use_launcher(workflow: Workflow, *, is_first: bool) -> None:
    with using(workflow, control.launcher_office(workflow)) as use:
        if is_first:
            start(use)


def test_runs_are_put_back_by_who_alone_uses_the_launcher_that_it_has_started(
    directory: Path, put_back: list[Workflow]
) -> None:
    first, second = Workflow(str(directory)), Workflow(str(directory))
    office = control.launcher_office(first)
    leaving = Parting(is_foreground=True)
    with control.in_custody(second):
        with control.in_custody(first):
            use_launcher(first, is_first=True)
            use_launcher(second, is_first=False)
            leaving.end_local(second, None)
            leaving.end_local(first, None)
        assert office.owner() is not None
        assert put_back == []
    assert office.owner() is None

    with control.in_custody(first):
        use_launcher(first, is_first=True)
        leaving.end_local(first, None)
    assert put_back == [first]
    assert office.owner() is None


@pytest.mark.parametrize("is_first", [True, False])
def test_what_is_to_stay_does_whoever_has_started_it(directory: Path, is_first: bool) -> None:
    passing, staying = Workflow(str(directory)), Workflow(str(directory))
    with control.in_custody(staying, is_passing=False):
        with control.in_custody(passing):
            if is_first:
                use_launcher(passing, is_first=True)
            use_launcher(staying, is_first=not is_first)
            use_launcher(passing, is_first=False)
        assert control.launcher_office(passing).owner() is not None
    assert control.launcher_office(passing).owner() is not None


def test_what_is_left_goes_on_and_ends_with_the_next_that_adopts_it(directory: Path) -> None:
    first, second = Workflow(str(directory)), Workflow(str(directory))
    office = control.launcher_office(first)
    with control.in_custody(first) as custody:
        use_launcher(first, is_first=True)
        pids = custody.leave()
    owner = office.owner()
    assert owner is not None and pids == [owner.pid]

    with control.in_custody(second) as custody:
        use_launcher(second, is_first=False)
        custody.adopt(pids)
        assert custody.left_by_others() == []
    assert office.owner() is None
