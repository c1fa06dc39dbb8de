"""``motoko artifacts`` as people use it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from motoko.artifacts import ArtifactStore
from tests.support.command_line import CommandLine


@pytest.fixture
def here(tmp_path: Path) -> CommandLine:
    """A directory with a store of a file and a directory."""
    line = CommandLine(tmp_path / "here")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.txt").write_text("a")
    store = ArtifactStore(line.directory / "store")
    store.put_dir(tree, "fe/tree")
    store.put_file(tree / "a.txt", "a", run="mult.1")
    return line


def test_list_shows_names_kinds_sizes_and_runs(here: CommandLine) -> None:
    lines = here.run("artifacts", "list", "store").stdout.splitlines()
    data = here.json("artifacts", "list", "store", "--prefix", "fe/", "--kind", "dir")

    assert lines[0].split() == ["name", "kind", "size", "run", "sha256"]
    assert lines[1].split()[:5] == ["a", "file", "1", "B", "mult.1"]
    assert [artifact["name"] for artifact in data] == ["fe/tree"]


def test_verify_ends_with_ten_when_something_is_missing_or_changed(here: CommandLine) -> None:
    good = here.run("artifacts", "verify", "store")
    (here.directory / "store" / "a").write_text("b")
    bad = here.run("artifacts", "verify", "store", code=10)
    data = json.loads(here.run("artifacts", "verify", "store", "--json", code=10).stdout)

    assert good.stdout == "checked 2 artifacts: no problems\n"
    assert bad.stdout.startswith("a: changed (")
    assert [(problem["name"], problem["what"]) for problem in data] == [("a", "changed")]


def test_exported_archive_is_a_store_at_another_site(here: CommandLine, tmp_path: Path) -> None:
    said = here.run("artifacts", "export", "store", "results.tar.gz").stdout
    there = CommandLine(tmp_path / "there")
    archive = here.directory / "results.tar.gz"
    subprocess.run(["tar", "xzf", archive], cwd=there.directory, check=True)

    assert said.startswith("wrote 2 artifacts (")
    assert there.run("artifacts", "verify", "results").stdout == (
        "checked 2 artifacts: no problems\n"
    )
    assert (
        "is there already"
        in here.run("artifacts", "export", "store", "results.tar.gz", code=9).stderr
    )


def test_directory_that_is_no_store_is_not_found(here: CommandLine) -> None:
    for arguments in (("list", "."), ("verify", "nowhere"), ("export", ".", "x.tar")):
        done = here.run("artifacts", *arguments, code=4)

        assert "no artifact store here" in done.stderr
    assert not (here.directory / ".artifacts").exists()
