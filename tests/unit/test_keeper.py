"""Who watches over server and launcher goes on whatever happens, and says so."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import MotokoError, StudyNotFound
from motoko.workflow.upkeep import keeper as keeping
from motoko.workflow.upkeep.keeper import Keeper
from motoko.workflow.workflow import Workflow
from tests.support.workflows import write_workflow

DEADLINE_S = 20


class Kept:
    """A keeper, and what it tells."""

    def __init__(self, directory: Path) -> None:
        self.told: queue.Queue[list[str]] = queue.Queue()
        self.lost: queue.Queue[MotokoError] = queue.Queue()
        workflow = Workflow(str(write_workflow(directory, {"mult": None})))
        self.keeper = Keeper(workflow, self.lost.put, self.told.put, restarts=False)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr(keeping, "_LOOK_S", 0.01)
    found = Kept(tmp_path)
    yield found
    found.keeper.stop()


def test_a_keeper_that_meets_something_unexpected_says_so_and_goes_on(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    n_looks = 0

    def troubles(workflow: Any) -> Iterator[str]:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 2 or n_looks == 3:
            raise PermissionError("no entry")
        yield "the disk is full"

    monkeypatch.setattr(keeping, "troubles", troubles)
    kept.keeper.start()

    unexpected = "cannot look after server and launcher: PermissionError: no entry"
    assert kept.told.get(timeout=DEADLINE_S) == ["the disk is full"]
    assert kept.told.get(timeout=DEADLINE_S) == ["the disk is full", unexpected]
    assert kept.told.get(timeout=DEADLINE_S) == ["the disk is full"]
    assert caplog.text.count("Traceback") == 1


def test_a_keeper_ends_when_there_is_nothing_left_to_serve(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def troubles(workflow: Any) -> Iterator[str]:
        raise StudyNotFound("there", "it was removed")

    monkeypatch.setattr(keeping, "troubles", troubles)
    kept.keeper.start()

    assert isinstance(kept.lost.get(timeout=DEADLINE_S), StudyNotFound)
