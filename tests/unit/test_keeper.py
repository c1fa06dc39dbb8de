"""Who watches over server and launcher goes on whatever happens, and says so."""

from __future__ import annotations

import errno
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import MotokoError, StudyNotFound
from motoko.workflow import control
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
        self.workflow = Workflow(str(write_workflow(directory, {"mult": None})))
        self.keeper = Keeper(self.workflow, restarts=False)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr(keeping, "_LOOK_S", 0.01)
    found = Kept(tmp_path)
    with found.keeper.telling(found.lost.put, found.told.put):
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

    unexpected = "cannot look after server and launcher: no entry"
    assert kept.told.get(timeout=DEADLINE_S) == ["the disk is full"]
    assert kept.told.get(timeout=DEADLINE_S) == ["the disk is full", unexpected]
    assert kept.told.get(timeout=DEADLINE_S) == ["the disk is full"]
    assert caplog.text.count("Traceback") == 1


def test_a_keeper_that_can_open_nothing_says_so_without_a_traceback(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def troubles(workflow: Any) -> Iterator[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(keeping, "troubles", troubles)
    kept.keeper.start()

    [told] = kept.told.get(timeout=DEADLINE_S)
    assert "Too many open files" in told
    assert "Too many open files" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_keeper_that_restarts_nothing_ends_when_the_databases_are_removed(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = control.server_office(kept.workflow)
    n_looks: queue.Queue[None] = queue.Queue()
    monkeypatch.setattr(keeping, "troubles", lambda workflow: n_looks.put(None) or ())
    kept.keeper.start()
    n_looks.get(timeout=DEADLINE_S)  # there are none yet, which is no loss
    n_looks.get(timeout=DEADLINE_S)
    assert kept.lost.empty()

    server.take()
    n_looks.queue.clear()
    n_looks.get(timeout=DEADLINE_S)
    n_looks.get(timeout=DEADLINE_S)
    server.leave()

    lost = kept.lost.get(timeout=DEADLINE_S)
    assert isinstance(lost, StudyNotFound)
    assert "removed while it ran" in str(lost)


def test_a_keeper_ends_when_there_is_nothing_left_to_serve(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def troubles(workflow: Any) -> Iterator[str]:
        raise StudyNotFound("there", "it was removed")

    monkeypatch.setattr(keeping, "troubles", troubles)
    kept.keeper.start()

    assert isinstance(kept.lost.get(timeout=DEADLINE_S), StudyNotFound)
