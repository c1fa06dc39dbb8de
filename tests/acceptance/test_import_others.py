"""Studies of BlackDynamite that name, or call, things as they cannot be here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.compat import importing
from motoko.compat.base import Base
from motoko.compat.importing import import_study
from motoko.errors import StudyExists
from motoko.host import host_name
from motoko.job.layout import RUN_FILE
from motoko.store.foreign import ForeignStudy
from tests.support.command_line import CommandLine
from tests.support.processes import kill_processes_of

YAML = "study: s\njob: {x: float}\nrun: {kind: str}\nconfig_files: [../common/lib.py]\n"


def found(**entries: Any) -> ForeignStudy:
    """A study with two runs, which have these entries besides."""
    study = ForeignStudy("s", {"id": "int", "x": "float"}, {"kind": "str"})
    for number in (1, 2):
        usual = {"id": number, "job_id": number, "run_name": "r", "nproc": 1, "kind": "a"}
        study.jobs[number] = {"id": number, "x": float(number)}
        study.runs[number] = {**usual, "state": "FINISHED", **entries}
        study.run_files[number], study.quantities[number] = [], []
    return study


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForeignStudy]:
    """What is read of the database in ``there/s``."""
    study = found()
    monkeypatch.setattr(importing, "read_foreign", lambda file: {"root_s": study})
    directory = tmp_path / "there" / "s"
    (directory / ".bd").mkdir(parents=True)
    (directory / ".bd" / "bd.zeo").touch()
    (directory / "bd.yaml").write_text(YAML)
    (directory / "launch.sh").write_text("true\n")
    (tmp_path / "there" / "common").mkdir()
    (tmp_path / "there" / "common" / "lib.py").write_text("pass\n")
    yield study
    kill_processes_of(tmp_path)


@pytest.mark.parametrize("name", ["bd.yaml", "launch.sh", "../common/lib.py"])
def test_no_file_of_the_users_is_overwritten(
    there: ForeignStudy, tmp_path: Path, name: str
) -> None:
    own = tmp_path / "here" / "s" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine\n")

    with pytest.raises(StudyExists, match=f"would overwrite .*{Path(name).name}; move that"):
        import_study(tmp_path / "there" / "s", tmp_path / "here" / "s")

    assert own.read_text() == "mine\n"
    assert not (tmp_path / "here" / "s" / ".bd").exists()


def test_half_an_import_is_gone_on_with_by_the_same_one_alone(
    there: ForeignStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(point: str) -> None:
        raise KeyboardInterrupt

    here, other = tmp_path / "here" / "s", tmp_path / "other" / "s"
    with monkeypatch.context() as patch:
        patch.setattr(importing, "reached", die)
        with pytest.raises(KeyboardInterrupt):
            import_study(tmp_path / "there" / "s", here)
    shutil.copytree(tmp_path / "there" / "s", other)

    with pytest.raises(StudyExists, match=f"half an import of s of {tmp_path}/there/s"):
        import_study(other, here)

    executed = here / "BD-s-runs" / "run-3" / RUN_FILE
    executed.parent.mkdir(parents=True)
    executed.touch()
    with pytest.raises(StudyExists, match="runs were executed with half an import"):
        import_study(tmp_path / "there" / "s", here)
    executed.unlink()
    assert import_study(tmp_path / "there" / "s", here).n_runs == 2


def test_what_was_worked_with_while_run_directories_are_missing_stays(
    there: ForeignStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(point: str) -> None:
        if point == "import.copied":
            raise KeyboardInterrupt

    here, origin = tmp_path / "here" / "s", tmp_path / "there" / "s"
    for number in (1, 2):
        (origin / "BD-s-runs" / f"run-{number}").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(importing, "reached", die)
        with pytest.raises(KeyboardInterrupt):
            import_study(origin, here, with_runs=True)
    CommandLine(here).run("runs", "update", "s.1", "--new", "note=mine")
    (here / "launch.sh").write_text("echo mine\n")

    done = import_study(origin, here, with_runs=True)

    assert (done.n_jobs, done.n_runs, done.n_copied) == (2, 2, 1)
    assert (here / "launch.sh").read_text() == "echo mine\n"
    with Base(host=f"zeo://{here}") as base:
        assert base.runs[1].note == "mine"
    with pytest.raises(StudyExists):
        import_study(origin, here)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [host_name(), "elsewhere"])
def test_imported_tasks_are_those_that_are_asked_for(
    there: ForeignStudy, tmp_path: Path, machine: str
) -> None:
    for entries in there.runs.values():
        entries["machine_name"] = machine
    here = tmp_path / "here" / "s"
    here.mkdir(parents=True)
    (here / "launch.sh").write_text("true\n")  # the same as there

    done = import_study(tmp_path / "there" / "s", here)

    assert done.notes == [
        f"what bd.yaml names outside of the study: {tmp_path}/here/common/lib.py"
    ]
    with Base(host=f"zeo://{here}") as base:
        assert base.runs[1].machine_name == machine
    config = here / "bd.yaml"
    config.write_text(f"{config.read_text()}run_params: {{kind: a}}\n")
    said = CommandLine(here).run("bd", "runs", "create", "--run_name", "r").stdout
    assert said == "0 new runs, 2 were there\n"


def test_machines_that_tell_runs_apart_go_on_doing_so(
    there: ForeignStudy, tmp_path: Path
) -> None:
    there.runs[2]["job_id"] = 1
    for run_id, machine in ((1, "one"), (2, "two")):
        there.runs[run_id]["machine_name"] = machine

    assert import_study(tmp_path / "there" / "s", tmp_path / "here" / "s").notes[1:] == []


def test_entries_get_names_that_they_can_have(there: ForeignStudy, tmp_path: Path) -> None:
    odd = {"end_time": "noon", "max-stress": 3.5, "files": ["a"], "1st": 1, "origin": "a.msh"}
    there.runs[1] |= {**odd, "max_stress": 2, "imported_from": "b"}

    done = import_study(tmp_path / "there" / "s", tmp_path / "here" / "s")

    assert done.notes[0] == (
        "some entries have other names here: 1st is _1st, end_time is end_time_there,"
        " files is files_there, max-stress is max_stress_"
    )
    with Base(host=f"zeo://{tmp_path / 'here' / 's'}") as base:
        run = base.runs[1]
        names = ("_1st", "end_time_there", "files_there", "max_stress_", "max_stress")
        assert [run[name] for name in names] == [1, "noon", ["a"], 3.5, 2]
        assert (run.origin, run.imported_from, run.get("end_time")) == ("a.msh", "b", None)
        assert run.directory == tmp_path / "there" / "s" / "run-1"


def test_entries_that_say_something_here_get_other_names(
    there: ForeignStudy, tmp_path: Path
) -> None:
    telling = {
        "archive": "archive-1.zip",
        "awaits_step": 3,
        "behind_runs": "mult.1",
        "on_failure": "raise",
        "replica": 2,
        "required_runs": "mesh",
        "retried_as": 7,
        "sentinels": {"root": "./x", "success": [["DONE"]]},
        "set_by_hand": "yes",
        "system_dir": "./mesh",
    }
    there.runs[1] |= telling
    there.run_types["archive"] = "str"  # as a study may have declared it
    config = tmp_path / "there" / "s" / "bd.yaml"
    config.write_text(YAML.replace("{kind: str}", "{kind: str, archive: str}"))

    done = import_study(tmp_path / "there" / "s", tmp_path / "here" / "s")

    given = ", ".join(f"{name} is {name}_there" for name in telling)
    assert done.notes[0] == f"some entries have other names here: {given}"
    with Base(host=f"zeo://{tmp_path / 'here' / 's'}") as base:
        run = base.runs[1]
        assert {name: run[f"{name}_there"] for name in telling} == telling
        assert not telling.keys() & run.entries.keys()
        assert run.directory == tmp_path / "there" / "s" / "run-1"
        assert run.types["archive_there"] == "str"


def test_a_run_is_read_in_a_directory_of_its_own_study(
    there: ForeignStudy, tmp_path: Path
) -> None:
    there.name = "some_user_s"  # as it is called in the database
    for place in ("BD-a-runs/run-1", "BD-s-runs/run-1", "BD-a-runs/run-2"):
        (tmp_path / "there" / "s" / place).mkdir(parents=True)

    import_study(tmp_path / "there" / "s", tmp_path / "here" / "s")

    with Base(host=f"zeo://{tmp_path / 'here' / 's'}") as base:
        assert [run.directory.parts[-2:] for run in base.runs.values()] == [
            ("BD-s-runs", "run-1"),
            ("s", "run-2"),
        ]
