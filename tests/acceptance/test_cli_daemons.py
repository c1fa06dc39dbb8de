"""Server, launcher and orchestrators as background processes, and what stops them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from motoko.daemon import Office
from motoko.host import is_alive
from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


@pytest.mark.parametrize("kind", [pytest.param("server", marks=pytest.mark.slow), "launcher"])
def test_process_is_started_once_and_stopped(here: CommandLine, kind: str) -> None:
    here.run(kind, "status", code=6)

    first = here.run(kind, "start").stdout
    second = here.run(kind, "start").stdout
    status = here.json(kind, "status")
    here.run(kind, "stop")

    assert first.startswith(f"started the {'database server' if kind == 'server' else kind}")
    assert second.startswith("already running: the ")
    assert status["pid"] == int(first.rstrip(")\n").rpartition(" ")[2])
    assert here.json(kind, "status", code=6) is None
    assert "is not running" in here.run(kind, "stop", code=6).stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server", "launcher"])
def test_status_is_true_after_kill_9(here: CommandLine, kind: str) -> None:
    here.run(kind, "start")
    pid = here.pid(kind)
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: here.pid(kind) is None)
    status = here.run(kind, "status", code=6)
    here.run(kind, "start")

    assert "not running\nthe last one did not end in good order; see " in status.stdout
    assert here.pid(kind) not in (None, pid)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server", "launcher"])
def test_what_somebody_asked_to_end_and_died_is_not_taken_for_running(
    here: CommandLine, kind: str
) -> None:
    here.run(kind, "start")
    pid = here.pid(kind)
    office = Office(here.directory / ".wf" / f"{kind}.lock", kind)
    owner = office.owner()
    assert owner is not None
    office.ask_to_stop(owner)

    here.run("run")

    assert here.pid(kind) != pid


@pytest.mark.slow
def test_spellings_of_the_launcher_in_use(here: CommandLine) -> None:
    here.run("launcher", "--bd_study", "sample", "--generator", "bash")

    assert here.json("info")["launcher"]["studies"] == ["sample"]
    assert "the launcher: process " in here.run("launcher", "--status").stdout
    assert "launching 1 studies" in here.run("launcher", "-l").stdout
    assert "launching 1 studies" in (here.directory / ".wf" / "launch.log").read_text()
    here.run("launcher", "--stop")
    assert here.pid("launcher") is None


@pytest.mark.slow
def test_launcher_in_the_foreground_ends_at_sigterm(here: CommandLine) -> None:
    with here.started("launcher", "--do_not_detach") as process:
        wait_until(lambda: here.pid("launcher") == process.pid, "the launcher")
        process.terminate()
        process.wait(timeout=30)

        assert process.returncode == 0


@pytest.mark.slow
def test_a_server_that_is_stopped_is_named_with_what_has_it_go_on(here: CommandLine) -> None:
    here.run("create")
    here.run("server", "start")
    pid = here.pid("server")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        said = (
            f"the database server is stopped (SIGSTOP) and answers nobody: `kill -CONT {pid}`"
        )
        wait_until(lambda: said in here.run("server", "status").stdout, "its state")

        assert f"trouble: {said}\n" in here.run("info", code=7).stdout
        with here.started("runs", "cancel", "sample.1") as cancelling:
            assert cancelling.stderr is not None
            assert cancelling.stderr.readline() == f"warning: {said}; waiting for 30 s\n"
            os.kill(pid, signal.SIGCONT)
            cancelling.communicate(timeout=60)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_detached_orchestrator_runs_to_the_end_and_is_followed(
    here: CommandLine,
) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)

    started = here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "2")
    running = here.json("orchestrator", "status")
    refused = here.run("orchestrator", "start", "-n", "first", "-d", code=6)
    with here.started("orchestrator", "status", "--follow") as following:
        assert following.stdout is not None
        first_line = following.stdout.readline()
        (here.directory / "go").touch()
        followed, _ = following.communicate(timeout=60)

    assert "started the orchestrator of run name 'first'" in started.stdout
    assert [entry["run_name"] for entry in running] == ["first"]
    assert "the orchestrator of run name 'first' is already running" in refused.stderr
    assert first_line.startswith("orchestrator of run name first: process ")
    assert "finished after" in followed
    assert "first finished" in here.run("orchestrator", "status", code=6).stdout
    assert here.counts("sample") == {"FINISHED": 2}
    assert "firing all_drawn" in here.run("orchestrator", "status", "-l", code=6).stdout


def test_orchestrator_that_cannot_start_says_why_before_it_is_left_alone(
    here: CommandLine,
) -> None:
    (here.directory / "orchestrator.py").write_text("import nowhere\n")

    done = here.run("orchestrator", "start", "-n", "first", "--detach", code=3)

    assert "No module named 'nowhere'" in done.stderr


@pytest.mark.slow
def test_detached_orchestrator_is_seen_followed_and_stopped(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "first", "-d", "--wait", "2")
    seen = here.json("orchestrator", "status")

    with here.started("orchestrator", "status", "-f") as following:
        assert following.stdout is not None
        first_line = following.stdout.readline()
        done = here.run("orchestrator", "stop")
        following.wait(timeout=30)

    assert [entry["run_name"] for entry in seen] == ["first"]
    assert first_line.startswith("orchestrator of run name first: process ")
    assert "stopped the orchestrator of run name 'first'" in done.stdout
    assert re.search(r"still running: (\d+ runs?, )?the launcher", done.stderr)
    status = here.run("orchestrator", "status", code=6).stdout
    assert "first ended" in status and "stopped before its end" in status
    assert here.json("info")["launcher"] is not None


@pytest.mark.slow
def test_one_of_several_orchestrators_is_stopped_by_name(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    for name in ("a", "b"):
        here.run("orchestrator", "start", "-n", name, "-d")

    unclear = here.run("orchestrator", "stop", code=2)
    here.run("orchestrator", "stop", "--run_name", "a")

    assert "several run: say --run_name, one of a, b" in unclear.stderr
    assert [entry["run_name"] for entry in here.json("orchestrator", "status")] == ["b"]


@pytest.mark.slow
def test_ps_shows_what_runs_with_directory_and_run_name(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "a/b", "-d")

    mine = [p for p in here.json("ps") if p["directory"] == str(here.directory)]

    assert [(p["kind"], p["run_name"]) for p in mine] == [
        ("launcher", ""),
        ("orchestrator", "a/b"),
        ("server", ""),
    ]
    assert all(p["memory_bytes"] > 10_000_000 and p["cpu_s"] > 0 for p in mine)
    assert mine[2]["pid"] == here.pid("server")


@pytest.mark.slow
def test_kill_stops_everything_and_says_what(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "first", "-d")

    said = here.run("kill").stdout.splitlines()

    assert [line.split(" (")[0] for line in said[:3]] == [
        "stopped the orchestrator of run name 'first'",
        "stopped the launcher",
        "stopped the database server",
    ]
    assert here.run("kill").stdout.startswith("nothing was running\n")
    assert not [p for p in here.json("ps") if p["directory"] == str(here.directory)]


@pytest.mark.slow
def test_kill_says_which_runs_go_on_and_where(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "1")
    here.wait_for_script("sample")

    first = here.run("kill").stdout
    again = here.run("kill").stdout

    place = here.directory / "sample" / "BD-sample-runs" / "run-1"
    said = (
        "1 run goes on; --reset ends what is local:\n"
        f"  sample.1  {os.uname().nodename}  {place}\n"
    )
    assert first.endswith(said)
    assert again == f"nothing was running\n{said}"
    (here.directory / "sample" / "bd.yaml").unlink()
    without_file = here.run("kill")
    assert without_file.stdout.startswith(again)
    assert "sample: where else its runs may lie" in without_file.stdout
    assert "sample/bd.yaml" in without_file.stderr


@pytest.mark.parametrize(
    "options", [pytest.param((), marks=pytest.mark.slow), ("--aggressive",)]
)
def test_kill_with_reset_ends_executing_runs(
    here: CommandLine, options: tuple[str, ...]
) -> None:
    script = here.directory / "sample" / "launch.sh"
    script.write_text(f"trap '' TERM\necho $BASHPID >> {here.directory}/pids\n{HELD}")
    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "1")
    pids = here.directory / "pids"
    wait_until(pids.exists, "the script")

    done = here.run("kill", "--reset", *options)
    (attempt,) = here.json("runs", "show", "sample.1")["attempts"]
    shown = here.run("runs", "show", "sample.1").stdout

    assert (attempt["state"], attempt["cause"]) == (
        "CANCELLED",
        "ended by `motoko kill --reset`",
    )
    assert attempt["start_time"] <= attempt["end_time"] <= time.time()
    assert "CANCELLED, ended by `motoko kill --reset`" in shown
    assert "1 run back to CREATED" in done.stdout
    assert here.counts("sample") == {"CREATED": 1}
    wait_until(lambda: not Path(f"/proc/{pids.read_text().strip()}").exists(), "its end")


@pytest.mark.slow
def test_mistakes_in_files_keep_nobody_from_seeing_and_stopping(here: CommandLine) -> None:
    here.run("launcher")
    (here.directory / "sample" / "bd.yaml").write_text("study: sample\njob: {")

    seen = here.run("info", code=3).stdout
    status = here.run("launcher", "status")
    stopped = here.run("launcher", "stop").stdout
    (here.directory / "motoko.yaml").write_text("task_managers: [")
    of_a_guess = here.run("info", code=3).stdout
    killed = here.run("kill", "--reset", code=3)

    assert "sample/bd.yaml:2: broken YAML" in seen
    assert "\nmean " in seen
    assert "the launcher: process" in status.stdout
    assert "warning: " in status.stderr
    assert "stopped the launcher" in stopped
    assert "motoko.yaml:1: broken YAML" in of_a_guess
    assert "\nmean " in of_a_guess
    assert killed.stdout.startswith("stopped the database server (")
    assert "once that is mended, `motoko kill --reset`" in killed.stderr
    (here.directory / "motoko.yaml").unlink()
    assert here.run("server", "status", code=6).stdout == "the database server: not running\n"


@pytest.mark.slow
def test_kill_of_one_study_keeps_the_launcher_for_the_others(here: CommandLine) -> None:
    here.run("launcher")

    said = here.run("kill", "-bd", "sample").stdout

    assert said == "stopped launching runs of sample\n"
    assert here.json("info")["launcher"]["studies"] == ["mean"]
    assert here.run("kill", "-bd", "mean").stdout == "stopped launching runs of mean\n"
    assert here.pid("launcher") is None
    assert here.pid("server") is not None


@pytest.mark.slow
def test_processes_whose_directories_are_gone_end_by_themselves(here: CommandLine) -> None:
    here.run("launcher")
    pids = [here.pid("server"), here.pid("launcher")]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)

    for name in (".wf", "sample/.bd", "mean/.bd"):
        shutil.rmtree(here.directory / name)

    for pid in pids:
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"the end of {pid}")


@pytest.mark.slow
def test_owner_on_another_host_is_named_and_nothing_started(here: CommandLine) -> None:
    here.run("server", "start")
    lock = here.directory / ".wf" / "server.lock"
    held = lock.read_text()
    here.run("server", "stop")
    left = lock.read_text()
    lock.write_text(held.replace(f'"{os.uname().nodename}"', '"login2"'))

    for command in (("server", "start"), ("run",), ("launcher",), ("server", "stop")):
        done = here.run(*command, code=6)

        assert "the database server belongs to process" in done.stderr
        assert "on login2" in done.stderr
    assert here.json("info")["server"]["host"] == "login2"

    lock.write_text(left.replace(f'"{os.uname().nodename}"', '"login2"'))
    here.run("server", "start")  # who has left an office does not hold it
    here.run("server", "stop")


def be_on(host: str, file: Path) -> None:
    """Have the holder of an office be on another host, where it has not left."""
    facts = {**json.loads(file.read_text()), "host": host, "has_left": False}
    file.write_text(json.dumps(facts))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server", "launcher"])
def test_a_process_of_another_host_is_replaced_only_when_told(
    here: CommandLine, kind: str
) -> None:
    here.run(kind, "start")
    here.run("kill")
    file = here.directory / ".wf" / f"{kind}.lock"
    be_on("login7", file)
    epoch = json.loads(file.read_text())["epoch"]

    refused = here.run(kind, "start", code=6)
    taken = here.run(kind, "start", "--takeover")

    assert "on login7" in refused.stderr and "--takeover" in refused.stderr
    assert taken.stdout.startswith(
        f"started the {'database server' if kind == 'server' else kind}"
    )
    owner = json.loads(file.read_text())
    assert owner["epoch"] == epoch + 1
    assert here.pid(kind) == owner["pid"]


@pytest.mark.slow
def test_a_whole_workflow_of_another_host_is_taken_over(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "2")
    here.wait_for_script("sample")
    old = {kind: here.pid(kind) for kind in ("server", "launcher", "orchestrator-first")}
    for kind in old:
        be_on("login7", here.directory / ".wf" / f"{kind}.lock")

    refused = here.run("run", "-n", "first", code=6)
    orchestrator = old["orchestrator-first"]
    assert orchestrator is not None
    os.kill(orchestrator, signal.SIGSTOP)  # a socket of another host would not reach it
    try:
        (here.directory / "go").touch()
        done = here.run("run", "-n", "first", "--takeover")
    finally:
        os.kill(orchestrator, signal.SIGCONT)

    assert "on login7" in refused.stderr
    assert "finished after" in done.stdout
    assert here.counts("sample") == {"FINISHED": 2}
    for pid in old.values():  # they live, as a host does that was not gone after all
        assert pid is not None
        wait_until(lambda pid=pid: not is_alive(pid), f"the end of process {pid}")
    log = (here.directory / ".wf" / "server.log").read_text()
    assert "the database server ends: the database server was taken over by process" in log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "start", "stop"),
    [
        ("server", ["server", "start"], ["server", "stop"]),
        ("launcher", ["launcher", "start"], ["launcher", "stop"]),
        (
            "orchestrator-first",
            ["orchestrator", "start", "-n", "first", "-d"],
            ["orchestrator", "stop"],
        ),
    ],
)
def test_of_many_started_at_one_instant_one_stays(
    here: CommandLine, kind: str, start: list[str], stop: list[str]
) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    for _ in range(2):
        with ExitStack() as stack:
            all_at_once = [stack.enter_context(here.started(*start)) for _ in range(4)]
            ends = [(one.communicate(timeout=50), one.returncode) for one in all_at_once]
        mine = [p for p in here.json("ps") if p["directory"] == str(here.directory)]

        assert [p["pid"] for p in mine if name_of(p) == kind] == [here.pid(kind)], ends
        assert {code for _, code in ends} <= {0, 6}, ends
        assert not any("Traceback" in said[1] for said, _ in ends)
        here.run(*stop)


def name_of(process: dict[str, Any]) -> str:
    return "-".join(filter(None, (process["kind"], process["run_name"])))
