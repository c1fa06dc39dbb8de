"""Where chosen runs alone are to begin, no launcher is used that begins others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from motoko import daemon
from motoko.daemon import Office
from motoko.errors import AlreadyRunning, StartFailed
from motoko.workflow import Workflow, control
from tests.support.workflows import write_workflow

Take = Callable[[], None]


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    return Workflow(str(write_workflow(tmp_path, {"mult": None})))


@pytest.fixture
def office(workflow: Workflow) -> Iterator[Office]:
    office = control.launcher_office(workflow)
    yield office
    office.leave()


@pytest.fixture
def take(workflow: Workflow, office: Office) -> Take:
    facts = {"studies": ["mult"], "files": control.files_mark(workflow)}
    return lambda: office.take(facts)


def refused(workflow: Workflow) -> bool:
    with pytest.raises(AlreadyRunning, match="it begins all: stop it first"):
        control.start_launcher(workflow, only=workflow.state_dir / "only.json")
    return True


def test_one_that_was_started_since_it_was_looked_for_is_not_used(
    workflow: Workflow, take: Take
) -> None:
    take()
    assert refused(workflow)


def test_one_with_older_files_is_not_replaced(workflow: Workflow, take: Take) -> None:
    take()
    study = workflow.directory / "mult" / "bd.yaml"
    study.write_text(study.read_text() + "# more\n")

    assert refused(workflow)


def test_one_that_is_faster_is_not_used(
    workflow: Workflow, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(command: list[str], what: str, *_: object, **__: object) -> int:
        take()
        raise StartFailed(what, "another one is running", "launch.log")

    monkeypatch.setattr(daemon, "start", start)
    assert refused(workflow)


def test_whoever_wants_all_runs_uses_it(workflow: Workflow, take: Take) -> None:
    take()
    assert control.start_launcher(workflow).facts["studies"] == ["mult"]
