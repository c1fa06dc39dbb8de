"""Commands that look after databases may die between their steps: the same command again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

from motoko.crashpoints import VARIABLE
from motoko.workflow import Workflow
from tests.acceptance.test_import import ARCHIVE
from tests.support.command_line import CommandLine
from tests.support.processes import kill_processes_of
from tests.support.varied import STUDY, copied, picture, varied_once
from tests.support.waiting import wait_until

__all__ = ["varied_once"]
pytestmark = pytest.mark.slow


@pytest.fixture
def here(varied_once: Path, tmp_path: Path) -> CommandLine:
    return copied(varied_once, tmp_path / "w")


def die(here: CommandLine, point: str, *command: str) -> None:
    """Have a command die at a point; what it started is ended."""
    crash_at = {VARIABLE: f"{point}:{here.directory / f'died at {point}'}"}
    with here.started(*command, **crash_at) as process:
        said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    here.run("kill")


def findings(here: CommandLine) -> Any:
    return here.json("verify")["findings"]


@pytest.mark.parametrize("point", ["archive.made", "archive.told"])
def test_run_directories_are_packed_by_the_next_call(here: CommandLine, point: str) -> None:
    before = picture(here.directory)

    die(here, point, "archive", "calc")
    here.run("archive", "calc")

    rows, finished = picture(here.directory), 0
    for run_id, (row, *rest) in rows.items():
        finished += row.pop("archive", None) is not None
        assert (row, *rest) == before[run_id]
    assert finished > 0
    assert findings(here) == []
    here.run("archive", "calc", "--unpack")
    assert findings(here) == []


def test_run_directories_are_unpacked_by_the_next_call(here: CommandLine) -> None:
    before = picture(here.directory)
    here.run("archive", "calc")

    die(here, "archive.unpacked", "archive", "calc", "--unpack")
    here.run("archive", "calc")
    here.run("archive", "calc", "--unpack")

    assert findings(here) == []
    assert picture(here.directory).keys() == before.keys()


def test_a_backup_is_there_as_a_whole_or_not(here: CommandLine) -> None:
    for point in ("backup.databases", "backup.copied"):
        die(here, point, "backup", "--to", "b")
        assert not (here.directory / "b").exists()

    here.run("backup", "--to", "b")
    assert sorted(path.name for path in here.directory.glob("b*")) == ["b"]


def test_a_backup_is_put_back_by_the_next_call(varied_once: Path, tmp_path: Path) -> None:
    before = picture(varied_once)
    made = copied(varied_once, tmp_path / "w")
    made.run("backup", "--to", "b")

    for point in (
        *("restore.aside", "database.placed", "restore.placed", "restore.stored"),
        *("restore.stored#2", "restore.replaced"),
    ):
        here = copied(made.directory, tmp_path / point)
        shutil.rmtree(here.directory / "calc/.bd/files")
        die(here, point, "backup", "--restore", "b")
        here.run("backup", "--restore", "b")

        assert picture(here.directory) == before, point
        assert findings(here) == [], point


@pytest.mark.parametrize("point", ["repair.aside", "repair.replaced"])
def test_a_database_is_rebuilt_by_the_next_call(here: CommandLine, point: str) -> None:
    before = picture(here.directory)
    os.truncate(here.directory / "calc/.bd/motoko.db", 9000)

    die(here, point, "repair")
    assert here.run("run", "-n", "again", code=7 if point == "repair.aside" else 5).stderr
    here.run("kill")
    here.run("repair")

    known = picture(here.directory)
    assert {run_id: known[run_id] for run_id in before} == before
    assert findings(here) == []


@pytest.mark.parametrize("point", ["place.disowned", "place.settled"])
def test_a_copy_is_settled_by_the_next_call(
    varied_once: Path, tmp_path: Path, point: str
) -> None:
    before = picture(varied_once)
    here = CommandLine(
        copytree(varied_once, tmp_path / "copy", ignore=ignore_patterns("*.sock"))
    )

    die(here, point, "place", ".", "--copied")
    here.run("place", ".", "--copied")

    assert here.run("place", ".").stdout.endswith("is where it was\n")
    assert picture(here.directory) == before
    assert findings(here) == []


def test_stored_files_are_stored_again_by_the_next_call(
    varied_once: Path, tmp_path: Path
) -> None:
    before = picture(varied_once)
    for point in ("database.placed", "repair.storing", "repair.storing#2", "repair.stored"):
        here = copied(varied_once, tmp_path / point)
        os.truncate(here.directory / "calc/.bd/motoko.db", 9000)
        for stored in (here.directory / "calc/.bd/files").iterdir():
            stored.chmod(0o600)
            stored.write_bytes(b"?" * stored.stat().st_size)

        die(here, point, "repair")
        here.run("repair")

        known = picture(here.directory)
        assert {run_id: known[run_id] for run_id in before} == before, point
        assert findings(here) == [], point


@pytest.mark.parametrize("point", ["delete.removed", "delete.moved"])
def test_directories_of_runs_that_were_half_deleted_are_named(
    here: CommandLine, point: str
) -> None:
    before = picture(here.directory)

    die(here, point, "runs", "delete", "calc.1", "calc.2")
    assert not {1, 2} & picture(here.directory).keys()
    [written] = here.directory.glob("motoko-backup-*/calc/deleted-runs.json")
    told = json.loads(written.read_text())["runs"]
    [found] = here.json("verify", code=10)["findings"]
    here.run("repair")

    assert [one["run"]["id"] for one in told] == [1, 2]
    assert [one["attempts"] != [] for one in told] == [True, True]
    left = {"delete.removed": {1, 2}, "delete.moved": {2}}[point]
    assert found["what"].startswith(f"run{'s' * (len(left) > 1)} {', '.join(map(str, left))}: ")
    known = picture(here.directory)
    assert known == {i: row for i, row in before.items() if i in known}
    assert before.keys() - known.keys() == {1, 2} - left


def rows(here: CommandLine) -> dict[int, Any]:
    """What the database has of all runs."""
    workflow = Workflow(str(here.directory))
    study = workflow.task_manager(STUDY).base
    study.database.open_file(study.database_file)
    try:
        with study.database.read() as tables:
            return {
                run_id: (tables.run(run_id), tables.job(tables.run(run_id)["job_id"]))
                for run_id in tables.run_ids()
            }
    finally:
        workflow.close()


def left(here: CommandLine) -> dict[str, Any]:
    """What a command has left: rows, run directories, and the files of all dated backups."""
    backups = list(here.directory.glob("motoko-backup-*"))
    kept = {p.relative_to(b) for b in backups for p in b.rglob("*") if not p.is_dir()}
    own = {".wf", ".bd"}  # logs, sockets and locks among it
    return {
        "rows": rows(here) if (here.directory / "calc/.bd/motoko.db").exists() else None,
        "run directories": sorted(p.name for p in here.directory.glob("calc/BD-*/run-*")),
        "kept": sorted(str(p) for p in kept if not own & {*p.parts} and p.name[0] != "."),
        "hidden": sorted(p.name for p in here.directory.glob(".*")),
    }


_NEW_YAML = (
    "study: calc\njob: {x: int, word: str}\nrun: {y: float, method: str, walltime: str}\n"
)
#: Commands, and the points that they come to.
_WALKS = {
    "runs retry calc.4 calc.5 --clean-dir": ["retry.said", "retry.created"],
    "runs retry calc.4 calc.5": ["retry.said"],
    "runs update calc.4 calc.5 state=CREATED": ["retry.said"],
    "runs delete calc.1 calc.2": ["delete.described"],
    "clean": ["clean.created", "clean.moved#3"],
    "clean --no-backup --current-files": ["clean.moved#3"],
    "create --validated": ["reset.moved", "reset.moved#2", "reset.complete"],
    "create --validated --no-backup": ["reset.moved#2", "reset.complete"],
    "clean --delete --validated": ["reset.moved#2", "reset.complete"],
    "study migrate calc --rename s=word": ["migrate.aside", "migrate.copied"],
}


@pytest.mark.parametrize("command", _WALKS)
def test_the_next_call_does_what_is_left(
    command: str, varied_once: Path, tmp_path: Path
) -> None:
    def prepared(name: str) -> CommandLine:
        here = copied(varied_once, tmp_path / name)
        if "migrate" in command:
            (here.directory / "calc/bd.yaml").write_text(_NEW_YAML)
        return here

    undisturbed = prepared("undisturbed")
    undisturbed.run(*command.split())
    undisturbed.run("kill")
    expected = left(undisturbed)
    for point in _WALKS[command]:
        here = prepared(point)

        die(here, point, *command.split())
        here.run(*command.split())
        here.run("kill")

        assert left(here) == expected, point
        if "create" in command:
            assert len(list(here.directory.glob("motoko-backup-*"))) <= 1, point
        if "delete" not in command:
            assert findings(here) == [], point


def test_runs_whose_scripts_were_ended_are_put_back_by_the_next_call(
    here: CommandLine,
) -> None:
    (here.directory / "calc/launch.sh").write_text("trap 'exit 3' TERM\nsleep 60 & wait\n")
    here.run("runs", "retry", "calc.4", "--clean-dir", "--current-files")
    here.run("launcher", "start")
    here.wait_for_script("calc")
    token = here.directory / "calc/BD-calc-runs/run-4/.motoko-token-2"
    wait_until(lambda: token.exists() and "started" in token.read_text())

    die(here, "reset.ended", "kill", "--reset")
    said = here.run("kill", "--reset").stdout

    assert "1 run back to CREATED" in said
    assert rows(here)[4][0]["state"] == "CREATED"
    assert here.run("kill", "--reset").stdout.startswith("0 runs")


_PACK = """\
import sys
from pathlib import Path

from motoko.store import server

server._PACK_KEEP_S = -1.0
storage = server._Storage(Path(sys.argv[1]), server._Watch(lambda: None))
storage._pack()
storage.close()
"""


def test_a_database_whose_pack_was_killed_is_there_as_a_whole(
    varied_once: Path, tmp_path: Path
) -> None:
    before = picture(varied_once)
    for point in ("pack.copied", "pack.placed", "pack.indexed"):
        here = copied(varied_once, tmp_path / point)
        file = here.directory / "calc/.bd/motoko.db"
        command = [sys.executable, "-c", _PACK, str(file)]
        crash_at = {VARIABLE: f"{point}:{here.directory / 'died'}"}

        codes = []
        for _ in range(2):
            codes.append(subprocess.run(command, env={**os.environ, **crash_at}).returncode)
            assert picture(here.directory) == before, point
            assert findings(here) == [], point

        assert codes == [-signal.SIGKILL, 0]
        assert not list(file.parent.glob("motoko.db.[po][al][cd]*[!d]")), point


def test_a_study_that_was_half_imported_is_imported_by_the_next_call(tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "original", filter="data")
    line = CommandLine(tmp_path)
    here = CommandLine(tmp_path / "calc")
    shutil.rmtree(here.directory)
    command = ("import", "original", "calc", "--copy-runs")
    try:
        expected = None
        for point in ("", "import.configured", "import.jobs", "import.runs", "import.copied#9"):
            if point:
                crash_at = {VARIABLE: f"{point}:{tmp_path / point}"}
                with line.started(*command, **crash_at) as process:
                    said = process.communicate(timeout=60)
                assert process.returncode == -signal.SIGKILL, said
            line.run(*command)
            found = (
                here.json("runs", "list", "many", "--all"),
                sorted(p.name for p in here.directory.glob("BD-*/*")),
            )
            expected = expected or found
            assert found == expected, point
            assert here.json("verify")["findings"] == [], point
            line.run(*command, code=3)
            shutil.rmtree(here.directory)
    finally:
        kill_processes_of(tmp_path)
