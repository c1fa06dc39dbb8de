"""Making databases, starting over, putting runs back, and migrating what is stored."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.workflow import Workflow, control
from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"
FINISHED_BUT_THERE = """\
python3 doIt.py
while [ ! -e ../../../go ]; do sleep 0.02; done
"""
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


@pytest.mark.slow
def test_create_makes_databases_and_leaves_no_process(here: CommandLine) -> None:
    done = here.run("create")

    assert done.stdout == f"created sample, mean in {here.directory}\n"
    assert (here.directory / "sample" / ".bd" / "motoko.db").is_file()
    assert (here.directory / ".wf" / "wf.db").is_file()
    assert here.pid("server") is None
    assert here.counts("sample") == {}


@pytest.mark.slow
@pytest.mark.parametrize("command", [["create"], ["server", "start"]])
def test_what_the_files_say_is_kept_for_all_that_is_started_later(
    here: CommandLine, command: list[str]
) -> None:
    here.run(*command)
    before = {file: file.stat().st_ino for file in here.directory.glob("**/*.yaml.read")}

    here.run("run")

    assert {file.parent.relative_to(here.directory).as_posix() for file in before} == set(
        STATE[:3]
    )
    assert {file: file.stat().st_ino for file in before} == before


def test_a_server_that_has_begun_is_enough_for_what_is_started_beside_it(
    here: CommandLine,
) -> None:
    workflow = Workflow(str(here.directory / "motoko.yaml"))

    control.start_server(workflow)

    kept = here.directory.glob("**/*.yaml.read")
    assert {file.parent.relative_to(here.directory).as_posix() for file in kept} == set(
        STATE[:3]
    )


@pytest.mark.slow
def test_create_elsewhere_is_told_by_the_directory(here: CommandLine, tmp_path: Path) -> None:
    CommandLine(tmp_path).run("--verbose", "create", "demo", "--validated")

    assert here.counts("mean") == {}


@pytest.mark.slow
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

    assert done.stdout == "kept what is there, added what was missing: sample\n"
    assert here.run("create", "--no-reset").stdout == "kept what is there: sample, mean\n"
    assert [row["job"] for row in here.json("runs", "list", "sample", "id = 1")] == [
        {"seed": 1, "w": 7}
    ]
    assert backups(here) == []


@pytest.mark.slow
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

    assert code == (0 if answer == "y" else 2)
    assert ("nothing was changed" in output) == (answer == "n")
    assert "has databases or runs already. Start from scratch? [y/N]" in output
    assert sum(here.counts("sample").values()) == n_runs


@pytest.mark.slow
def test_create_refuses_to_reset_under_an_orchestrator(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "first", "-d")

    done = here.run("create", "--validated", code=6)

    assert "the orchestrator of run name 'first' is already running" in done.stderr
    assert backups(here) == []


@pytest.mark.slow
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


KILLED_WHILE_MOVING = """\
import os, runpy, signal, sys
from motoko.workflow import control, making

move, moved, most = making.move_into, [], int(sys.argv.pop())

def moving(*given):
    if len(moved) == most:
        os.kill(os.getpid(), signal.SIGKILL)
    moved.append(given)
    move(*given)

making.move_into = moving
runpy.run_module("motoko", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_moved", [0, 1])
def test_clean_that_was_killed_is_completed_by_the_next(
    here: CommandLine, n_moved: int
) -> None:
    here.run("run")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_MOVING, "clean", "-bd", "sample", str(n_moved)],
        cwd=here.directory,
    )
    left = sorted((here.directory / "sample" / "BD-sample-runs").iterdir())
    rows = here.json("runs", "list", "sample", "--all")
    done = here.run("clean", "-bd", "sample")

    assert killed.returncode == -signal.SIGKILL
    assert len(left) == 5 - n_moved
    assert {row["state"] for row in rows} == {"CREATED"}
    assert f"their run directories are in {backups(here)[-1]}" in done.stdout
    kept = [path.name for backup in backups(here) for path in backup.glob("sample/*/*")]
    assert sorted(kept) == [f"run-{i}" for i in range(1, 6)]
    assert "sample 5 runs" in here.run("run").stdout


@pytest.mark.slow
def test_clean_leaves_a_finished_run_alone_whose_script_goes_on(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(FINISHED_BUT_THERE)
    here.run("run", "-n", "first", "--n_samples", "1")

    done = here.run("clean", "-bd", "sample")

    assert "0 runs back to CREATED\nleft alone: 1 run being executed" in done.stdout
    assert (here.directory / "sample" / "BD-sample-runs" / "run-1").exists()


def kill_daemons(here: CommandLine) -> None:
    """``kill -9`` launcher and server."""
    for kind in ("launcher", "server"):
        pid = here.pid(kind)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda kind=kind: here.pid(kind) is None)  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("create", "--validated"), ("clean", "--delete", "--validated")]
)
def test_nothing_is_removed_under_scripts_that_a_killed_launcher_left(
    here: CommandLine, command: tuple[str, ...]
) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "1")
    here.wait_for_script("sample")
    here.run("orchestrator", "stop")
    kill_daemons(here)

    refused = here.run(*command, code=6)
    ended = here.run("kill", "--reset")
    done = here.run(*command)

    host = os.uname().nodename
    assert (
        f"1 run still executes in {here.directory}\n  on {host}: sample.1\n" in refused.stderr
    )
    assert "`motoko kill --reset`" in refused.stderr
    assert "1 run back to CREATED" in ended.stdout
    assert "what was there is in" in done.stdout or "removed" in done.stdout


@pytest.mark.slow
def test_kill_with_reset_ends_what_goes_on_after_finish(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(FINISHED_BUT_THERE)
    here.run("run", "-n", "first", "--n_samples", "1")
    here.run("create", "--validated", code=6)

    done = here.run("kill", "--reset")

    assert done.stdout.endswith(
        "0 runs back to CREATED\nended what sample.1 still executed; its state stays\n"
    )
    assert here.counts("sample") == {"FINISHED": 1}
    here.run("create", "--validated")


@pytest.mark.slow
def test_a_run_that_executes_on_another_host_is_named_with_it(here: CommandLine) -> None:
    here.run("run", "-n", "first", "--n_samples", "1")
    [token] = here.directory.glob("sample/*/run-1/.motoko-token-1")
    token.write_text(token.read_text().replace(os.uname().nodename, "node17"))
    for name in ("FINISHED", ".motoko-outcome-1"):
        (token.parent / name).unlink()

    refused = here.run("create", "--validated", code=6)
    left = here.run("kill", "--reset")
    (token.parent / "FINISHED").touch()
    here.run("create", "--validated")

    assert "  on node17: sample.1\n" in refused.stderr
    assert "left alone: sample.1 executes on node17" in left.stdout


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
    here.run("run", "-n", "first", "--n_samples", "1", code=5)
    (here.directory / "sample" / "launch.sh").write_text("python3 doIt.py\n")

    hint = here.run("clean").stdout
    here.run("run", code=5)
    here.run("clean", "--current-files")
    done = here.run("run")

    assert "1 run will execute older files than there are now: --current-files" in hint
    assert "sample 1 run, mean 1 run" in done.stdout


@pytest.mark.slow
def test_clean_with_delete_needs_a_yes(here: CommandLine) -> None:
    here.run("run")

    refused = here.run("clean", "--delete", code=2)
    no = answered(here, "n", "clean", "--delete")
    still_there = here.counts("sample")
    done = here.run("clean", "--delete", "--validated")

    assert "--delete needs --validated where nobody can be asked" in refused.stderr
    assert no[0] == 2
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
    assert here.json("info")["studies"][0]["problem"].startswith("no database yet;")


@pytest.mark.slow
def test_renamed_parameter_is_refused_until_it_is_migrated(here: CommandLine) -> None:
    here.run("run", "-n", "first")
    bd = here.directory / "sample" / "bd.yaml"
    bd.write_text(bd.read_text().replace("seed: int", "number: int"))

    refused = here.run("run", code=3)
    unclear = here.run("study", "migrate", "sample", code=3)
    done = here.run("study", "migrate", "sample", "--rename", "seed=number")

    command = f"`motoko study migrate sample --dir {here.directory} --rename seed=number`"
    assert command in refused.stderr
    assert command in unclear.stderr
    assert done.stdout.startswith("migrated 5 jobs and ")
    assert "the database as it was is " in done.stdout
    assert [row["job"] for row in here.json("runs", "list", "sample", "number = 3")] == [
        {"number": 3}
    ]
    assert len(backups(here)) == 1

    again = here.run("study", "migrate", "sample")
    assert again.stdout == "nothing to do: what is stored is in line with bd.yaml\n"
    for option, value, why in (
        ("--fill", "number=3", "'number': is stored already, and keeps its values"),
        ("--remove", "number", "'number': is still in bd.yaml; leave it out of --remove"),
        ("--rename", "seed=number", "there is no seed"),
    ):
        assert why in here.run("study", "migrate", "sample", option, value, code=3).stderr
    assert len(backups(here)) == 1


@pytest.mark.slow
def test_schema_of_a_study_knows_its_parameters(here: CommandLine) -> None:
    import json

    found = json.loads(here.run("schema", "study", "sample").stdout)

    assert "seed" in found["properties"]["job_space"]["properties"]
    assert json.loads(here.run("schema", "workflow").stdout)["title"] == "motoko.yaml"
