"""``motoko backup`` copies what belongs together, disturbs nobody, and can be put back."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.errors import AlreadyRunning
from motoko.store.audit import problems
from motoko.store.transaction_log import TransactionLog
from motoko.workflow import Workflow
from motoko.workflow.places import server_office_in
from motoko.workflow.upkeep import backups
from motoko.workflow.upkeep.backups import back_up, restore
from tests.integration.test_decisions import DONE, die_at, state
from tests.support.command_line import CommandLine, new_workflow
from tests.support.dying_session import FIRST
from tests.support.finished import finished_once, here
from tests.support.varied import changed
from tests.support.workflows import served_workflow

__all__ = ["finished_once", "here"]
WAITS = """\
#!/bin/bash
while [ ! -e "../../../go" ]; do sleep 0.02; done
exec python3 doIt.py
"""


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path / "w", FIRST, "norm") as found:
        found.task_manager(FIRST).createTask(x=1.0)
        yield found


def put_back(workflow: Workflow, backup: Path, target: Path) -> Workflow:
    """The workflow anew, with nothing but its configuration and the backup."""
    others = shutil.ignore_patterns(".wf", ".bd", "BD-*", "motoko-backup-*")
    shutil.copytree(workflow.directory, target, ignore=others)
    found = Workflow(str(target))
    restore(found, backup)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("point", ["commit.decided", "commit.applied", "commit.through"])
def test_a_commit_that_is_half_in_the_backup_is_completed(
    workflow: Workflow, tmp_path: Path, point: str
) -> None:
    die_at(workflow, point)
    made = back_up(workflow)

    put_back(workflow, made.directory, tmp_path / "again")

    with changed(tmp_path / "again") as again:
        assert state(again) == DONE


def commit(workflow: Workflow, x: float) -> None:
    """Something in both studies and in the workflow's database."""
    with workflow.session():
        workflow.task_manager(FIRST).createTask(x=x)
        workflow.norm.createTask(x=x)
        workflow.vars.count = x


def committed(workflow: Workflow) -> list[float]:
    """What `commit` was called with, which must be the same in all databases."""
    found: list[list[float]] = []
    for name in (FIRST, "norm"):
        study = workflow.task_manager(name).base
        study.database.open_file(study.database_file)
        with study.database.read() as tables:
            assert problems(tables) == []
            found.append(sorted({tables.job(j)["x"] for j in tables.job_ids()} - {1.0}))
    workflow.vars.db.open_file(workflow.directory / ".wf/wf.db")
    with workflow.vars.db.read() as ledger:
        count = ledger.variables().get("count")
    workflow.close()
    assert found[0] == found[1]
    assert found[0][-1:] == ([] if count is None else [count])
    return found[0]


@pytest.mark.parametrize("moment", range(9))
@pytest.mark.parametrize("n_commits", [1, 2, 3])
def test_commits_at_any_moment_of_a_backup_are_in_it_or_not(
    workflow: Workflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: int,
    n_commits: int,
) -> None:
    workflow.run_name = "test"
    commit(workflow, 10.0)
    advance = TransactionLog.advance
    n_calls = 0

    def interrupted(log: TransactionLog) -> bool:
        nonlocal n_calls
        n_calls += 1
        if n_calls == moment + 1:
            for i in range(n_commits):  # each one lets the one before be forgotten
                commit(workflow, 11.0 + i)
        return advance(log)

    monkeypatch.setattr(TransactionLog, "advance", interrupted)
    made = back_up(workflow)
    monkeypatch.undo()

    assert n_calls > moment or moment >= 7
    found = committed(put_back(workflow, made.directory, tmp_path / "again"))
    assert found in ([10.0], [10.0, 11.0, 12.0, 13.0][: 1 + n_commits])


@pytest.mark.slow
def test_backups_taken_while_commits_go_on_are_consistent(
    workflow: Workflow, tmp_path: Path
) -> None:
    is_over = threading.Event()
    n_done = []

    def work() -> None:
        other = Workflow(str(workflow.directory))
        other.run_name = "test"
        while not is_over.is_set():
            commit(other, 10.0 + len(n_done))
            n_done.append(1)
        other.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        made = []
        while len(made) < 10 or len(n_done) < 50:
            made.append(back_up(workflow, tmp_path / f"b{len(made)}").directory)
    finally:
        is_over.set()
        thread.join()

    for i, backup in enumerate(made[:: len(made) // 10]):
        committed(put_back(workflow, backup, tmp_path / f"again{i}"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["continued", "repaired"])
def test_a_backup_of_a_running_workflow_is_put_back(tmp_path: Path, how: str) -> None:
    with new_workflow(tmp_path / "demo") as here:
        (here.directory / "sample/launch.sh").write_text(WAITS)
        with here.started("run", "--run_name", "first") as running:
            here.wait_for_script("sample")
            out = here.run("backup", "--to", str(tmp_path / "b")).stdout
            (here.directory / "go").touch()
            assert running.wait(60) == 0
        here.run("kill")
        assert f"to {tmp_path / 'b'}" in out and "sample, mean" in out
        results = here.json("runs", "list", "sample")
        for file in here.directory.glob("*/.bd/motoko.db"):
            file.write_bytes(b"lost")

        put = here.run("backup", "--restore", str(tmp_path / "b"), code=10).stdout

        assert "what they replace is in" in put
        assert "not done: mean: run 1: they were made since the backup" in put
        assert here.json("runs", "list", "sample") == results
        assert here.json("runs", "list", "mean") == []
        if how == "repaired":
            here.run("repair")
            assert [run["state"] for run in here.json("runs", "list", "mean")] == ["FINISHED"]
        else:
            here.run("run", "--run_name", "first")
            assert here.json("runs", "list", "sample") == results
        assert here.run("verify").stdout.endswith("no findings\n")


def test_it_refuses_to_overwrite_a_directory(here: CommandLine) -> None:
    (here.directory / "there").mkdir()

    error = here.run("backup", "--to", "there", code=9).stderr

    assert "there: is there already" in error


def test_a_backup_that_was_damaged_is_refused(here: CommandLine) -> None:
    here.run("backup", "--to", "b")
    copy = here.directory / "b/sample/.bd/motoko.db"
    os.truncate(copy, copy.stat().st_size - 1)
    before = (here.directory / "sample/.bd/motoko.db").read_bytes()

    error = here.run("backup", "--restore", "b", code=7).stderr

    assert "b/sample/.bd/motoko.db: is not what backup.json says" in error
    assert (here.directory / "sample/.bd/motoko.db").read_bytes() == before


def test_what_is_no_backup_is_refused(here: CommandLine) -> None:
    (here.directory / "b").mkdir()

    assert "no backup" in here.run("backup", "--restore", "b", code=4).stderr


@pytest.mark.slow
def test_nothing_is_put_back_while_something_runs(here: CommandLine) -> None:
    here.run("backup", "--to", "b")
    here.run("server", "start")
    try:
        assert "motoko kill" in here.run("backup", "--restore", "b", code=6).stderr
    finally:
        here.run("kill")


def test_nothing_is_put_back_while_a_script_executes(here: CommandLine) -> None:
    here.run("backup", "--to", "b")
    database = here.directory / "sample/.bd/motoko.db"
    before = database.stat()

    with open(here.directory / "sample/BD-sample-runs/run-1/.motoko-token-1") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = here.run("backup", "--restore", "b", code=6).stderr

    assert f"1 run still executes in {here.directory}\n" in refused
    assert "sample.1\n" in refused and "`motoko kill --reset`" in refused
    assert database.stat() == before
    here.run("backup", "--restore", "b")


@pytest.mark.slow
def test_nothing_starts_from_a_backup_that_is_put_back_by_half(
    here: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = here.directory / "its copy"
    here.run("backup", "--to", str(backup))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backups, "rebuild_databases", die)
        with pytest.raises(KeyboardInterrupt):
            restore(Workflow(str(here.directory)), backup)
    again = f"`motoko backup {here.directory} --restore '{backup}'`"

    assert again in here.run("server", "start", code=7).stderr
    assert again in here.run("run", "--run_name", "first", code=7).stderr
    assert again in here.run("backup", "--to", "mixed", code=7).stderr
    assert again in here.run("repair", code=7).stderr
    assert again in here.run("verify", code=10).stdout
    assert again in here.run("info").stdout
    here.run("backup", "--restore", str(backup))
    assert here.run("verify").stdout.endswith("no findings\n")
    assert again not in here.run("info").stdout


def put_back_until(here: CommandLine, backup: Path, point: str) -> None:
    """Put a backup back, which dies when it comes to a point for the first time."""

    def reached(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "reached", reached)
        with pytest.raises(KeyboardInterrupt):
            restore(Workflow(str(here.directory)), backup)


@pytest.mark.slow
def test_a_backup_without_what_was_put_back_by_half_does_not_complete_it(
    here: CommandLine,
) -> None:
    here.run("backup", "--to", "b")
    put_back_until(here, here.directory / "b", "restore.stored")
    part = here.directory / "part"
    (part / "sample/.bd").mkdir(parents=True)
    shutil.copy(here.directory / "b/sample/.bd/motoko.db", part / "sample/.bd")

    refused = here.run("backup", "--restore", "part", code=4).stderr
    still = here.run("server", "start", code=7).stderr
    [aside] = here.directory.glob("motoko-backup-*")
    here.run("backup", "--restore", str(aside))

    assert "has no .wf/wf.db, which was put back by half from another backup" in refused
    assert "a backup was put back by half" in still
    assert here.run("verify").stdout.endswith("no findings\n")


def test_no_server_starts_while_a_backup_is_put_back(
    here: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.run("backup", "--to", "b")
    refused = []

    def reached(name: str) -> None:
        with pytest.raises(AlreadyRunning):
            server_office_in(here.directory / ".wf").take()
        refused.append(name)

    monkeypatch.setattr(backups, "reached", reached)

    restore(Workflow(str(here.directory)), here.directory / "b")

    assert refused[0] == "restore.aside" and refused[-1] == "restore.replaced"
    assert server_office_in(here.directory / ".wf").owner() is None


@pytest.mark.slow
def test_a_copy_of_what_was_put_back_by_half_gets_no_databases_of_its_own(
    here: CommandLine, tmp_path: Path
) -> None:
    here.run("server", "start")
    here.run("kill")
    here.run("backup", "--to", "b")
    put_back_until(here, here.directory / "b", "restore.stored")
    copy = shutil.copytree(
        here.directory, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock")
    )

    refused = here.run("place", str(copy), "--copied", code=7).stderr
    here.run("backup", str(copy), "--restore", str(copy / "b"))

    assert "a backup was put back by half" in refused
    here.run("place", str(copy), "--copied")


@pytest.mark.slow
def test_what_create_sets_aside_is_a_backup_too(here: CommandLine) -> None:
    results = here.json("runs", "list", "sample")
    here.run("create", "--validated")
    here.run("kill")
    [aside] = here.directory.glob("motoko-backup-*")
    for name in ("sample", "mean"):
        shutil.move(aside / name / f"BD-{name}-runs", here.directory / name)

    here.run("backup", "--restore", str(aside))

    assert here.json("runs", "list", "sample") == results
    assert here.run("verify").stdout.endswith("no findings\n")


@pytest.mark.slow
def test_restore_speaks_rightly_of_deleted_runs_and_of_holds_that_were_released(
    here: CommandLine,
) -> None:
    here.run("launcher", "hold")
    here.run("launcher", "release")
    here.run("backup", "--to", "full")
    here.run("runs", "delete", "sample.1")
    here.run("backup", "--to", "less")

    without = here.run("backup", "--restore", "less").stdout
    repaired = here.run("repair").stdout
    here.run("backup", "--restore", "full")
    verified = here.run("verify", code=10).stdout

    assert "could not be read" not in without
    assert "missing" not in without + repaired
    [kept] = here.directory.glob("motoko-backup-*/sample/BD-sample-runs/run-1")
    advice = f"move it back from {kept.parent}, or compute the run again with `motoko clean`"
    assert advice in verified
