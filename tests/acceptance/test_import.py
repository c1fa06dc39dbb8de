"""A study that BlackDynamite made, brought here; the original is in `tests/support/data`."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from motoko.compat.base import Base
from motoko.compat.importing import import_study
from motoko.compat.selectors import RunSelector
from motoko.errors import ForeignDatabase, StudyExists, StudyNotFound
from tests.support.command_line import CommandLine
from tests.support.processes import kill_processes_of

ARCHIVE = Path(__file__).parents[1] / "support" / "data" / "blackdynamite-500.tar.xz"


@pytest.fixture
def original(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "original"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(directory, filter="data")
    yield directory
    kill_processes_of(tmp_path)


def marks(directory: Path) -> dict[str, Any]:
    """What is in a directory, to the last byte and the times of change."""
    return {
        str(p.relative_to(directory)): (
            p.stat().st_mtime_ns,
            blake2b(p.read_bytes()).hexdigest() if p.is_file() else "",
        )
        for p in sorted(directory.rglob("*"))
    }


@pytest.mark.slow
def test_everything_is_as_it_was_and_the_original_is_not_touched(
    original: Path, tmp_path: Path
) -> None:
    truth = json.loads((original / "truth.json").read_text())
    before = marks(original)

    done = import_study(original, tmp_path / "new")

    assert (done.n_jobs, done.n_runs, done.notes) == (500, 500, [])
    assert marks(original) == before
    with Base(host=f"zeo://{tmp_path / 'new'}") as base:
        pairs = RunSelector(base).selectRuns()
        assert len(pairs) == len(truth)
        for run, job in pairs:
            entries, values, quantities = truth[str(run.id)]
            assert job.entries == values
            for name in ("exec", "run_path"):  # a digest there; where the directory was then
                entries.pop(name)
            entries["state"] = entries["state"].replace("FAILURE", "FAILED")  # our spelling
            assert {name: run[name] for name in entries} == entries
            for name in quantities:
                frame = run.getQuantity(name)
                assert [list(frame.columns), frame.values.tolist()] == quantities[name]
            assert run.listQuantities() == sorted(quantities)
        assert {run.state for run, _ in pairs} == {
            "launched",
            "FINISHED",
            "FAILED",
            "FORWARDED",
        }
        assert len(RunSelector(base).selectRuns("x = 1.5, word = a, state = FINISHED")) == 9


@pytest.mark.slow
def test_command_brings_run_directories_along(original: Path, tmp_path: Path) -> None:
    line = CommandLine(tmp_path)

    said = line.run("import", "original/.bd", "new", "--copy-runs").stdout

    assert said.splitlines()[0] == f"500 jobs and 500 runs of many are in {tmp_path / 'new'}"
    (original / ".bd" / "bd.zeo").unlink()
    inside = CommandLine(tmp_path / "new")
    assert inside.json("info")["studies"][0]["total"]["FINISHED"] == 312
    assert (tmp_path / "new/BD-many-runs/run-1/q.csv").exists()
    inside.run("bd", "runs", "exec", "--run_id", "1", "ls", "q.csv")
    inside.run("bd", "jobs", "create", "--truerun")
    assert line.run("import", "new", "other", code=4).stderr.count("has no .bd/bd.zeo") == 1


@pytest.mark.slow
def test_import_refuses_what_it_should(original: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyNotFound, match=r"has the studies .*many: say which"):
        import_study(original, tmp_path / "new", study="other")
    (tmp_path / "taken" / ".bd").mkdir(parents=True)
    with pytest.raises(StudyExists):
        import_study(original, tmp_path / "taken")
    file = original / ".bd" / "bd.zeo"
    # The name of a class in a pickle, as long as the one that was there.
    file.write_bytes(
        file.read_bytes().replace(b"BlackDynamite.run_zeo", b"BlackDynamite.run_zeX")
    )
    with pytest.raises(ForeignDatabase, match=r"names BlackDynamite\.run_zeX\.RunZEO"):
        import_study(original, tmp_path / "new")
    assert not (tmp_path / "new").exists()
