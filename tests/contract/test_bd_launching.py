"""Who executes runs by ``motoko bd runs launch`` does not wait for them in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from motoko.cli import exit_codes
from motoko.cli.bd import processes
from motoko.daemon import Office
from motoko.errors import NotRunning
from motoko.launch.choice import read_chosen
from motoko.workflow import Workflow, control
from tests.support.workflows import DEADLINE_S, executed, served_workflow

OFFICES: list[Callable[[Workflow], Office]] = [control.launcher_office, control.server_office]


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workflow]:
    monkeypatch.setattr(processes, "_LOOK_S", 0.0)
    monkeypatch.setattr(processes, "_REPLACED_S", 0.0)
    with served_workflow(tmp_path, "mult") as found:
        found.mult.createTask(x=[1.0, 2.0])
        yield found


@pytest.fixture
def held(workflow: Workflow) -> Iterator[list[Office]]:
    """Server and launcher, both of which this process is."""
    offices = [office(workflow) for office in OFFICES]
    for office in offices:
        office.take()
    yield offices
    for office in offices:
        office.leave()


async def launched(workflow: Workflow, *, is_limited: bool = False) -> Any:
    with anyio.fail_after(DEADLINE_S):
        return await processes._until_over(workflow, workflow.mult.base, [1, 2], is_limited)


def test_it_waits_as_long_as_somebody_executes_them(
    workflow: Workflow, held: list[Office]
) -> None:
    async def main() -> Any:
        async with executed(
            workflow, lambda _, row: {1: "FINISHED"}.get(row["job_id"], "FAILED")
        ):
            return await launched(workflow)

    assert [str(run) for run in anyio.run(main)] == ["mult.2 FAILED: exit code 1"]


@pytest.mark.parametrize("is_limited", [False, True])
@pytest.mark.parametrize("which", [0, 1], ids=["launcher", "server"])
def test_it_ends_when_the_launcher_or_the_server_has(
    workflow: Workflow, held: list[Office], which: int, is_limited: bool
) -> None:
    held[which].leave()

    with pytest.raises(NotRunning, match=held[which].what) as caught:
        anyio.run(lambda: launched(workflow, is_limited=is_limited))

    log, what_to_do = caught.value.__notes__
    assert str(workflow.state_dir) in log
    assert ("launch_daemon --start --nruns 0`" in what_to_do) is is_limited
    assert exit_codes.of(caught.value) == exit_codes.PROCESSES


def test_a_launcher_that_is_replaced_meanwhile_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments, there = iter(range(100)), iter([1, 0, 0, 1, 0, 0, 0, 0])
    monkeypatch.setattr(processes, "_LOOK_S", 0.0)
    monkeypatch.setattr(processes, "_REPLACED_S", 2.0)
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    office = Mock(owner=lambda: next(there) or None)

    assert anyio.run(processes._until_gone, [office]) is office
    assert list(there) == [0]


@pytest.mark.parametrize("error", [None, NotRunning("the launcher")])
def test_the_file_with_the_chosen_runs_is_gone_once_the_launcher_has_read_it(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    read: list[Any] = []

    def start(workflow: Workflow, generator: str | None, *, only: Path) -> None:
        read.append(read_chosen(only))
        if error is not None:
            raise error

    monkeypatch.setattr(control, "start_launcher", start)
    before = set(workflow.state_dir.iterdir())

    with pytest.raises(NotRunning) if error else nullcontext():
        processes._start_limited(workflow, workflow.mult.base, [2], Mock(generator=None))

    assert read == [{"mult": {2}}]
    assert set(workflow.state_dir.iterdir()) == before
