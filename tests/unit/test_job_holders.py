"""Processes of an attempt that have not inherited its token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from motoko.host import boot_id, host_name, process_kin
from motoko.job.holders import find_kin
from motoko.job.token import Token

#: Begins its session when it is told to.
LEADER = """
import os, sys
sys.stdin.readline()
os.setsid()
print("leads", flush=True)
sys.stdin.readline()
"""


@contextmanager
def leader(run_dir: Path) -> Iterator[subprocess.Popen[str]]:
    told = {**os.environ, "MOTOKO_ATTEMPT": "1", "MOTOKO_RUN_DIR": str(run_dir)}
    command = [sys.executable, "-c", LEADER]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, cwd=run_dir, env=told
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def start_time(pid: int) -> int:
    kin = process_kin(pid)
    assert kin is not None
    return kin.start_time


@contextmanager
def one_younger_than(pid: int) -> Iterator[None]:
    """While another process is there that has started a tick later at least."""
    while True:
        with subprocess.Popen(["sleep", "1000"]) as other:
            try:
                if start_time(other.pid) > start_time(pid):
                    yield
                    return
            finally:
                other.kill()


def test_a_shell_that_was_seen_before_it_led_a_session_is_looked_for_again(
    tmp_path: Path,
) -> None:
    facts = {"nonce": "n1", "host": host_name(), "boot": boot_id()}
    with leader(tmp_path) as process, one_younger_than(process.pid):
        assert process.stdin is not None and process.stdout is not None
        taken = Token(facts, process.pid, 1.0, start_time(process.pid))
        before = find_kin(tmp_path, 1, taken)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "leads\n"

        assert (before, find_kin(tmp_path, 1, taken)) == ([], [process.pid])
