"""What keeps a workflow from going on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from motoko import host
from motoko.daemon import Office, Owner
from motoko.errors import DatabaseLost
from motoko.workflow import control
from motoko.workflow.views.troubles import full_disks, standing_troubles, troubles
from motoko.workflow.workflow import Workflow
from tests.support.workflows import write_workflow


def test_what_the_launcher_says_in_its_office_is_a_trouble(tmp_path: Path) -> None:
    workflow = Workflow(str(write_workflow(tmp_path, {"mult": None})))
    office = control.launcher_office(workflow)
    office.take({"troubles": [{"what": "cannot write in /x", "why": "it is full", "since": 1}]})
    try:
        assert list(troubles(workflow)) == ["cannot write in /x: it is full"]
    finally:
        office.leave()


@pytest.mark.parametrize("lived_s", [1.0, 20.0])
def test_deaths_of_others_are_no_trouble_once_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lived_s: float
) -> None:
    workflow = Workflow(str(write_workflow(tmp_path, {"mult": None})))
    office = control.server_office(workflow)
    now = host.boot_clock()
    owner = Owner(
        host=host.host_name(),
        boot=host.boot_id(),
        pid=os.getpid(),
        started=host.process_start_time(os.getpid()),
        epoch=15,
        began=0.0,
        facts={},
        n_fallen=14,
        clock=now - lived_s,
    )
    monkeypatch.setattr(Office, "owner", lambda at: owner if at.file == office.file else None)

    found = "".join(troubles(workflow))

    assert ("has died 14 times in a row soon after it began" in found) is (lived_s < 10.0)


_NEARLY_FULL = (
    "less than 1 MB is left on the disk of {}: free some; what cannot be recorded waits"
)


@pytest.mark.parametrize(
    ("n_blocks", "n_files", "words"),
    [
        (0, 5, _NEARLY_FULL),
        (200, 5, _NEARLY_FULL),
        (10_000, 0, "no more files fit on the disk of {}: remove some, and all goes on"),
        (10_000, 5, ""),
    ],
)
def test_full_disk_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_blocks: int, n_files: int, words: str
) -> None:
    workflow = Workflow(str(write_workflow(tmp_path, {"mult": None})))
    disk = os.statvfs_result((4096, 4096, 9, n_blocks, n_blocks, 9, n_files, n_files, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda place: disk)

    found = list(full_disks(workflow, is_at_work=True))
    at_rest = list(standing_troubles(workflow))

    assert len(at_rest) == bool(words)
    assert found == ([words.format(tmp_path)] if words else [])
    assert all(text.endswith(" some, then run again") for text in at_rest)


def test_a_lost_database_is_said_without_commands_that_would_begin_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = Workflow(str(write_workflow(tmp_path, {"mult": None})))
    for office in (control.server_office(workflow), control.launcher_office(workflow)):
        office.take()
        office.leave()
    at_rest = list(troubles(workflow))

    def lose(_: Workflow) -> None:
        raise DatabaseLost("mult.db", "is gone", 3)

    monkeypatch.setattr(control, "check_not_lost", lose)
    lost = list(troubles(workflow))

    assert any("until `motoko server start" in text for text in at_rest)
    assert len(lost) == 1
    assert lost[0].startswith(str(DatabaseLost("mult.db", "is gone", 3)))
