"""What is packed away is what lies in run directories, whatever that is called and becomes."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import ArchiveDamaged, SchemaError
from motoko.study import archive
from motoko.study.archive_file import open_archive
from motoko.study.packed import latest_generation, n_packed, packed_runs
from motoko.study.study import Study
from motoko.workflow import Workflow
from tests.support.powers import without_powers
from tests.support.workflows import served_workflow


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with served_workflow(tmp_path / "w", "mult") as workflow:
        yield finished(workflow, 2)


def finished(workflow: Workflow, n_runs: int = 1, **values: Any) -> Study:
    """So many runs have finished, and left a file."""
    for run, _ in workflow.mult.createTask(x=[float(i) for i in range(n_runs)], **values):
        run.directory.mkdir(parents=True)
        (run.directory / "result.txt").write_text("1\n" * 50)
        run.state = "RUNNING"
        run.state = "FINISHED"
    found: Study = workflow.mult.base
    return found


def pack(study: Study, *run_ids: int) -> archive.Packed:
    return archive.pack(study, run_ids, is_busy=lambda _: False)


@pytest.mark.parametrize("name", ["late.txt", "result.txt"])
@pytest.mark.parametrize("point", ["archive.made", "archive.told"])
def test_what_is_written_while_runs_are_packed_is_not_removed(
    study: Study, monkeypatch: pytest.MonkeyPatch, name: str, point: str
) -> None:
    def reached(found: str) -> None:
        if found == point:
            (study.run_dir(1) / name).write_text("precious\n")

    with monkeypatch.context() as patch:
        patch.setattr(archive, "reached", reached)
        pack(study, 1, 2)

    assert (study.run_dir(1) / name).read_text() == "precious\n"
    assert not study.run_dir(2).exists()
    assert pack(study, 1).n_runs == 1
    archive.unpack(study, [1, 2])
    assert (study.run_dir(1) / name).read_text() == "precious\n"


@pytest.mark.parametrize("name", [".archive-1.zip.PID", "archive-1 (copy).zip"])
def test_what_lies_beside_archives_keeps_no_run_from_being_packed(
    study: Study, name: str
) -> None:
    directory = archive.archives_dir(study)
    directory.mkdir(parents=True)
    file = directory / name.replace("PID", str(os.getpid()))
    file.write_bytes(b"of a call that was killed, or of the user")

    packed = pack(study, 1, 2)

    assert [file.name for file in packed.archives] == ["archive-1.zip"]
    kept = set() if name.startswith(".") else {name}
    assert {file.name for file in directory.iterdir()} == {"archive-1.zip"} | kept


def test_no_other_archive_gets_the_name_of_one_that_was_moved_away(
    study: Study, tmp_path: Path
) -> None:
    [first] = pack(study, 1).archives
    away = first.rename(tmp_path / first.name)

    [second] = pack(study, 2).archives
    away.rename(first)

    assert second != first
    for run_id in (1, 2):
        assert (study.files_dir(run_id) / "result.txt").exists()


def test_what_is_unpacked_is_on_disk_before_the_database_says_so(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(study, 1)
    seen = []

    def force(directory: Path) -> None:
        assert directory == study.run_dir(1).parent
        seen.append((study.run_dir(1).exists(), "archive" in study.run_row(1)))

    monkeypatch.setattr(archive, "force_file_system", force)

    archive.unpack(study, [1])

    assert seen == [(True, True)]
    assert "archive" not in study.run_row(1)


def test_runs_with_many_files_get_archives_of_their_own(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_MOST_FILES", 3)
    for name in ("a", "b", "c"):
        (study.run_dir(1) / name).write_text(name)

    packed = pack(study, 1, 2)

    assert [list(open_archive(file).runs) for file in packed.archives] == [[1], [2]]
    assert (packed.n_runs, packed.n_files) == (2, 5)
    assert archive.unpack(study, [1, 2]) == 2


@pytest.mark.parametrize("place", ["job", "run", ""])
def test_an_entry_of_the_users_own_is_never_overwritten(tmp_path: Path, place: str) -> None:
    fields = {"job": "x: float", "run": ""}
    fields[place or "run"] += f"{', ' * (place == 'job')}archive: int" if place else ""
    yaml = f"study: mult\njob: {{{fields['job']}}}\nrun: {{{fields['run']}}}\n"
    with served_workflow(tmp_path / "w", mult=yaml) as workflow:
        study = finished(workflow, **({"archive": 7} if place == "job" else {}))
        if place != "job":
            study.update_run(1, {"archive": 7})

        with pytest.raises(SchemaError, match="give the entry another name"):
            pack(study, 1)

        assert [run.id for run, _ in workflow.mult.select(["archive = 7"])] == [1]
        assert study.run_dir(1).is_dir()


@pytest.mark.parametrize("is_linked", [False, True])
def test_runs_that_are_not_simply_removed_are_packed(
    study: Study, tmp_path: Path, is_linked: bool
) -> None:
    directory = study.run_dir(1)
    (directory / "out").mkdir()
    (directory / "out" / "a").write_text("a\n")
    if is_linked:
        directory.rename(tmp_path / "elsewhere")
        directory.symlink_to(tmp_path / "elsewhere")
    (directory / "out").chmod(0o555)

    with without_powers():
        n_runs = [pack(study, run_id).n_runs for run_id in (1, 2)]
        left = os.listdir(study.runs_dir)
        archive.unpack(study, [1, 2])

    assert (n_runs, left) == ([1, 1], [])
    assert (directory / "out" / "a").read_text() == "a\n"


@pytest.mark.parametrize(
    ("name", "when"),
    [(b"r\xe9sultat", 1e9), (b"\xc3\xa9", 1e9), (b"a\nb", 1e9), (b"x", 5e9), (b"x", -1e9)],
)
def test_any_name_and_any_time_come_back(study: Study, name: bytes, when: float) -> None:
    directory = study.run_dir(1)
    text = os.fsdecode(name)
    files = [directory / text, directory / f"{text}.d" / text]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(name)
        os.utime(file, (when, when))

    assert pack(study, 1).n_runs == 1
    assert not directory.exists()
    archive.unpack(study, [1])

    for file in files:
        assert (file.read_bytes(), file.stat().st_mtime) == (name, when)
    assert len(os.listdir(directory)) == 3


def test_runs_with_values_that_are_no_utf_8_are_packed(tmp_path: Path) -> None:
    yaml = "study: mult\njob: {x: float, s: str}\nrun: {}\n"
    with served_workflow(tmp_path / "w", mult=yaml) as workflow:
        study = finished(workflow, s="a\udcff")

        assert workflow.mult.dataframe()["s"].tolist() == ["a\\udcff"]
        assert pack(study, 1).n_runs == 1


def test_the_archive_that_was_made_last_says_what_a_run_is(study: Study) -> None:
    said = study.run_dir(1) / ".motoko-run.json"
    for nonce, attempt in ("before a backup was put back", 3), ("after it", 1):
        facts = {"attempt": attempt, "nonce": nonce, "generation": "g"}
        said.write_text(json.dumps(facts))
        pack(study, 1)
        archive.unpack(study, [1])

    found = packed_runs(study, {"g"}, [])[1]

    assert (found.archive, found.facts["nonce"]) == ("archive-2.zip", "after it")


def test_what_other_archives_have_is_unpacked_beside_one_that_is_gone(study: Study) -> None:
    [gone] = pack(study, 1).archives
    pack(study, 2)
    gone.rename(gone.with_name("elsewhere"))

    with pytest.raises(ArchiveDamaged, match=r"archive-1\.zip") as caught:
        archive.unpack(study, [1, 2])

    assert caught.value.__notes__ == ["1 run left packed, 1 run unpacked"]
    assert (study.run_dir(2) / "result.txt").exists()
    gone.with_name("elsewhere").rename(gone)
    assert archive.unpack(study, [1, 2]) == 1


def test_an_archive_that_is_gone_is_said_also_when_no_run_directory_is_there(
    study: Study,
) -> None:
    pack(study, 1).archives[0].unlink()
    shutil.rmtree(study.runs_dir)

    with pytest.raises(ArchiveDamaged, match=r"archive-1\.zip"):
        archive.unpack(study, [1])


def test_damage_of_an_archive_is_always_said_of_it(study: Study, tmp_path: Path) -> None:
    for run_id in (1, 2):
        said = '{"attempt": 1, "nonce": "n", "generation": "g"}'
        (study.run_dir(run_id) / ".motoko-run.json").write_text(said)
        (study.run_dir(run_id) / "link").symlink_to("result.txt")
    [file] = pack(study, 1, 2).archives
    whole = file.read_bytes()
    asked: list[Callable[[int], object]] = [
        lambda i: packed_runs(study, {"g"}, []),
        lambda i: latest_generation(study),
        lambda i: n_packed(study),
        lambda i: archive.bring_back(study, 1, file.name, tmp_path / "again" / str(i)),
        lambda i: archive.packed_facts(study, 2, file.name),
    ]
    chance = random.Random(5)

    for i in range(400):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 2, 5])):
            first = max(0, len(whole) - 900) if chance.random() < 0.6 else 0
            content[chance.randrange(first, len(whole))] = chance.randrange(256)
        file.write_bytes(content[: chance.choice([len(whole), chance.randrange(len(whole))])])
        os.utime(file, ns=(i, i))
        for ask in asked:
            try:
                ask(i)
            except ArchiveDamaged as error:
                assert file.name in str(error)
