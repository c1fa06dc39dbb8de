"""What executes is known where the file system has no locks."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from motoko.host import process_start_time
from motoko.job.holders import end_holders, is_held
from motoko.job.token import take_token, token_facts
from motoko.launch.adoption import Fate, examine
from motoko.launch.executing import executing_in, held_attempts
from tests.support.no_locks import refuse_locks
from tests.support.waiting import wait_until


def fate(run_dir: Path) -> Fate:
    return examine(cast("Any", SimpleNamespace(run_dir=str(run_dir), number=1, nonce="n"))).fate


def test_an_attempt_executes_while_a_process_has_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(tmp_path, monkeypatch)
    run_dir, copy = tmp_path / "run-1", tmp_path / "copy"
    run_dir.mkdir()
    study = cast("Any", SimpleNamespace(name="s", run_dir=lambda run_id: run_dir))
    fd = take_token(run_dir, 1, token_facts("n", "g"))
    assert fd is not None
    assert is_held(run_dir, 1)  # by this process
    with subprocess.Popen(
        ["/bin/bash", "-c", "cat <&0 & echo; wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[fd],
    ) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        start_time = process_start_time(shell.pid)
        os.write(fd, f"started {shell.pid} {time.time()} {start_time}\n".encode())
        os.close(fd)
        shutil.copytree(run_dir, copy)

        alive = (fate(run_dir), held_attempts(str(run_dir)), executing_in(study, 1))
        shell.kill()
        shell.wait()
        orphaned = (fate(run_dir), held_attempts(str(run_dir)), executing_in(study, 1))
        of_copy = fate(copy)
        n_ended = end_holders(str(run_dir), 1)
        wait_until(lambda: not is_held(run_dir, 1))

    assert alive[:2] == (Fate.RUNNING, {1: "n"})
    assert orphaned[:2] == (Fate.HELD, {1: "n"})
    assert alive[2] == orphaned[2] is not None
    assert of_copy is Fate.VANISHED  # the original's processes are none of its own
    assert n_ended == 1
    assert (fate(run_dir), held_attempts(str(run_dir))) == (Fate.VANISHED, {})
    assert executing_in(study, 1) is None
