"""An orchestrator whose run name was taken over while it stood still changes nothing more."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from motoko import daemon
from motoko.errors import AlreadyRunning
from motoko.store.claim import Claim, epoch_of, is_later
from motoko.store.tables import Tables
from motoko.workflow import Workflow, control
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

Work = Callable[[Workflow], Awaitable[None]]


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workflow]:
    monkeypatch.setattr(daemon, "WATCH_S", 3600.0)  # the databases alone tell of it
    with served_workflow(tmp_path, "mult", "norm") as found:
        yield found


class Successor:
    """Another orchestrator of the run name, which takes it over as if from another host."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._is_there = threading.Event()
        self._may_end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    async def take_over(self) -> None:
        workflow = Workflow(str(self._directory))
        file = control.orchestrator_file(workflow, "test")
        facts = {**json.loads(file.read_text()), "host": "login7"}
        file.write_text(json.dumps(facts))
        self._thread.start()
        assert await anyio.to_thread.run_sync(self._is_there.wait, 30)

    async def end(self) -> None:
        self._may_end.set()
        if self._thread.ident is not None:
            await anyio.to_thread.run_sync(self._thread.join, 30)

    def _run(self) -> None:
        async def main(workflow: Workflow, **params: Any) -> None:
            self._is_there.set()
            await anyio.to_thread.run_sync(self._may_end.wait, 30)
            workflow.finished = True

        workflow = Workflow(str(self._directory))
        workflow.run_name, workflow.takes_over = "test", True
        try:
            run(workflow, main, outcome=None)
        finally:
            workflow.close()


@contextmanager
def succeeded(workflow: Workflow, *, is_over: bool) -> Iterator[Work]:
    """What takes the workflow's run name over; with ``is_over`` that one has ended too."""
    successor = Successor(workflow.directory)

    async def stand_still(_: Workflow) -> None:
        await successor.take_over()
        if is_over:
            await successor.end()

    try:
        yield stand_still
    finally:
        anyio.run(successor.end)


async def in_an_action(workflow: Workflow, stand_still: Work) -> None:
    async def act(workflow: Workflow, **params: Any) -> None:
        await stand_still(workflow)
        workflow.norm.createTask(x=1.0)
        workflow.vars.is_done = True

    workflow.add_action("act", event=lambda: True, f=act, once=True)


async def in_a_call(workflow: Workflow, stand_still: Work) -> None:
    await stand_still(workflow)
    handled = workflow.directory / "handled"
    workflow.add_error_handler(lambda: True, lambda: handled.touch())
    workflow.norm.createTask(x=1.0)


async def at_the_end(workflow: Workflow, stand_still: Work) -> None:
    await stand_still(workflow)
    workflow.finished = True


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("work", [in_an_action, in_a_call, at_the_end])
def test_who_was_taken_over_commits_nothing_and_does_not_end_the_workflow(
    workflow: Workflow, work: Callable[[Workflow, Work], Awaitable[None]], is_over: bool
) -> None:
    with succeeded(workflow, is_over=is_over) as stand_still:

        async def main(workflow: Workflow, **params: Any) -> None:
            await work(workflow, stand_still)

        with pytest.raises(AlreadyRunning, match="the orchestrator of run name 'test'"):
            run(workflow, main, outcome=None)
        with workflow.vars.db.read() as ledger:
            facts, firings = ledger.run_name("test") or {}, ledger.firings()

    assert workflow.norm.base.counts() == {}
    assert "is_done" not in workflow.vars
    assert firings == {}
    assert (facts.get("error"), facts["finished"] is None) == (None, not is_over)
    assert not (workflow.directory / "handled").exists()


def test_who_claims_while_another_commits_is_heard(workflow: Workflow) -> None:
    workflow.norm.createTask(x=1.0)
    database = workflow.norm.base.database
    old, new = (Claim("it", "it", epoch_of("office", n), f"holder {n}") for n in (1, 2))
    database.write(old.take)
    database.claim = old
    claim = partial(threading.Thread, target=lambda: other.norm.base.database.write(new.take))
    other = Workflow(str(workflow.directory))
    n_tries = 0

    def change(tables: Tables) -> None:
        nonlocal n_tries
        n_tries += 1
        if n_tries == 1:  # it has been seen that the claim stands
            thread = claim()
            thread.start()
            thread.join()
        tables.update_run(1, {"state": "CANCELLED"})

    try:
        with pytest.raises(AlreadyRunning, match=r"holder 2"):
            database.write(change)
        with pytest.raises(AlreadyRunning, match=r"holder 2"):
            other.norm.base.database.write(old.take)  # as one that has claimed nothing yet
    finally:
        other.close()
    assert workflow.norm.base.counts() == {"CREATED": 1}


@pytest.mark.parametrize(
    ("epoch", "own", "is_so"),
    [
        ("office:10-aa", "office:9-bb", True),
        ("office:9-aa", "office:10-bb", False),
        ("office:9-bb", "office:9-aa", False),
        ("office:10-aa", "other:9-bb", False),
        ("a:b:2-aa", "a:b:1-bb", True),
        (":10-aa", ":9-bb", False),
        ("10-aa", "9-bb", False),
    ],
)
def test_a_later_holder_is_one_of_the_same_office(epoch: str, own: str, is_so: bool) -> None:
    assert is_later(epoch, own) is is_so
