"""Run directories that are packed away: what is left, what is read, what a crash leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.errors import ArchiveDamaged
from motoko.study import archive
from motoko.study.frame import write_csv
from motoko.study.usage import PACKED, usage
from motoko.workflow import Workflow
from tests.support.workflows import served_workflow


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workflow]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir(mode=0o700)
    with served_workflow(tmp_path / "w", "mult") as workflow:
        runs = workflow.mult.createTask(x=[1.0, 2.0, 3.0])
        for run, job in runs:
            directory = run.directory
            (directory / "sub" / "empty").mkdir(parents=True)
            (directory / "q.csv").write_text(f"step[int],q[float]\n1,{job.x}\n")
            (directory / "sub" / "tool").write_bytes(os.urandom(3000))
            (directory / "sub" / "tool").chmod(0o750)
            (directory / "link").symlink_to("sub/tool")
            run.state = "RUNNING"
            run.state = "FINISHED" if run.id < 3 else "RUNNING"
        yield workflow


def content(directory: Path) -> dict[str, tuple[int, bytes | str]]:
    return {
        str(p.relative_to(directory)): (
            p.lstat().st_mode,
            p.read_bytes() if p.is_file() and not p.is_symlink() else str(p.is_symlink()),
        )
        for p in sorted(directory.rglob("*"))
    }


def test_packed_runs_are_read_as_before(workflow: Workflow, tmp_path: Path) -> None:
    study = workflow.mult.base
    before = {i: content(study.run_dir(i)) for i in (1, 2)}
    times = study.run_dir(1) / "q.csv", study.run_dir(1) / "sub/tool"
    when = [file.stat().st_mtime_ns for file in times]
    frame = workflow.mult.dataframe()

    packed = archive.pack(study, [1, 2, 3], is_busy=lambda run_id: run_id == 2)
    again = archive.pack(study, [1, 2, 3], is_busy=lambda run_id: False)

    assert (packed.n_runs, again.n_runs, packed.n_files) == (1, 1, 2)
    assert [d.name for d in study.run_dirs().values()] == ["run-3"]
    assert workflow.mult.dataframe()[list(frame)].equals(frame)
    run = study.run(1)
    assert content(run.directory) == before[1]
    assert run.getQuantity("q").values.tolist() == [[1, 1.0]]
    assert Path(run.getFullFileName("sub/tool")).stat().st_size == 3000
    assert run.listQuantities() == ["q"]
    assert usage(study)[PACKED].n_files == 2
    assert usage(study)["RUNNING"].n_files == 3
    assert archive.unpack(study, [1, 2]) == 2
    assert {i: content(study.run_dir(i)) for i in (1, 2)} == before
    assert [file.stat().st_mtime_ns for file in times] == when
    assert "archive" not in study.run(1)


def test_archive_says_by_itself_what_it_holds(workflow: Workflow) -> None:
    study = workflow.mult.base

    [file] = archive.pack(study, [1, 2], is_busy=lambda run_id: False).archives

    with zipfile.ZipFile(file) as found:
        assert found.testzip() is None
        described = json.loads(found.read("archive.json"))
        rows = list(csv.DictReader(io.StringIO(found.read("runs.csv").decode())))
    assert (described["format"], described["study"], described["runs"]) == (1, "mult", [1, 2])
    assert [(row["run_id"], row["x"], row["state"]) for row in rows] == [
        ("1", "1.0", "FINISHED"),
        ("2", "2.0", "FINISHED"),
    ]


def test_packing_that_was_ended_goes_on(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = workflow.mult.base
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):
            archive.pack(study, [1, 2], is_busy=lambda run_id: False)
    assert list(study.run_dirs()) == [2, 3]

    packed = archive.pack(study, [1, 2], is_busy=lambda run_id: False)

    assert packed.n_runs == 0
    assert [path.name for path in study.runs_dir.iterdir()] == ["run-3"]
    assert len(list(archive.archives_dir(study).iterdir())) == 1


def test_damaged_archive_is_named(workflow: Workflow) -> None:
    study = workflow.mult.base
    [file] = archive.pack(study, [1], is_busy=lambda run_id: False).archives
    file.write_bytes(file.read_bytes()[:-30])

    with pytest.raises(ArchiveDamaged, match=r"archive-1\.zip"):
        study.run(1).getQuantity("q")


def test_table_is_written_in_one_step(workflow: Workflow, tmp_path: Path) -> None:
    write_csv(workflow.mult.dataframe("state = FINISHED"), tmp_path / "t.csv")

    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert [row["x"] for row in rows] == ["1.0", "2.0"]


def test_what_vanishes_while_room_is_measured_is_not_counted(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = workflow.mult.base
    scandir = os.scandir

    def vanish(place: str) -> Iterator[os.DirEntry[str]]:
        if place == str(study.run_dir(1)):
            shutil.rmtree(place)
        entries = scandir(place)
        if place == str(study.run_dir(2)):
            (study.run_dir(2) / "q.csv").unlink()
        return entries

    monkeypatch.setattr("motoko.study.usage.os.scandir", vanish)

    assert usage(study)["FINISHED"].n_files == 2


def test_a_table_goes_through_what_is_no_file(workflow: Workflow, tmp_path: Path) -> None:
    table = workflow.mult.dataframe()
    write_csv(table, tmp_path / "t.csv")
    pipe, link = tmp_path / "pipe", tmp_path / "link.csv"
    os.mkfifo(pipe)
    link.symlink_to("t.csv")

    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        write_csv(table, pipe)
        assert reader.read() == (tmp_path / "t.csv").read_bytes()
    write_csv(workflow.mult.dataframe("runs.id = 1"), link)

    assert pipe.is_fifo() and link.is_symlink()
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 2
