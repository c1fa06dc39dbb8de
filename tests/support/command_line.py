"""The command line as people use it: a process of its own, in a directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motoko.cli import scaffold
from motoko.daemon import Office
from tests.support import warm
from tests.support.processes import kill_processes_of
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60


class CommandLine:
    """``motoko`` in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must be with this exit code."""
        done = warm.run(arguments, self.directory, self._environment, DEADLINE_S)
        assert done.returncode == code, f"{arguments}: {done}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    @contextmanager
    def started(self, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on beside the test, in an environment with these variables;
        killed at the end."""
        with subprocess.Popen(
            [sys.executable, "-m", "motoko", *arguments],
            cwd=self.directory,
            env=self._environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def pid(self, kind: str) -> int | None:
        """The process id of the server or the launcher."""
        owner = Office(self.directory / ".wf" / f"{kind}.lock", kind).owner()
        return owner.pid if owner else None

    def kill(self, kind: str) -> None:
        """``kill -9`` the server or the launcher, which is there."""
        pid = self.pid(kind)
        assert pid is not None, kind
        os.kill(pid, signal.SIGKILL)

    def counts(self, study: str) -> dict[str, int]:
        """Runs of a study by state."""
        [found] = [s for s in self.json("info")["studies"] if s["study"] == study]
        return found["total"]

    def wait_for_script(self, study: str) -> None:
        """Wait until some run of a study has begun to execute."""
        tokens = f"{study}/BD-{study}-runs/*/.motoko-token-*"
        wait_until(lambda: any(self.directory.glob(tokens)), f"a script of {study}")


@contextmanager
def new_workflow(directory: Path) -> Iterator[CommandLine]:
    """What ``motoko new`` makes; nothing of it runs any more at the end."""
    scaffold.make(directory)
    try:
        yield CommandLine(directory)
    finally:
        kill_processes_of(directory)
