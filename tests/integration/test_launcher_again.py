"""A launcher that died is started again as it was wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko import daemon
from motoko.errors import NotRunning
from motoko.workflow import Workflow, control
from tests.support.workflows import write_workflow


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    write_workflow(tmp_path, {"mult": None, "norm": None})
    yield tmp_path
    control.stop_all(Workflow(str(tmp_path)), at_once=True)


def killed_and_restarted(directory: Path, *studies: str) -> None:
    workflow = Workflow(str(directory))
    control.ensure_running(workflow, studies=studies)
    daemon.stop(control.launcher_office(workflow), at_once=True)
    control.restart_launcher(workflow)
    workflow.close()


def studies_with_one_more(directory: Path) -> list[str]:
    write_workflow(directory, {"mult": None, "norm": None, "more": None})
    workflow = Workflow(str(directory))
    control.ensure_running(workflow)
    workflow.close()
    owner = control.launcher_office(workflow).owner()
    assert owner is not None
    return list(owner.facts["studies"])


@pytest.mark.slow
def test_a_launcher_that_was_restarted_learns_of_studies_added_later(directory: Path) -> None:
    killed_and_restarted(directory)

    assert studies_with_one_more(directory) == ["mult", "norm", "more"]


@pytest.mark.slow
def test_a_launcher_that_was_restarted_keeps_to_the_studies_chosen(directory: Path) -> None:
    killed_and_restarted(directory, "norm")

    assert studies_with_one_more(directory) == ["norm"]


@pytest.mark.parametrize("chosen", [None, "bash"])
def test_a_launcher_that_was_restarted_keeps_to_the_generator_chosen(
    directory: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    command = command_of_the_next(directory, monkeypatch, generator=chosen)

    assert ("--generator" in command) is (chosen is not None)


@pytest.mark.parametrize("is_at_rest", [None, False, True])
def test_a_launcher_that_was_restarted_tells_somebody_who_waits_when_it_is_at_rest(
    directory: Path, monkeypatch: pytest.MonkeyPatch, is_at_rest: bool | None
) -> None:
    command = command_of_the_next(directory, monkeypatch, is_at_rest=is_at_rest)

    assert ("--tell-rest" in command) is (is_at_rest is not None)


@pytest.mark.parametrize("is_at_rest", [None, False])
def test_a_launcher_that_takes_the_place_of_one_with_older_files_tells_who_waits_as_well(
    directory: Path, monkeypatch: pytest.MonkeyPatch, is_at_rest: bool | None
) -> None:
    workflow = Workflow(str(directory))
    office = control.launcher_office(workflow)
    office.take({"studies": ["mult", "norm"], "files": "older", "is_at_rest": is_at_rest})
    commands: list[list[str]] = []
    monkeypatch.setattr(control, "_end", lambda _: office.leave())
    monkeypatch.setattr(control, "_start", lambda command, *_: commands.append(command))

    with pytest.raises(NotRunning):
        control.start_launcher(workflow)

    assert ("--tell-rest" in commands[0]) is (is_at_rest is not None)


def command_of_the_next(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    generator: str | None = None,
    is_at_rest: bool | None = None,
) -> list[str]:
    """With what a launcher is started in the place of one that has died."""
    workflow = Workflow(str(directory))
    office = control.launcher_office(workflow)
    chosen = {"generator": generator, "studies": []}
    facts = {"generator": "bash", "studies": ["mult", "norm"], "is_at_rest": is_at_rest}
    office.take({**facts, "chosen": chosen})
    office.leave()
    commands: list[list[str]] = []
    monkeypatch.setattr(control, "_start", lambda command, *_: commands.append(command))
    with pytest.raises(NotRunning):
        control.restart_launcher(workflow)
    return commands[0]
