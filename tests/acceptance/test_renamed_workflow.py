"""A workflow whose directory is renamed while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.processes import kill_processes_of
from tests.support.waiting import wait_until

MEAN = "0.4374625855441357"

#: The script waits for the test, and fails with a code of its own.
SCRIPT = "touch {gate}-started; while [ ! -e {gate} ]; do sleep 0.02; done; exit 3\n"


@pytest.mark.slow
def test_a_renamed_workflow_is_said_to_be_moved_and_goes_on_in_its_new_place(
    tmp_path: Path,
) -> None:
    there = CommandLine(tmp_path / "there")
    there.directory.rmdir()
    with new_workflow(tmp_path / "demo") as here:
        (here.directory / "sample/launch.sh").write_text(SCRIPT.format(gate=tmp_path / "go"))
        bd = here.directory / "sample/bd.yaml"
        bd.write_text(f"{bd.read_text()}\nretry: 0\n")
        with open(here.directory / "motoko.yaml", "a") as file:
            file.write("max_concurrent: 1\n")
        try:
            with here.started("run", "-n", "one") as running:
                wait_until((tmp_path / "go-started").exists, "a run")
                here.directory.rename(there.directory)
                said = running.communicate()[1]
            was_made = here.directory.exists()
            here.directory.mkdir(exist_ok=True)

            assert running.returncode == 6, said
            assert not was_made
            assert f"{here.directory} was moved to {there.directory} while" in said
            assert f"`motoko run {there.directory} --run_name one` goes on there" in said
            assert "still running: " in said and " run" in said
            assert f"motoko kill --reset {there.directory}" in said
            assert "removed" not in said and "recorded any more" not in said

            (tmp_path / "go").touch()
            there.run("run", "-n", "one", code=5)
            shown = there.json("runs", "show", "sample.1")
            (attempt,) = shown["attempts"]
            assert (attempt["class"], attempt["exit_code"]) == ("application", 3)
            assert "no space" not in attempt["cause"]
        finally:
            kill_processes_of(there.directory)


@pytest.mark.slow
def test_scripts_of_a_renamed_workflow_do_their_work_once_and_there(tmp_path: Path) -> None:
    there = CommandLine(tmp_path / "there")
    there.directory.rmdir()
    go = tmp_path / "go"
    with new_workflow(tmp_path / "demo") as here:
        wait = f"while [ ! -e {go} ]; do sleep 0.02; done"
        script = f"touch {go}-$$; {wait}; python3 doIt.py; echo $? >> {tmp_path}/codes\n"
        (here.directory / "sample/launch.sh").write_text(script)
        with open(here.directory / "motoko.yaml", "a") as file:
            file.write("max_concurrent: 5\n")
        try:
            with here.started("run", "-n", "one") as running:
                wait_until(lambda: len(list(tmp_path.glob("go-*"))) == 5, "the runs")
                here.directory.rename(there.directory)
                go.touch()
                said = running.communicate()[1]
            done = there.run("run", "-n", "one").stdout
            shown = there.json("runs", "show", "sample.5")
        finally:
            kill_processes_of(there.directory)

    assert running.returncode == 6, said
    assert f"{here.directory} was moved to {there.directory} while" in said
    assert f"mean = {MEAN}" in done
    assert [(a["number"], a["state"]) for a in shown["attempts"]] == [(1, "FINISHED")]
    assert (tmp_path / "codes").read_text() == 5 * "0\n"
