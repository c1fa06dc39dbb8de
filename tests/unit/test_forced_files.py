"""What is replaced in one step is on disk before it has its name, and its name after that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from motoko.durable import replace_file
from motoko.job import facts
from motoko.job.journal import list_journals
from motoko.job.record import Run
from motoko.store.transaction_log import MAGICS, TransactionLog
from motoko.study.files import FileStore
from motoko.workflow import Workflow
from motoko.workflow.upkeep.backups import back_up, restore
from tests.support.workflows import served_workflow


def _noted(found: list[str], name: str, call: Callable[..., Any], *arguments: Any) -> None:
    found.append(name)
    call(*arguments)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls, in their order."""
    found: list[str] = []
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, partial(_noted, found, name, getattr(os, name)))
    return found


def test_a_file_is_forced_then_named_then_its_name_is_forced(
    calls: list[str], tmp_path: Path
) -> None:
    replace_file(tmp_path / "a", [b"content"])

    assert calls == ["fsync", "replace", "fsync"]


def test_a_stored_file_is_forced_before_it_has_its_name(
    calls: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"content")

    FileStore(tmp_path / "files").keep(tmp_path / "a")

    assert calls[:2] == ["fsync", "replace"]


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is forced to disk, and ``-> NAME`` of what is given a name, in order."""
    found: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(fd: int) -> None:
        found.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        fsync(fd)

    def noted_replace(source: Any, target: Any) -> None:
        found.append(f"-> {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    return found


def test_what_the_job_side_replaces_has_its_name_on_disk(
    forced: list[str], tmp_path: Path
) -> None:
    facts.replace_file(str(tmp_path / "outcome"), b"content")

    assert forced[1:] == ["-> outcome", tmp_path.name]


@pytest.mark.parametrize("say", [Run.finish, Run.fail])
def test_quantities_are_on_disk_before_it_is_said_how_the_run_ended(
    forced: list[str], tmp_path: Path, say: Callable[[Run], None]
) -> None:
    told = {"study": "mult", "run_id": 3, "job_id": 2, "attempt": 1, "nonce": "n"}
    run = Run(str(tmp_path), told)
    run.push_quantity(1.0, 1, "norm")
    run.push_quantity(1.0, 1, "gone")
    run.file("gone.csv").unlink()

    say(run)

    [journal] = list_journals(tmp_path, 1)
    assert forced == ["norm.csv", tmp_path.name, Path(journal).name]


def test_a_copy_of_a_database_is_on_disk(forced: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(MAGICS[0])

    with TransactionLog(tmp_path / "a.db") as log:
        log.copy_to(tmp_path / "b.db")

    assert forced == ["b.db"]


def test_backups_are_on_disk_when_made_and_when_put_back(
    forced: list[str], tmp_path: Path
) -> None:
    with served_workflow(tmp_path / "w", "mult") as workflow:
        workflow.mult.createTask(x=1.0)
        (stored,) = (workflow.mult.base.state_dir / "files").iterdir()
        forced.clear()
        target = back_up(workflow, tmp_path / "backup").directory
        made = list(forced)
    directory = Path(workflow.directory)
    shutil.rmtree(workflow.mult.base.state_dir)
    forced.clear()
    restore(Workflow(str(directory)), target)

    assert {"wf.db", "motoko.db", stored.name, ".backup.json.new", "files"} <= {*made}
    assert made[-1] == tmp_path.name
    for name in ("wf.db", "motoko.db"):
        named = forced.index(f"-> {name}")
        assert f"{name}.unfinished" in forced[:named]
        assert forced[named + 1] in (".wf", ".bd")
    assert f".{stored.name}.unfinished" in forced[: forced.index(f"-> {stored.name}")]
