"""Commands that read while the server of a workflow comes to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from motoko.cli import reading
from motoko.cli.places import load_workflow
from motoko.daemon import process
from motoko.errors import DatabaseUnavailable
from motoko.workflow import Workflow, control, opening
from motoko.workflow.views import overview, rows
from tests.support.processes import kill_processes_of
from tests.support.workflows import write_workflow


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    write_workflow(tmp_path, {"mult": None})
    workflow = Workflow(str(tmp_path))
    control.ensure_served(workflow)
    workflow.run_name = "first"
    workflow.mult.createTask(x=1)
    workflow.close()
    yield tmp_path
    kill_processes_of(tmp_path)


def n_listed(workflow: Workflow) -> int:
    """Runs of its study."""
    return rows.listed(workflow.task_manager("mult").base, [], run_name=None, limit=None).n_runs


def ending_first(gather: Callable[[Workflow], int]) -> Callable[[Workflow], int]:
    """The server ends when the databases are open, and before anything is read."""

    def gathered(workflow: Workflow) -> int:
        office = control.server_office(workflow)
        if office.owner() is not None:
            process.stop(office)
        return gather(workflow)

    return gathered


@pytest.mark.slow
def test_what_was_cut_off_by_the_end_of_a_server_is_read_without_it(directory: Path) -> None:
    assert reading.read(str(directory), ending_first(n_listed), "mult") == 1


@pytest.mark.parametrize("opened_last", ["open_study", "open_ledger"])
def test_who_looks_at_the_end_is_told_of_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch, opened_last: str
) -> None:
    real = getattr(opening, opened_last)

    def and_end(*arguments: object) -> None:
        real(*arguments)
        if (office := control.server_office(Workflow(str(directory)))).owner() is not None:
            process.stop(office)

    monkeypatch.setattr(opening, opened_last, and_end)

    found = reading.steadily(
        lambda: load_workflow(str(directory)),
        lambda workflow: overview.look(workflow, (), None),
        lambda found: found.is_cut_off,
    )

    assert (found.server, found.error, found.troubles) == (None, None, [])
    assert [(study.error, sum(study.total.values())) for study in found.studies] == [(None, 1)]


def test_a_server_that_is_silent_is_no_server_that_has_gone(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_tries = 0
    monkeypatch.setattr(reading, "_PARTING_S", 0.1)

    def failing(workflow: Workflow) -> int:
        nonlocal n_tries
        n_tries += 1
        raise DatabaseUnavailable("mult", "it is silent")

    with pytest.raises(DatabaseUnavailable):
        reading.read(str(directory), failing, "mult")

    assert n_tries == 1
