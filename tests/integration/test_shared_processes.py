"""Server and launcher of commands that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from motoko.daemon import Owner
from motoko.workflow import Workflow, control
from tests.support.processes import kill_processes_of
from tests.support.workflows import write_workflow


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    write_workflow(tmp_path, {"mult": None})
    yield tmp_path
    kill_processes_of(tmp_path)


def running(workflow: Workflow) -> list[Owner | None]:
    """Who serves, and who launches."""
    offices = control.server_office(workflow), control.launcher_office(workflow)
    return [office.owner() for office in offices]


@pytest.mark.slow
def test_the_last_of_several_commands_stops_what_the_first_has_started(directory: Path) -> None:
    command, run, other_run = (Workflow(str(directory)) for _ in range(3))
    with ExitStack() as last:
        with ExitStack() as second:
            with control.server_kept_as_it_was(command):
                control.ensure_served(command)
                second.enter_context(control.in_custody(run))
                control.ensure_running(run)
                server, launcher = running(run)
            after_the_command = running(run)
            last.enter_context(control.in_custody(other_run))
            control.ensure_running(other_run)
        after_a_run = running(run)
        other_run.vars.answer = 42
    at_the_end = running(run)

    assert server is not None and launcher is not None
    assert after_the_command == [server, launcher]
    assert after_a_run == [server, launcher]
    assert at_the_end == [None, None]


@pytest.mark.slow
def test_what_was_asked_for_by_itself_stays_after_a_command(directory: Path) -> None:
    command, by_hand, later = (Workflow(str(directory)) for _ in range(3))
    with control.server_kept_as_it_was(command):
        control.ensure_served(command)
        control.start_launcher(by_hand)
        server, launcher = running(by_hand)
    after_the_command = running(by_hand)
    control.ensure_served(by_hand)  # `motoko server start`
    by_hand.close()
    with control.in_custody(later):
        control.ensure_running(later)

    assert server is not None and launcher is not None
    assert after_the_command == [server, launcher]
    assert running(later) == [server, launcher]
