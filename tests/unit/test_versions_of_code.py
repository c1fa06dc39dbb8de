"""What is read of a study's files to tell their version, and by whom: never much at once."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from motoko.cli import runs
from motoko.study import commit, versions
from motoko.study.files import content_digest
from motoko.study.versions import Versions
from motoko.workflow.views.rows import Card
from tests.support.waiting import wait_until

LARGE = (1 << 20) + 1


@pytest.fixture(autouse=True)
def a_look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_LOOK_S", 0.0)
    monkeypatch.setattr(versions, "_SHARE", float("inf"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A study's directory, with a program of two files."""
    found = tmp_path / "study"
    (found / ".bd").mkdir(parents=True)
    (found / "launch.sh").write_text("true\n")
    (found / "program.c").write_text("1")
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, as they are."""
    names: list[str] = []

    def digest(path: Path) -> str:
        names.append(path.name)
        return content_digest(path)

    monkeypatch.setattr(versions, "content_digest", digest)
    return names


def of(directory: Path) -> Versions:
    """What a new process knows of the versions of a study."""
    return Versions(directory, directory / ".bd")


def code(version: Versions) -> dict[str, Any]:
    """The code that a run is made with now."""
    return dict(version.with_code({"key": "given"})["code"])


def sparse(file: Path) -> None:
    with open(file, "wb") as opened:
        opened.truncate(LARGE)


def test_large_files_are_never_read(directory: Path, read: list[str]) -> None:
    sparse(directory / "data.bin")
    version = of(directory)

    made_with = code(version)
    os.utime(directory / "data.bin", ns=(1, 1))

    found = version.stored(made_with, "files")
    assert found["program.c"] == content_digest(directory / "program.c")
    assert found["data.bin"].startswith(f"{LARGE} bytes of ")
    assert version.changed_since(made_with) == ["data.bin"]
    assert code(version)["files"] != made_with["files"]
    assert version.changed_since(code(version)) == []
    assert sorted(read) == ["launch.sh", "program.c"]


def test_a_look_reads_few_files_and_a_thread_the_rest(
    directory: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_MOST_READ", versions._LEAST)
    for name in "abc":
        (directory / name).write_text(name)
    version = of(directory)

    first = version.stored(made_with := code(version), "files")
    wait_until(lambda: len(of(directory)._digests._all()) == 5, "the digests of the rest")

    assert sum(" bytes of " in digest for digest in first.values()) == 4
    assert all(" " not in digest for digest in version.stored(code(version), "files").values())
    assert version.changed_since(made_with) == of(directory).changed_since(made_with) == []
    (directory / "b").write_text("other")
    assert version.changed_since(made_with) == ["b"]
    assert sorted(read) == ["a", "b", "c", "launch.sh", "program.c"]


def test_who_asks_what_has_changed_reads_only_what_may_have(
    directory: Path, read: list[str]
) -> None:
    made_with = code(of(directory))
    sparse(directory / "data.bin")
    read.clear()
    assert of(directory).changed_since(made_with) == []
    assert read == []

    # Another time, but the same content: it is read once, by whichever process.
    os.utime(directory / "launch.sh", ns=(1, 1))
    assert of(directory).changed_since(made_with) == []
    assert of(directory).changed_since(made_with) == []
    assert read == ["launch.sh"]

    (directory / "launch.sh").write_text("false\n")  # another size
    (directory / "program.c").unlink()
    assert of(directory).changed_since(made_with) == ["launch.sh", "program.c"]
    assert read == ["launch.sh"]


def test_files_that_change_again_and_again_are_not_told_wrongly(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_MOST_VERSIONS", 1)
    version = of(directory)
    first = code(version)

    (directory / "program.c").write_text("22")

    assert "files" not in code(version)
    (directory / "program.c").write_text("1")
    assert code(version)["files"] == first["files"]


def test_no_more_places_are_looked_into_than_files_are_told_of(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "data").mkdir()
    (directory / "loop").symlink_to("loop")
    looked: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(str(path)) or scan(path))

    for limit in ("_MOST_FILES", "_MOST_ENTRIES"):
        with monkeypatch.context() as few:
            few.setattr(versions, limit, 2)
            assert len(of(directory).stored(code(of(directory)), "files")) <= 2
            assert str(directory / "data") not in looked
    assert len(of(directory).stored(code(of(directory)), "files")) == 2


def test_nobody_waits_for_a_slow_git_nor_asks_it_again_and_again(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / ".git").mkdir()
    (directory / ".git" / "HEAD").write_text("0" * 40)
    commands = tmp_path / "bin"
    commands.mkdir()
    script = (
        "#!/bin/sh\necho asked >> $0.log\nwhile [ ! -e $0.go ]; do sleep 0.01; done\necho M a"
    )
    (commands / "git").write_text(script)
    (commands / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setattr(commit, "_GIT_S", 60.0)
    version = of(directory)
    asked = commands / "git.log"

    # It answers only when all these have gone on without its answer.
    found = [code(version)]
    wait_until(asked.exists, "git")
    for size in (10, 20):
        (directory / "progress.log").write_text("x" * size)
        found.append(code(version))
    (directory / "progress.log").unlink()
    (commands / "git.go").touch()
    wait_until(lambda: code(version).get("is_changed"), "what git says of the first files")

    assert [one.get("is_changed") for one in found] == [None] * 3
    assert {one["commit"] for one in found} == {"0" * 40}
    (directory / "progress.log").write_text("x")
    assert "is_changed" not in code(version)
    for thread in threading.enumerate():
        if thread.name == "git status":
            thread.join()
    assert asked.read_text().split() == ["asked"]


@pytest.mark.parametrize(
    ("is_changed", "said"),
    [(True, "c1, with changes"), (False, "c1"), (None, "c1, perhaps with changes")],
)
def test_a_run_says_what_git_has_said(is_changed: bool | None, said: str) -> None:
    of_run = {"commit": "c1", "is_changed": is_changed, "given": {}, "files": {}, "python": {}}
    card = Card("s", {}, {}, [], {}, {}, None, {**of_run, "changed_since": []}, None)

    assert str(dict(runs._code(card))["commit"]) == said


def test_a_run_says_how_many_files_it_does_not_name() -> None:
    of_run = {"commit": "", "is_changed": None, "given": {}, "files": {}, "python": {}}
    changed = [f"{number}.py" for number in range(12)]
    card = Card("s", {}, {}, [], {}, {}, None, {**of_run, "changed_since": changed}, None)

    shown = str(dict(runs._code(card))["other now"])
    assert shown.startswith("0.py, 1.py,") and shown.endswith(", 9.py and 2 more")
