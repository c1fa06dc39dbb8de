"""A workflow of the existing kind that is moved, copied while it runs, and packed away."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import ROOT, CommandLine
from tests.support.existing_workflow import write_existing_workflow
from tests.support.processes import kill_processes_of
from tests.support.waiting import wait_until


def totals(line: CommandLine) -> dict[str, dict[str, int]]:
    return {study["study"]: study["total"] for study in line.json("info")["studies"]}


def shell(line: CommandLine, study: str, text: str) -> str:
    """What a shell prints in the directory of a study, with the habitual names."""
    prepared = f'eval "$({sys.executable} -m motoko env)"; {text}'
    return subprocess.run(
        ["bash", "-c", prepared],
        cwd=line.directory / study,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.slow
def test_existing_workflow_is_copied_moved_and_packed(tmp_path: Path) -> None:
    gate = tmp_path / "go"
    write_existing_workflow(tmp_path / "w", f"while [ ! -e {gate} ]; do sleep 0.05; done\n")
    original, copy = CommandLine(tmp_path / "w"), CommandLine(tmp_path / "copy")
    done = {"mult": {"FORWARDED": 2}, "add": {"FINISHED": 2}, "norm": {"FINISHED": 1}}
    start = ("orchestrator", "start", "-n", "one", "--wait", "1", "-i", "2.1", "3.2")
    try:
        original.run("create", ".", "--validated")
        original.run("launcher", "--generator", "bashCoat")
        with original.started(*start) as running:
            tokens = original.directory / "mult" / "BD-mult-runs"
            wait_until(lambda: len(list(tokens.glob("*/.motoko-token-1"))) == 2, "its runs")
            processes = [original.pid("server"), original.pid("launcher")]
            copy.directory.rmdir()
            subprocess.run(["cp", "-a", original.directory, copy.directory], check=True)

            assert [copy.pid("server"), copy.pid("launcher")] == [None, None]
            assert "trouble: what is in" in copy.run("info").stdout
            assert "was it moved or copied? Say" in copy.run(*start, code=6).stderr
            assert "still there" in copy.run("runs", "cancel", "mult.1", code=6).stderr
            said = copy.run("place", "--copied").stdout
            assert "2 runs that execute for the original: CREATED again here" in said
            assert copy.run("place").stdout.endswith("is where it was\n")
            assert totals(original)["mult"] == {"RUNNING": 2}
            gate.touch()
            running.communicate()
        assert totals(original) == done
        assert [original.pid("server"), original.pid("launcher")] == processes
        original.run("kill")
        copy.run(*start)
        assert totals(copy) == done
        paths = shell(copy, "add", "canYouDigIt runs exec pwd").split()
        assert paths == [str(copy.directory / f"add/BD-add-runs/run-{i}") for i in (1, 2)]
        copy.run("kill")
        assert copy.run("verify").stdout.endswith("no findings\n")

        # Moved while it is stopped: renamed, and to where it is another directory.
        renamed, moved = tmp_path / "renamed", CommandLine(tmp_path / "moved")
        original.directory.rename(renamed)
        assert totals(CommandLine(renamed)) == done
        CommandLine(renamed).run(*start)
        CommandLine(renamed).run("kill")
        moved.directory.rmdir()
        subprocess.run(["cp", "-r", renamed, moved.directory], check=True)
        shutil.rmtree(renamed)
        assert "was it moved or copied?" in moved.run(*start, code=6).stderr
        moved.run("place", ".", "--moved")
        moved.run(*start)
        assert totals(moved) == done
        ids = shell(moved, "norm", "canYouDigIt runs info --infos id,total --truerun")
        assert ids.split()[:3] == ["id", "total", "1"] and "12.6" in ids

        # Packed: what the shell reads is as before.
        reading = "canYouDigIt runs exec --run_id 1 cat vec.csv"
        read = shell(moved, "add", reading)
        assert "vec-0" in read
        moved.run("archive", "add")
        assert not list(moved.directory.glob("add/BD-add-runs/run-*"))
        assert shell(moved, "add", reading) == read
        assert totals(moved) == done
    finally:
        kill_processes_of(tmp_path)
