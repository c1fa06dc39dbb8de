"""The user's script between prologue and EXIT trap: what it sees, and what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from motoko.host import host_name
from motoko.job.layout import outcome_file
from motoko.job.outcome import (
    FULL,
    Outcome,
    hindrance,
    read_failure,
    read_outcome,
    write_outcome,
    write_sentinel,
)
from motoko.job.shell import Forewarning, script
from motoko.job.token import read_token, take_token, token_facts
from tests.support.powers import WITHOUT


def run(
    run_dir: Path,
    text: str,
    exec_file: str = "launch.sh",
    env: dict[str, str] | None = None,
    warning: Forewarning | None = None,
    prefix: list[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    path = run_dir / exec_file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    fd = take_token(run_dir, 1, token_facts("n", "g"))
    assert fd is not None
    try:
        return subprocess.run(
            [*(prefix or ()), *script(run_dir, exec_file, "n", 1, fd, warning)],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=env,
            preexec_fn=_hear_all_signals,
        )
    finally:
        os.close(fd)


def _hear_all_signals() -> None:
    """As the launcher does: under nohup a hang-up would be ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("true", 0),
        ("", 0),
        ("exit 3", 3),
        ("false", 1),
        ("set -e; false; true", 1),
        ("set -eu; true", 0),
        ("set -u; echo $nope", 127),
        ("set -e; f() { exit 0; }; f", 0),
        ("set -eEuo pipefail; false | true", 1),
        ("if true; then exit; fi", 0),
        ("command exit 0", 0),
        ("return 5", 5),
        ("fi", 2),
        ("set -C; true", 0),
        ("set -o posix; true", 0),
        ("cd /; exit 0", 0),
        ("IFS=0123456789; set -f; true", 0),
        ("IFS=0123456789.; readonly IFS", 0),
        ("trap 'exit 4' USR1; kill -USR1 $$; read -r < /dev/zero", 4),
        ("trap 'exit 0' USR1; kill -USR1 $$; read -r < /dev/zero", 0),
        ("HOSTNAME='a\"b\\'; true", 0),
        ("set -T; trap true DEBUG; exit 0", 0),
        ("bash -c 'kill -KILL $$'", 137),
        ("set -- a b; shift 2; true", 0),
    ],
)
def test_outcome_has_the_exit_code_however_the_script_ends(
    tmp_path: Path, text: str, code: int
) -> None:
    before = time.time()

    done = run(tmp_path, text)

    outcome = read_outcome(tmp_path, 1, "n")
    token = read_token(tmp_path, 1)
    assert done.returncode == code
    assert outcome is not None
    assert token is not None
    assert (outcome.exit, outcome.pid) == (code, token.pid)
    assert before - 1 <= outcome.begin <= outcome.end <= time.time() + 1
    assert outcome.took is not None
    assert 0 <= outcome.took <= outcome.end - outcome.begin + 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("kill -TERM $$; true", -15),
        ("true; kill -HUP $$; true", -1),
        ("kill -KILL $$; true", -9),
        ("exec true", 0),
        ("trap 'true' EXIT; false", 1),
        ("trap - EXIT; false", 1),
        ('rm -rf "$PWD"', 0),
    ],
)
def test_no_outcome_where_only_a_wait_knows_the_truth(
    tmp_path: Path, text: str, code: int
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()

    done = run(run_dir, text)

    assert read_outcome(run_dir, 1, "n") is None
    assert (done.returncode, done.stderr) == (code, "")


def test_script_sees_itself_as_run_by_its_name_and_without_arguments(tmp_path: Path) -> None:
    (tmp_path / "with blank 'quote'").mkdir()
    run_dir = tmp_path / "with blank 'quote'"

    done = run(run_dir, 'printf "%s\\n" "$0" "$#" "$PWD" "${BASH_SOURCE[0]}" "$BASH_SUBSHELL"')

    assert done.stdout.splitlines() == ["./launch.sh", "0", str(run_dir), "./launch.sh", "0"]
    assert read_outcome(run_dir, 1, "n") is not None


def test_script_in_a_subdirectory_runs_in_the_run_directory(tmp_path: Path) -> None:
    done = run(tmp_path, 'echo "$0 $PWD"', exec_file="sub/go.sh")

    assert done.stdout == f"./sub/go.sh {tmp_path}\n"


def test_script_sees_no_other_variables_than_in_a_bash_of_its_own(tmp_path: Path) -> None:
    text = "compgen -v; shopt -o; compgen -A function\n"
    env = {"PATH": os.environ["PATH"]}

    mine = run(tmp_path, text, env=env)
    plain = subprocess.run(
        ["/bin/bash", "./launch.sh"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=env,
        stdin=subprocess.DEVNULL,
    )

    of_bash = {"BASH_EXECUTION_STRING", "PIPESTATUS"}
    extra = set(mine.stdout.split()) - set(plain.stdout.split()) - of_bash
    assert {name for name in extra if not name.startswith("_motoko_")} == set()
    assert mine.stdout.count("\ton") == plain.stdout.count("\ton")


def test_children_see_no_variable_of_motoko(tmp_path: Path) -> None:
    done = run(tmp_path, "env", env={"PATH": os.environ["PATH"]})

    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names == {"PATH", "PWD", "SHLVL", "_"}


def test_script_may_use_low_descriptors_without_losing_the_lock(tmp_path: Path) -> None:
    text = """
    for i in 3 4 5 6 7 8 9; do eval "exec $i>/dev/null"; done
    flock -n .motoko-token-1 true || echo held >answer
    """
    (tmp_path / "launch.sh").write_text(text)
    fd = take_token(tmp_path, 1, token_facts("n", "g"))
    assert fd is not None

    argv = script(tmp_path, "launch.sh", "n", 1, 5)
    as_five = [(os.POSIX_SPAWN_DUP2, fd, 5)]
    if fd != 5:
        as_five.append((os.POSIX_SPAWN_CLOSE, fd))
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=as_five)
    os.close(fd)
    os.waitpid(pid, 0)

    assert (tmp_path / "answer").read_text() == "held\n"


def test_prologue_tells_the_token_who_runs(tmp_path: Path) -> None:
    done = run(tmp_path, "echo $$; read -r line < /proc/$$/stat; echo ${line##*) }")

    token = read_token(tmp_path, 1)
    pid, fields = done.stdout.splitlines()
    assert token is not None
    assert token.pid == int(pid)
    assert token.start_time == int(fields.split()[19])
    assert token.started is not None
    assert abs(token.started - time.time()) < 60


def test_time_with_a_comma_is_understood(tmp_path: Path) -> None:
    run(tmp_path, "unset EPOCHREALTIME; EPOCHREALTIME=4000000000,25")

    outcome = read_outcome(tmp_path, 1, "n")
    assert outcome is not None
    assert outcome.end == 4000000000.25


def test_bash_without_microseconds_gives_seconds(tmp_path: Path) -> None:
    run(tmp_path, "unset EPOCHREALTIME")

    outcome = read_outcome(tmp_path, 1, "n")
    assert outcome is not None
    assert '"end":' in Path(outcome_file(tmp_path, 1)).read_text()
    assert outcome.begin <= outcome.end <= time.time()


def test_missing_script_fails(tmp_path: Path) -> None:
    done = subprocess.run(script(tmp_path, "none.sh", "n", 1), capture_output=True, text=True)

    outcome = read_outcome(tmp_path, 1, "n")
    assert "none.sh" in done.stderr
    assert outcome is not None
    assert outcome.exit == done.returncode != 0


def test_missing_directory_fails_and_runs_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        script(tmp_path / "none", "launch.sh", "n", 1), capture_output=True, text=True
    )

    assert done.returncode == 126


def test_host_is_this_one_whatever_the_environment_says(tmp_path: Path) -> None:
    run(tmp_path, "true", env={"PATH": os.environ["PATH"], "HOSTNAME": 'login"1'})

    outcome = read_outcome(tmp_path, 1, "n")
    assert outcome is not None
    assert outcome.host == host_name()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("set -eu; mv $PWD $PWD-2; exit 3", ""),
        ("chmod -R a-w .; exit 3", ""),
        ("mkdir .motoko-outcome-1; exit 3", ""),
        ("set -eu; ln -s /dev/full .motoko-outcome-1; exit 3", FULL),
        ("set -o posix; export LC_ALL=xx; ln -s /dev/full .motoko-outcome-1; exit 3", FULL),
    ],
)
def test_what_kept_the_outcome_from_its_place_is_told(
    tmp_path: Path, text: str, found: str
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()

    done = run(run_dir, text, prefix=WITHOUT if os.geteuid() == 0 else None)

    where = run_dir if run_dir.exists() else tmp_path / "run-2"
    where.chmod(0o755)
    if (where / ".motoko-outcome-1").is_dir():
        (where / ".motoko-outcome-1").rmdir()
    (where / ".motoko-outcome-1").unlink(missing_ok=True)
    outcome = read_outcome(where, 1, "n")
    assert done.returncode == 3
    assert outcome is not None and outcome.exit == 3
    assert hindrance(where, 1, "n") == found


def test_rubbish_in_the_place_of_the_outcome_is_replaced(tmp_path: Path) -> None:
    Path(outcome_file(tmp_path, 1)).write_text('{"torn')

    run(tmp_path, "set -C")

    assert read_outcome(tmp_path, 1, "n") is not None


def test_nonce_that_could_break_the_outcome_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nonce"):
        script(tmp_path, "launch.sh", 'a"b', 1)


def test_shell_writes_no_sentinel(tmp_path: Path) -> None:
    run(tmp_path, "exit 1")

    assert not {"FINISHED", "FAILED"} & set(os.listdir(tmp_path))


OUTCOME = Outcome(exit=3, begin=1.5, end=2.5, host="h", pid=7)


def test_outcome_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_outcome(tmp_path, 2, "n", OUTCOME)

    assert read_outcome(tmp_path, 2, "n") == OUTCOME
    assert len(os.listdir(tmp_path)) == 1


def test_foreign_torn_and_absent_outcomes_are_none(tmp_path: Path) -> None:
    write_outcome(tmp_path, 1, "n", OUTCOME)
    path = Path(outcome_file(tmp_path, 1))
    whole = path.read_bytes()

    assert read_outcome(tmp_path, 1, "other") is None
    assert read_outcome(tmp_path, 2, "n") is None
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert read_outcome(tmp_path, 1, "n") is None
    path.write_bytes(b'{"nonce":"n","exit":"x"}\n')
    assert read_outcome(tmp_path, 1, "n") is None


def test_sentinel_follows_the_state(tmp_path: Path) -> None:
    left = []
    for state in ("FAILED", "FINISHED", "FINISHED", "CREATED"):
        write_sentinel(tmp_path, state)
        left.append(os.listdir(tmp_path))

    assert left == [["FAILED"], ["FINISHED"], ["FINISHED"], []]


def test_the_sentinel_of_a_failure_says_why(tmp_path: Path) -> None:
    write_sentinel(tmp_path, "FAILED", {"nonce": "a", "class": "walltime", "cause": "too long"})

    assert read_failure(tmp_path, "a") == {
        "nonce": "a",
        "class": "walltime",
        "cause": "too long",
    }
    assert read_failure(tmp_path, "of another attempt") is None
    (tmp_path / "FAILED").write_bytes(b"")
    assert read_failure(tmp_path, "a") is None
    write_sentinel(tmp_path, "FINISHED")
    assert (tmp_path / "FINISHED").read_bytes() == b""
    assert read_failure(tmp_path, "a") is None


HEARS = "trap 'echo heard; exit 3' USR1; while :; do read -t 0.05 <> <(:); done"


@pytest.mark.slow
def test_what_handles_the_signal_is_told_and_nothing_else_is_disturbed(tmp_path: Path) -> None:
    text = f"sleep 2 & (bash -c '{HEARS.replace(chr(39), chr(34))}'; echo $?)\nwait; echo on\n"

    done = run(tmp_path, text, warning=Forewarning(signal.SIGUSR1, 1.5, False))

    assert (done.stdout, done.returncode) == ("heard\n3\non\n", 0), done.stderr
    assert (tmp_path / ".motoko-warned-1").exists()


@pytest.mark.slow
def test_a_signal_for_the_script_is_for_it_alone(tmp_path: Path) -> None:
    warning = Forewarning(signal.SIGUSR1, 1.0, True)

    done = run(tmp_path, f"(trap 'echo no' USR1; sleep 1.5) &\n{HEARS}\n", warning=warning)

    assert (done.stdout, done.returncode) == ("heard\n", 3), done.stderr


def test_who_ends_in_time_is_not_told_and_waits_for_nobody(tmp_path: Path) -> None:
    done = run(tmp_path, "true & wait; echo on\n", warning=Forewarning(10, 3600.0, False))

    assert done.stdout == "on\n"
    assert not (tmp_path / ".motoko-warned-1").exists()
