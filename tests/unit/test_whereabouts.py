"""When databases are taken for those that they were, and when somebody is asked."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from motoko.cli import questions
from motoko.daemon import Office
from motoko.daemon.office import KEPT, PASSED, STOPPED
from motoko.errors import ConfigError, MovedOrCopied, RestoreUnfinished
from motoko.paths import local_lock_file
from motoko.store.migration import Instructions
from motoko.workflow import Workflow, control, put_back, whereabouts
from motoko.workflow.upkeep import settling
from motoko.workflow.upkeep.migrating import migrate_study
from motoko.workflow.whereabouts import Place
from tests.support.workflows import served_workflow, write_workflow

BEFORE = Place("/a/.wf", "one", 7, 1000)


@pytest.mark.parametrize(
    ("now", "is_same"),
    [
        (BEFORE, True),
        (Place("/b/.wf", "one", 7, 1000), True),  # renamed
        (Place("/a/.wf", "two", 9, 1000), True),  # the same, seen from another host
        (Place("/mnt/a/.wf", "two", 9, 1000), True),
        (Place("/a/.wf", "one", 9, 1000), True),  # mounted again
        (Place("/a/.wf", "one", 9, 2000), True),
        (Place("/b/.wf", "one", 9, 1000), False),  # on another file system
        (Place("/b/.wf", "one", 7, 2000), False),
        (Place("/a/.wf", "one", 7, 2000), False),  # the first was moved away
        (Place("/a/.wf", "two", 7, 2000), False),
    ],
)
def test_a_directory_is_the_same_as_far_as_it_can_be_told(now: Place, is_same: bool) -> None:
    assert now.is_same(BEFORE) is is_same


def workflow_in(directory: Path, yaml: str | None = None) -> Workflow:
    workflow = Workflow(str(write_workflow(directory, {"mult": yaml})))
    for place in whereabouts.state_dirs(workflow):
        place.mkdir()
    whereabouts.record(workflow)
    return workflow


def copy_of(workflow: Workflow) -> Workflow:
    directory = workflow.directory.with_name("copy")
    shutil.copytree(workflow.directory, directory, symlinks=True)
    return Workflow(str(directory))


def test_a_copy_or_half_a_backup_is_not_migrated_before_it_is_known_what_it_is(
    tmp_path: Path,
) -> None:
    workflow = workflow_in(tmp_path / "original")
    copied = copy_of(workflow)
    put_back.begin(workflow, tmp_path / "backup", ".wf/wf.db")

    with pytest.raises(MovedOrCopied):
        migrate_study(copied, "mult", Instructions())
    with pytest.raises(RestoreUnfinished):
        migrate_study(workflow, "mult", Instructions())


def test_a_read_only_file_system_is_named_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = workflow_in(tmp_path / "w")
    read_only = os.statvfs_result((4096, 4096, 9, 9, 9, 9, 9, 9, os.ST_RDONLY, 255))
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(os, "statvfs", lambda place: read_only)

    with pytest.raises(OSError, match="Read-only file system") as met:
        whereabouts.check_own(workflow)

    assert met.value.errno == errno.EROFS
    assert met.value.filename == str(workflow.directory)


def test_a_copy_starts_nothing_before_it_is_known_for_one(tmp_path: Path) -> None:
    original = workflow_in(tmp_path / "w")
    copy = copy_of(original)

    for start in (control.ensure_served, control.ensure_running):
        with pytest.raises(MovedOrCopied, match="still there: was it moved or copied") as met:
            start(copy)
    assert f"motoko place {copy.directory} --copied" in str(met.value)
    whereabouts.check(original)
    shutil.rmtree(original.directory)
    with pytest.raises(MovedOrCopied, match=r", on .*: was it moved"):
        whereabouts.check(copy)


def test_what_was_moved_goes_on_once_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(workflow_in(tmp_path / "w"))
    monkeypatch.setattr(click, "prompt", lambda *_, **__: "moved")

    with pytest.raises(MovedOrCopied) as met:
        whereabouts.check(copy)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(MovedOrCopied):
        questions.ask_what_it_is(met.value)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    questions.ask_what_it_is(met.value)

    whereabouts.check(copy)


def test_a_copied_study_is_noticed_too(tmp_path: Path) -> None:
    workflow = workflow_in(tmp_path / "w")
    shutil.copytree(workflow.directory / "mult", tmp_path / "other" / "mult")
    other = Workflow(str(write_workflow(tmp_path / "other", {"mult": None})))

    with pytest.raises(MovedOrCopied, match="other/mult was last used in"):
        whereabouts.check(other)


def test_a_copy_that_shares_run_directories_with_its_original_is_none(tmp_path: Path) -> None:
    yaml = f"study: mult\njob: {{x: float}}\noutpath: {tmp_path}\n"
    workflow = workflow_in(tmp_path / "w", yaml)
    workflow.mult.base.runs_dir.mkdir()
    copy = copy_of(workflow)

    with pytest.raises(
        ConfigError, match=r"outpath: directories of runs lie in .*BD-mult-runs"
    ):
        settling.settle(copy, is_copy=True)
    with pytest.raises(MovedOrCopied):
        whereabouts.check(copy)


def test_a_lock_that_lies_elsewhere_says_nothing_of_a_copied_office(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "w").mkdir()
    file = tmp_path / "w" / "server.lock"
    office = Office(file, "the server")
    office.take()
    owner = office.last_owner()
    office.leave()
    assert owner is not None
    lock = local_lock_file(file)
    facts = {**vars(owner), "lock": str(lock)}
    file.write_text(json.dumps(facts))
    shutil.copytree(tmp_path / "w", tmp_path / "copy")
    with open(lock, "w") as held:  # as where the file system has no locks
        fcntl.flock(held, fcntl.LOCK_EX)

        assert Office(file, "the server").owner() is not None
        copied = Office(tmp_path / "copy" / "server.lock", "its server")
        assert copied.owner() is None
        copied.take()
        copied.leave()


def test_an_office_that_was_copied_by_a_hard_link_is_nobodys(tmp_path: Path) -> None:
    for name in ("w", "copy"):
        (tmp_path / name).mkdir()
    office = Office(tmp_path / "w" / "server.lock", "the server")
    office.take()
    try:
        (tmp_path / "copy" / "server.lock").hardlink_to(office.file)

        assert Office(tmp_path / "copy" / "server.lock", "its server").owner() is None
        (tmp_path / "w").rename(tmp_path / "renamed")
        assert Office(tmp_path / "renamed" / "server.lock", "the server").owner() is not None
    finally:
        office.leave()


@pytest.mark.parametrize("note", [KEPT, PASSED, STOPPED])
def test_what_is_noted_of_a_process_is_not_of_the_first_one_of_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str
) -> None:
    original = workflow_in(tmp_path / "w")
    office = control.server_office(original)
    office.take()
    owner = office.owner()
    assert owner is not None
    office.note(owner, note)
    office.leave()
    copy = copy_of(original)
    monkeypatch.setattr(settling, "_make_own", lambda workflow, studies: 0)

    settling.settle(copy, is_copy=True)

    now = control.server_office(copy)
    now.take()
    first = now.owner()
    now.leave()
    assert first is not None and first.epoch == owner.epoch
    assert not now.is_noted(first, note)


@pytest.mark.slow
def test_a_copy_of_hard_links_gets_files_of_its_own(tmp_path: Path) -> None:
    with served_workflow(tmp_path / "w", "mult") as original:
        whereabouts.record(original)
        original.mult.createTask(x=1.0)
        office = control.server_office(original)
        office.take()
        copy = tmp_path / "copy"
        subprocess.run(["cp", "-al", original.directory, copy], check=True)
        try:
            settled = settling.settle(Workflow(str(copy)), is_copy=True)
        finally:
            office.leave()

    assert settled.n_runs == 0
    assert (copy / "mult/.bd/motoko.db").stat().st_nlink == 1
    whereabouts.check(Workflow(str(copy)))


def test_databases_say_where_they_are_before_a_launcher_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = Workflow(str(write_workflow(tmp_path / "w", {"mult": None})))

    def serve(workflow: Workflow, takeover: bool) -> None:
        for directory in whereabouts.state_dirs(workflow):
            directory.mkdir()

    def start_launcher(*_: object, **__: object) -> None:
        shutil.copytree(tmp_path / "w", tmp_path / "copy")

    monkeypatch.setattr(control, "_serve", serve)
    monkeypatch.setattr(control, "start_launcher", start_launcher)

    control.ensure_running(workflow)

    with pytest.raises(MovedOrCopied):
        whereabouts.check(Workflow(str(tmp_path / "copy")))
