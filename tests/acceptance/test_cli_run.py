"""A good day: new, check, run, look; and what happens to a run that is disturbed."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.processes import kill_processes_of
from tests.support.waiting import wait_until
from tests.support.workflows import write_workflow

MEAN = "0.4374625855441357"
#: A script that goes on until the test lets it.
HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"


ENDED_BY_ONE = """
from motoko.errors import RunsFailed


async def main(workflow, **params):
    runs = workflow.sample.createTask(seed=[1, 2, 3])
    try:
        await runs
    except RunsFailed:
        await runs[:1]
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


def held(here: CommandLine) -> None:
    """Let the samples wait for `let_go`."""
    (here.directory / "sample" / "launch.sh").write_text(HELD)


def let_go(here: CommandLine) -> None:
    """Let the scripts of `held` go on."""
    (here.directory / "go").touch()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and messages of a process that ends."""
    output, messages = process.communicate(timeout=60)
    return process.returncode, output, messages


@pytest.mark.slow
def test_new_workflow_passes_check_and_runs_to_its_result(here: CommandLine) -> None:
    assert {finding["level"] for finding in here.json("check")} == {"ok"}

    done = here.run("run")

    assert re.match(r"run name run-\d{8}-\d{4}\n", done.stdout)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("finished after ")
    assert f"sample 5 runs, mean 1 run; results in {here.directory}; mean = {MEAN}" in last
    assert done.stderr == ""


@pytest.mark.slow
def test_closing_line_shortens_long_variables_and_slips_in_scripts_are_warned_of(
    here: CommandLine,
) -> None:
    file = here.directory / "orchestrator.py"
    source = file.read_text()
    assert "workflow.vars.mean = " in source
    file.write_text(
        source.replace(
            "workflow.vars.mean = ",
            "workflow.vars.many = [7] * 99; workflow.vars.zone = 1 / 3;"
            " [setattr(workflow.vars, f'v{i:02}', i) for i in range(30)];"
            " workflow.vars.mean = ",
        )
    )

    script = here.directory / "sample" / "launch.sh"
    script.write_text(f"# __BLACKDYNAMITE__seed\n{script.read_text()}")

    done = here.run("run")
    last = done.stdout.splitlines()[-1]
    shown = here.run("info", "-v").stdout

    assert done.stderr == (
        f"warning: {script}:1: __BLACKDYNAMITE__seed is no marker and stays as it is;"
        " did you mean __BLACKDYNAMITE__seed__?\n"
    )
    assert f"vars.many  {[7] * 99}\n" in shown
    assert f"vars.zone  {1 / 3!r}\n" in shown
    assert all(f"vars.v{i:02}   {i}\n" in shown for i in range(30))
    assert f"mean = {MEAN}" in last
    assert "many = [7, 7, 7, " in last
    assert last.endswith("; `motoko info --verbose` shows all")


@pytest.mark.slow
def test_closing_line_has_the_variables_of_its_own_run_name(here: CommandLine) -> None:
    file = here.directory / "orchestrator.py"
    source = file.read_text()
    early = "    workflow.vars.began = n_samples\n"
    file.write_text(
        source.replace("    workflow.sample.create", f"{early}    workflow.sample.create")
    )
    first = here.run("run", "-n", "first").stdout.splitlines()[-1]
    file.write_text(source.replace("workflow.vars.mean = ", "workflow.vars.middle = "))
    second = here.run("run", "-n", "second", "--n_samples", "2").stdout.splitlines()[-1]
    again = here.run("run", "-n", "first").stdout.splitlines()[-1]

    assert f"; began = 5, mean = {MEAN}" in first
    assert "; middle = " in second
    assert "mean = " not in second
    assert "began = " not in second
    assert f"; mean = {MEAN}" in again


@pytest.mark.slow
def test_closing_line_tells_of_runs_that_were_not_executed_since_files_said_so(
    tmp_path: Path,
) -> None:
    there = tmp_path / "there"
    for x in (1, 3):
        (there / str(x)).mkdir(parents=True)
        (there / str(x) / "FINISHED").touch()
    yaml = f"study: solve\njob: {{x: int}}\nsentinels: {{directory: '{there}/{{x}}'}}\n"
    create = "    await workflow.solve.createTask(x=[1, 2, 3])\n"
    main = f"async def main(workflow, **params):\n{create}"
    line = CommandLine(write_workflow(tmp_path / "demo", {"solve": yaml}, main))

    said = line.run("run", "-n", "first").stdout.splitlines()[-1]
    again = line.run("run", "-n", "first").stdout.splitlines()[-1]

    assert (
        ": solve 3 runs; not executed, since files said that they are finished: solve 2 runs,"
        " `motoko runs show solve.1`; results in "
    ) in said
    assert ": solve 3 runs; results in " in again
    assert "nobody knows for which values" in line.run("runs", "show", "solve.1").stdout


@pytest.mark.slow
def test_nothing_runs_any_more_after_run_and_everything_can_be_looked_at(
    here: CommandLine,
) -> None:
    here.run("run", "-n", "first")

    info = here.json("info")

    assert (info["server"], info["launcher"], info["orchestrators"]) == (None, None, [])
    assert [study["run_names"] for study in info["studies"]] == [
        {"first": {"FINISHED": 5}},
        {"first": {"FINISHED": 1}},
    ]
    assert info["variables"] == {"mean": float(MEAN)}
    assert info["run_names"][0]["run_name"] == "first"
    assert info["run_names"][0]["finished"] > info["run_names"][0]["began"]


@pytest.mark.slow
def test_second_run_has_a_name_of_its_own(here: CommandLine) -> None:
    here.run("run")
    here.run("run", "--n_samples", "2")

    names = [entry["run_name"] for entry in here.json("info")["run_names"]]

    assert len(set(names)) == 2
    assert here.counts("sample") == {"FINISHED": 7}


def test_new_refuses_a_directory_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("keep")

    done = CommandLine(tmp_path).run("new", "there", code=2)

    assert "there is there already and not empty" in done.stderr
    assert (tmp_path / "there" / "mine.txt").read_text() == "keep"


def test_workflow_is_found_upward_from_the_current_directory(here: CommandLine) -> None:
    inside = CommandLine(here.directory / "sample")

    assert inside.json("info")["directory"] == str(here.directory)


@pytest.mark.slow
def test_runs_are_listed_and_shown(here: CommandLine) -> None:
    here.run("run", "-n", "first")

    rows = here.json("runs", "list", "sample", "seed > 3")
    table = here.run("runs", "list", "sample", "state", "=", "FINISHED", "--limit", "2").stdout
    card = here.json("runs", "show", "mean.1")

    assert [row["run"] for row in rows] == ["sample.4", "sample.5"]
    assert rows[0]["job"] == {"seed": 4}
    assert rows[0]["state"] == "FINISHED"
    assert table.splitlines()[-1] == "the last 2 of 5 runs; --all shows all"
    assert card["entries"]["mean"] == float(MEAN)
    assert card["failure"] is None
    assert Path(card["paths"]["directory"]).name == "run-1"


@pytest.mark.slow
def test_failed_runs_end_with_code_5_and_a_card(here: CommandLine) -> None:
    script = here.directory / "sample" / "launch.sh"
    script.write_text("echo going down >&2\nexit 3\n")

    done = here.run("run", "-n", "first", "--n_samples", "1", code=5)
    card = here.json("runs", "show", "sample.1")
    shown = here.run("runs", "show", "sample.1").stdout
    info = here.run("info").stdout

    assert "sample.1 FAILED: exit code 3" in done.stderr
    assert "motoko runs show sample.1" in done.stderr
    assert card["failure"]["class"] == "application"
    assert card["failure"]["exit_code"] == 3
    assert card["failure"]["stderr"] == "going down"
    assert re.search(r"exit code +3\n", shown)
    assert "sample.1  exit code 3" in info
    assert "try them again with `motoko run --run_name first --retry-failed`" in done.stderr

    other = here.run("run", "-n", "first", "--n_samples", "2", code=3)
    assert "\n  options.n_samples  1 -> 2\n" in other.stderr
    assert "--accept-changes" in other.stderr
    assert here.json("info")["launcher"] is None

    (orchestrator,) = here.directory.glob("*.py")
    orchestrator.write_text(ENDED_BY_ONE)
    by_one = here.run("run", "-n", "second", code=5).stderr
    assert "motoko: 3 runs failed; this one ended the workflow:\n  sample.2 FAILED" in by_one
    assert by_one.count("FAILED") == 1


@pytest.mark.slow
def test_interrupted_run_says_what_still_runs_and_is_taken_up_again(here: CommandLine) -> None:
    held(here)
    with here.started("run", "--n_samples", "3") as first:
        here.wait_for_script("sample")
        first.send_signal(signal.SIGINT)
        code, output, messages = ended(first)

    name = output.split()[2]
    assert code == 130
    assert f"stopped the orchestrator of {name}" in messages
    assert re.search(
        r"still running: \d runs?, the launcher \(process \d+\), the data", messages
    )
    assert f"motoko run {here.directory} --run_name {name}" in messages
    assert f"  stop      motoko kill {here.directory}\n" in messages
    assert f"  stop all  motoko kill --reset {here.directory}\n" in messages
    let_go(here)
    again = here.run("run")
    assert f"going on with {name} (--n_samples 3)" in again.stdout
    assert "sample 3 runs, mean 1 run" in again.stdout
    assert here.json("info")["launcher"] is None


@pytest.mark.slow
def test_other_options_begin_another_run_name(here: CommandLine) -> None:
    held(here)
    with here.started("run", "-n", "first", "--n_samples", "3") as first:
        here.wait_for_script("sample")
        first.send_signal(signal.SIGINT)
        ended(first)
    let_go(here)

    other = here.run("run", "--n_samples", "2")
    same = here.run("run", "--n_samples", "3")
    more = here.run("run", "-n", "first", "--n_samples", "4", "--accept-changes")
    again = here.run("run", "-n", "first", "--n_samples", "4")

    assert other.stdout.startswith("run name run-")
    assert same.stdout.startswith("going on with first (--n_samples 3)")
    assert more.stdout.startswith("1 parameter changed since it was begun\ngoing on with first")
    assert again.stdout.startswith("going on with first (--n_samples 4)")


@pytest.mark.slow
def test_mean_is_that_of_the_samples_asked_for_now(here: CommandLine) -> None:
    name = ("run", "-n", "first", "--accept-changes", "--n_samples")
    few = here.run(*name, "2").stdout.splitlines()[-1]

    more = here.run(*name, "5").stdout.splitlines()[-1]
    few_again = here.run(*name, "2").stdout.splitlines()[-1]

    assert "sample 2 runs, mean 1 run" in few
    assert "sample 5 runs, mean 2 runs" in more
    assert f"mean = {MEAN}" in more
    assert few.rpartition("; ")[2] == few_again.rpartition("; ")[2] != more.rpartition("; ")[2]


@pytest.mark.slow
def test_sigterm_ends_in_good_order_with_code_143(here: CommandLine) -> None:
    held(here)
    with here.started("run") as process:
        here.wait_for_script("sample")
        process.terminate()
        code, _, messages = ended(process)

    assert code == 143
    assert "Traceback" not in messages


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_start_up_that_is_interrupted_leaves_nothing_behind(
    here: CommandLine, number: signal.Signals
) -> None:
    with here.started("run") as process:
        wait_until((here.directory / ".wf" / "server.lock").exists, "the server")
        process.send_signal(number)
        code, _, messages = ended(process)

    assert code == (130 if number == signal.SIGINT else 143)
    assert messages == "stopped during start-up\nnothing runs any more\n"
    assert (here.pid("server"), here.pid("launcher")) == (None, None)


@pytest.mark.slow
def test_interrupted_start_up_says_what_ran_before_and_goes_on(here: CommandLine) -> None:
    here.run("server", "start")
    with here.started("run") as process:
        wait_until((here.directory / ".wf" / "launcher.lock").exists, "the launcher")
        process.terminate()
        _, _, messages = ended(process)

    assert f"still running: the database server (process {here.pid('server')})" in messages
    assert f"motoko kill {here.directory}" in messages
    assert here.pid("launcher") is None


@pytest.mark.slow
def test_closed_terminal_ends_a_run_and_the_log_says_so(here: CommandLine) -> None:
    held(here)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "motoko", "run"]
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command],
        cwd=here.directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        here.wait_for_script("sample")
        os.close(ours)
        code = process.wait(timeout=60)

    log = (here.directory / ".wf" / "wf.log").read_text()
    assert code == 143
    assert "(SIGHUP)" in log
    assert "still running: " in log
    assert f"motoko kill {here.directory}" in log


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server", "launcher"])
def test_process_that_dies_is_started_again(here: CommandLine, kind: str) -> None:
    held(here)
    with here.started("run", "-n", "first") as process:
        here.wait_for_script("sample")
        before = here.pid(kind)
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: here.pid(kind) not in (None, before), f"another {kind}")
        let_go(here)
        code, output, _ = ended(process)

    assert code == 0
    assert "sample 5 runs, mean 1 run" in output
    assert "had died and was started again" in (here.directory / ".wf" / "wf.log").read_text()


@pytest.mark.slow
def test_process_that_somebody_stopped_is_left_alone(here: CommandLine) -> None:
    held(here)
    log = here.directory / ".wf" / "wf.log"
    with here.started("run", "-n", "first") as process:
        here.wait_for_script("sample")
        here.run("launcher", "--stop")
        wait_until(lambda: "no run starts until" in log.read_text(), "the word of it")
        is_running = here.pid("launcher") is not None
        info = here.run("info").stdout
        let_go(here)
        here.run("launcher")
        code, output, _ = ended(process)

    trouble = (
        f"the launcher was stopped; no run starts until `motoko launcher {here.directory}`"
    )
    assert not is_running
    assert code == 0
    assert f"trouble: {trouble}" in info
    assert re.search(rf"s\] trouble: {re.escape(trouble)}\n", output)
    assert here.json("info")["troubles"] == []


@pytest.mark.slow
def test_launcher_that_dies_again_and_again_is_seen(here: CommandLine) -> None:
    held(here)
    log = here.directory / ".wf" / "wf.log"
    with here.started("run", "-n", "first") as process:
        here.wait_for_script("sample")
        for _ in range(2):
            before = here.pid("launcher")
            assert before is not None
            os.kill(before, signal.SIGKILL)
            wait_until(lambda pid=before: here.pid("launcher") not in (None, pid), "another")
        wait_until(lambda: "times in a row" in log.read_text(), "the word of it")
        info = here.run("info").stdout
        let_go(here)
        _, output, _ = ended(process)

    trouble = "trouble: the launcher has died 2 times in a row soon after it began; see "
    assert trouble in info
    assert trouble in output


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a disk of its own")
def test_full_disk_is_seen_and_waited_for(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)])
    if mounted.returncode:
        pytest.skip("no disk can be made here")
    try:
        with new_workflow(disk / "demo") as here:
            fill = "dd if=/dev/zero of=$BIG bs=1k count=9000"
            script = f"{fill}; while [ -e $BIG ]; do sleep 0.02; done"
            (here.directory / "sample" / "launch.sh").write_text(
                f"BIG={disk}/big\n[ -e {disk}/done ] || {{ {script}; touch {disk}/done; }}\n"
                "python3 doIt.py\n"
            )
            with here.started("run", "-n", "first") as process:
                wait_until(lambda: has_trouble(here, "less than 1 MB is left"), "the trouble")
                info = here.run("info").stdout
                (disk / "big").unlink()
                code, _, _ = ended(process)
            over = here.json("info")["troubles"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

    full = (
        f"trouble: less than 1 MB is left on the disk of {here.directory}: free some; what"
        " cannot be recorded waits"
    )
    assert full in info
    assert (code, over) == (0, [])


def has_trouble(here: CommandLine, words: str) -> bool:
    """Whether ``info`` says so."""
    try:
        troubles = here.json("info")["troubles"]
    except AssertionError:  # it meets a database that is being made
        return False
    return any(words in text for text in troubles)


@pytest.mark.slow
def test_runs_that_were_lost_are_told_from_those_that_failed(here: CommandLine) -> None:
    held(here)
    with open(here.directory / "sample" / "bd.yaml", "a") as file:
        file.write("\nretry: 0\n")
    with here.started("run", "-n", "first", "--n_samples", "1") as process:
        here.wait_for_script("sample")
        wait_until(lambda: here.counts("sample") == {"RUNNING": 1}, "the run")
        process.kill()
    kill_processes_of(here.directory)
    here.run("launcher")
    wait_until(lambda: here.counts("sample") == {"FAILED": 1}, "the loss")

    said = here.run("run", "-n", "first", code=5).stdout
    (here.directory / "go").touch()
    again = here.run("run", "-n", "first", "--retry-failed").stdout

    assert "1 run of it FAILED before (1 lost with processes or host): " in said
    assert "--retry-failed tries them again" in said
    assert "1 FAILED run CREATED again" in again
    assert here.counts("sample") == {"FINISHED": 1}


@pytest.mark.slow
def test_run_name_that_has_finished_says_so_and_ends(here: CommandLine) -> None:
    here.run("run", "-n", "first")

    again = here.run("run", "-n", "first").stdout

    assert "going on with first\nit had finished (20" in again
    assert "finished after" in again
    assert here.counts("sample") == {"FINISHED": 5}


@pytest.mark.slow
def test_stalled_workflow_says_so(here: CommandLine) -> None:
    file = here.directory / "orchestrator.py"
    file.write_text(file.read_text().replace("workflow.add_error_handler()", "pass"))
    (here.directory / "sample" / "launch.sh").write_text("exit 1\n")
    with here.started("run") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        line = next(line for line in lines if "stalled" in line)

    assert "5 FAILED; stalled: nothing runs and no condition is true (5 runs FAILED)" in line


@pytest.mark.slow
def test_verbose_shows_the_log_on_standard_error(here: CommandLine) -> None:
    done = here.run("--verbose", "run")

    assert "motoko.workflow.loop: firing all_drawn" in done.stderr


@pytest.mark.slow
def test_exit_code_of_the_orchestrator_is_that_of_the_command(here: CommandLine) -> None:
    file = here.directory / "orchestrator.py"
    file.write_text("import sys\nasync def main(workflow, **params):\n    sys.exit(42)\n")

    here.run("run", code=42)
