"""Making databases, starting over, putting runs back, and migrating what is stored."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"
STATE = (".wf", "sample/.bd", "mean/.bd", "sample/BD-sample-runs", "mean/BD-mean-runs")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


def backups(here: CommandLine) -> list[Path]:
    """The dated backups, oldest first."""
    return sorted(here.directory.glob("motoko-backup-*"))


def answered(here: CommandLine, answer: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command typed at a terminal, with one answer."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "motoko", *arguments],
        cwd=here.directory,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        output, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    return process.returncode, output


def test_create_makes_databases_and_leaves_no_process(here: CommandLine) -> None:
    done = here.run("create")

    assert done.stdout == f"created sample, mean in {here.directory}\n"
    assert (here.directory / "sample" / ".bd" / "motoko.db").is_file()
    assert here.pid("server") is None
    assert here.counts("sample") == {}


def test_create_elsewhere_is_told_by_the_directory(here: CommandLine, tmp_path: Path) -> None:
    CommandLine(tmp_path).run("--verbose", "create", "demo", "--validated")

    assert here.counts("mean") == {}


def test_create_without_anybody_to_ask_keeps_all_and_adds_what_is_missing(
    here: CommandLine,
) -> None:
    here.run("run")
    with (here.directory / "sample" / "bd.yaml").open("a") as file:
        file.write("job_space: {}\n")
    bd = here.directory / "sample" / "bd.yaml"
    bd.write_text(
        bd.read_text().replace("seed: int", "seed: int\n  w: {type: int, default: 7}")
    )

    done = here.run("create")

    assert done.stdout == "kept what is there, added what was missing: sample, mean\n"
    assert [row["job"] for row in here.json("runs", "list", "sample", "id = 1")] == [
        {"seed": 1, "w": 7}
    ]
    assert backups(here) == []


def test_validated_create_moves_databases_and_runs_into_a_backup(here: CommandLine) -> None:
    here.run("run")

    done = here.run("create", "--validated")

    [backup] = backups(here)
    assert f"what was there is in {backup}" in done.stdout
    assert all((backup / name).is_dir() for name in STATE)
    assert not (here.directory / "sample" / "BD-sample-runs").exists()
    assert here.counts("sample") == {}


@pytest.mark.slow
def test_create_without_backup_leaves_nothing_of_what_was(here: CommandLine) -> None:
    here.run("run")

    here.run("create", "--validated", "--no-backup")

    assert backups(here) == []
    assert here.counts("sample") == {}


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "n_runs"), [("n", 5), ("y", 0)])
def test_create_asks_at_a_terminal(here: CommandLine, answer: str, n_runs: int) -> None:
    here.run("run")

    code, output = answered(here, answer, "create")

    assert code == 0
    assert "has databases or runs already. Start from scratch? [y/N]" in output
    assert sum(here.counts("sample").values()) == n_runs


@pytest.mark.slow
def test_create_refuses_to_reset_under_an_orchestrator(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "first", "-d")

    done = here.run("create", "--validated", code=6)

    assert "the orchestrator of run name 'first' is already running" in done.stderr
    assert backups(here) == []


def test_clean_puts_runs_back_and_keeps_their_directories_in_a_backup(
    here: CommandLine,
) -> None:
    here.run("run")

    done = here.run("clean", "--bd_study", "sample", "--constraints", "seed <= 2")

    [backup] = backups(here)
    assert done.stdout.splitlines() == [
        "2 runs back to CREATED",
        f"their run directories are in {backup}",
    ]
    kept = sorted(p.name for p in (backup / "sample" / "BD-sample-runs").iterdir())
    assert kept == ["run-1", "run-2"]
    assert here.counts("sample") == {"CREATED": 2, "FINISHED": 3}
    assert here.pid("server") is None


@pytest.mark.slow
def test_clean_leaves_executing_runs_alone(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "1")
    here.wait_for_script("sample")
    wait_until(lambda: here.counts("sample") == {"RUNNING": 1}, "the run")

    done = here.run("clean")

    assert "left alone: 1 run being executed" in done.stdout
    assert here.counts("sample") == {"RUNNING": 1}


@pytest.mark.slow
def test_cleaned_runs_get_new_files_only_when_asked_to(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text("exit 1\n")
    here.run("run", "-n", "first", code=5)
    (here.directory / "sample" / "launch.sh").write_text("python3 doIt.py\n")

    hint = here.run("clean").stdout
    here.run("run", code=5)
    here.run("clean", "--current-files")
    done = here.run("run")

    assert "5 runs will execute older files than there are now: --current-files" in hint
    assert "sample 5 runs, mean 1 run" in done.stdout


def test_clean_with_delete_needs_a_yes(here: CommandLine) -> None:
    here.run("run")

    refused = here.run("clean", "--delete", code=2)
    no = answered(here, "n", "clean", "--delete")
    still_there = here.counts("sample")
    done = here.run("clean", "--delete", "--validated")

    assert "--delete needs --validated where nobody can be asked" in refused.stderr
    assert no[0] == 130
    assert still_there == {"FINISHED": 5}
    assert done.stdout == f"removed {', '.join(sorted(STATE, key=STATE.index))}\n" or all(
        name in done.stdout for name in STATE
    )
    assert not any((here.directory / name).exists() for name in STATE)


@pytest.mark.slow
def test_clean_of_one_study_deletes_only_that(here: CommandLine) -> None:
    here.run("run")

    here.run("clean", "--delete", "--validated", "-bd", "sample")

    assert not (here.directory / "sample" / ".bd").exists()
    assert here.counts("mean") == {"FINISHED": 1}
    assert here.json("info")["studies"][0]["problem"] == "no database yet"


def test_renamed_parameter_is_refused_until_it_is_migrated(here: CommandLine) -> None:
    here.run("run", "-n", "first")
    bd = here.directory / "sample" / "bd.yaml"
    bd.write_text(bd.read_text().replace("seed: int", "number: int"))

    refused = here.run("run", code=3)
    unclear = here.run("study", "migrate", "sample", code=3)
    done = here.run("study", "migrate", "sample", "--rename", "seed=number")

    assert "`motoko study migrate`" in refused.stderr
    assert "--rename OLD=NEW" in unclear.stderr
    assert done.stdout.startswith("migrated 5 jobs and ")
    assert "the database as it was is " in done.stdout
    assert [row["job"] for row in here.json("runs", "list", "sample", "number = 3")] == [
        {"number": 3}
    ]
    assert len(backups(here)) == 1


@pytest.mark.slow
def test_schema_of_a_study_knows_its_parameters(here: CommandLine) -> None:
    import json

    found = json.loads(here.run("schema", "study", "sample").stdout)

    assert "seed" in found["properties"]["job_space"]["properties"]
    assert json.loads(here.run("schema", "workflow").stdout)["title"] == "motoko.yaml"
