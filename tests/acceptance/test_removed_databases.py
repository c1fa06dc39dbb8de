"""A database that was removed is never made anew while directories of its runs are there."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

#: The scripts of two samples wait for the test; each says that it was executed.
SCRIPT = """\
echo $MOTOKO_RUN_ID >>../../../executed
[ $MOTOKO_RUN_ID -gt 2 ] || while [ ! -e ../../../go ]; do sleep 0.02; done
python3 doIt.py
"""
N_SAMPLES = 5


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        (line.directory / "sample/launch.sh").write_text(SCRIPT)
        with open(line.directory / "motoko.yaml", "a") as file:
            file.write("max_concurrent: 3\n")
        yield line


def executed(here: CommandLine) -> Counter[str]:
    """How often each sample was executed."""
    return Counter((here.directory / "executed").read_text().split())


def finished(here: CommandLine) -> dict[Any, Any]:
    """The finished samples and what came of them."""
    rows = here.json("runs", "list", "sample", "state = FINISHED")
    return {row["id"]: (row["job"], row["entries"]["value"]) for row in rows}


def removed(here: CommandLine, what: str) -> Path:
    """A directory of databases, once it is removed."""
    directory = here.directory / what
    shutil.rmtree(directory)
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("what", [".wf", "sample/.bd"])
def test_nothing_is_made_in_the_place_of_a_lost_database(here: CommandLine, what: str) -> None:
    (here.directory / "go").touch()
    here.run("run", "-n", "first")
    before = finished(here)
    lost = removed(here, what)

    for command in (("run", "-n", "first"), ("create",), ("server", "start"), ("launcher",)):
        said = here.run(*command, code=7).stderr

        assert "is gone" in said
        assert "directories of" in said
        assert "`motoko repair`" in said
        assert "`motoko backup --restore PATH`" in said
        assert not list(lost.glob("*.db"))
    assert "`motoko repair`" in here.run("info", code=7).stdout

    here.run("repair", code=10 if what == ".wf" else 0)
    here.run("run", "-n", "first")
    assert finished(here) == before
    assert len(before) == N_SAMPLES
    assert set(executed(here).values()) == {1}


@pytest.mark.slow
def test_databases_without_runs_begin_anew(here: CommandLine) -> None:
    (here.directory / "go").touch()
    here.run("create")
    for what in (".wf", "sample/.bd"):
        removed(here, what)

    here.run("run", "-n", "first")

    assert len(finished(here)) == N_SAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("what", [[".wf"], ["sample/.bd"], [".wf", "sample/.bd", "mean/.bd"]])
def test_what_is_removed_under_a_run_comes_back(here: CommandLine, what: list[str]) -> None:
    with here.started("run", "-n", "first") as process:
        wait_until(lambda: here.counts("sample").get("FINISHED") == 3, "three samples")
        server = here.pid("server")
        for one in what:
            removed(here, one)
        _, said = process.communicate(timeout=60)
    wait_until(lambda: not Path(f"/proc/{server}").exists(), "the end of its server")

    assert process.returncode == 7, said
    assert "is gone" in said
    assert f"motoko repair {here.directory}" in said
    assert "kill --reset" not in said
    here.run("kill")
    assert executed(here) == Counter("12345")
    repaired = here.run("repair", code=10 if ".wf" in what else 0)
    assert "Traceback" not in repaired.stdout
    assert here.counts("sample") == {"FINISHED": 3, "RUNNING": 2}
    (here.directory / "go").touch()
    here.run("run", "-n", "first")
    assert here.counts("sample") == {"FINISHED": N_SAMPLES}
    assert set(executed(here).values()) == {1}
