"""Which code runs were made with: kept once for each content, and compared with what is now."""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from motoko.study import commit, versions
from motoko.study.commit import find_commit
from motoko.study.files import content_digest
from motoko.workflow import Workflow, control
from motoko.workflow.upkeep import ending
from motoko.workflow.views import overview, rows
from tests.support.waiting import wait_until
from tests.support.workflows import no_daemons as no_daemons
from tests.support.workflows import run, served_workflow


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workflow]:
    monkeypatch.setattr(versions, "_LOOK_S", 0.0)
    monkeypatch.setattr(versions, "_SHARE", float("inf"))
    with served_workflow(tmp_path / "w", "mult") as workflow:
        (workflow.mult.base.directory / "src").mkdir()
        (workflow.mult.base.directory / "src" / "program.c").write_text("1")
        (workflow.mult.base.directory / "notes").write_text("1")
        yield workflow


def changed_files(workflow: Workflow) -> list[str]:
    study = workflow.mult.base
    with study.database.read() as tables:
        return sorted(overview.changed_files(study, tables))


def git(directory: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    command = ["git", *who, *arguments]
    return subprocess.run(
        command, cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_runs_say_what_they_were_made_with_and_what_has_changed_since(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    study = workflow.mult.base
    workflow.mult.createTask(x=1.0)
    n_stored = len(list((study.state_dir / "code").iterdir()))
    workflow.mult.createTask(x=2.0)
    assert changed_files(workflow) == []

    (study.directory / "src" / "program.c").write_text("2")
    (study.directory / "notes").unlink()
    (study.directory / "new").write_text("1")

    # Nothing more is kept of a run whose code is that of another.
    assert len(list((study.state_dir / "code").iterdir())) == n_stored
    with study.database.read() as tables:
        first, second = tables.run(1), tables.run(2)
        assert first["files"] == second["files"] and first.keys() == second.keys()
    code = rows.card(workflow, "mult.1").as_json()["code"]
    assert sorted(code["files"]) == ["bd.yaml", "launch.sh", "notes", "src/program.c"]
    assert list(code["given"]) == ["launch.sh"]
    assert "pytest" in code["python"]["packages"]
    changed = ["notes", "src/program.c"]
    assert sorted(code["changed_since"]) == changed
    assert changed_files(workflow) == changed

    # What is not given to a run is no reason to speak of it again.
    with caplog.at_level(logging.WARNING):
        assert workflow.mult.createTask(x=1.0)[0][0].id == 1
    assert caplog.text == ""
    workflow.mult.createTask(x=3.0)
    assert changed_files(workflow) == []
    with study.database.read() as tables:
        assert tables.run(3)["files"] != first["files"]
    (study.directory / "launch.sh").write_text("false\n")
    with caplog.at_level(logging.WARNING):
        workflow.mult.createTask(x=1.0)
    assert "another content of launch.sh" in caplog.text


def test_runs_with_the_same_files_are_not_outdated(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ensure_served", lambda workflow: None)
    study = workflow.mult.base
    for x in (1.0, 2.0):
        workflow.mult.createTask(x=x)
        (study.directory / "src" / "program.c").write_text(str(x))

    def n_outdated() -> int:
        cleaned = ending.clean(workflow, [], [], keep_backup=False, current_files=False)
        return cleaned.n_outdated

    assert n_outdated() == 0
    (study.directory / "launch.sh").write_text("false\n")
    assert n_outdated() == 2


def test_digests_are_computed_once(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    study = workflow.mult.base
    before = study.manifest()
    monkeypatch.setattr(versions, "content_digest", lambda path: 1 / 0)

    again = Workflow(str(workflow.directory)).mult.base.manifest()

    assert again == before


@pytest.mark.usefixtures("no_daemons")
def test_files_are_read_before_the_first_run_is_made(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = workflow.mult.base
    readers: set[str] = set()

    def digest(path: Path) -> str:
        readers.add(threading.current_thread().name)
        return content_digest(path)

    def said() -> bool:
        known = study.state_dir / "digests.json"
        return known.exists() and "src/program.c" in known.read_text()

    async def main(workflow: Workflow) -> None:
        await anyio.to_thread.run_sync(wait_until, said)
        workflow.mult.createTask(x=1.0)
        workflow.finished = True

    monkeypatch.setattr(versions, "content_digest", digest)
    run(workflow, main)

    assert readers == {"digests"}
    assert "src/program.c" in rows.card(workflow, "mult.1").as_json()["code"]["files"]


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_commit_is_found(tmp_path: Path) -> None:
    repository = tmp_path / "r"
    study = repository / "w" / "mult"
    study.mkdir(parents=True)
    (study / "launch.sh").write_text("true\n")
    assert find_commit(study) is None
    git(repository, "init")
    assert find_commit(study) is None
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")

    first = git(repository, "rev-parse", "HEAD")
    assert find_commit(study) == first
    assert commit.differs_from_commit(study) is False
    (study / "launch.sh").write_text("false\n")
    assert commit.differs_from_commit(study) is True
    git(repository, "worktree", "add", "../other", "-b", "other")
    git(repository, "commit", "-am", "second")
    git(repository, "pack-refs", "--all")
    second = git(repository, "rev-parse", "HEAD")
    assert find_commit(study) == second
    assert find_commit(tmp_path / "other" / "w" / "mult") == first
    git(repository, "checkout", "--detach", first)
    assert find_commit(study) == first
