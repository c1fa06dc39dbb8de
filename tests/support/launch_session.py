"""A launcher in a thread of the test, and waiting for what it records."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from motoko.errors import DatabaseUnavailable
from motoko.launch import watch
from motoko.launch.desk import Desk
from motoko.launch.launcher import LauncherSettings, launch
from motoko.launch.work import Done, Work
from motoko.store.address import socket_address
from motoko.study.study import Study
from tests.support.studies import open_study, served, write_study
from tests.support.waiting import wait_until

T = TypeVar("T")
DEADLINE_S = 30.0
PYTHON = sys.executable
#: The beginning of a script that writes a journal by hand: ``say TIME JSON-MEMBERS``.
SAY = """
nonce=$(sed 's/.*"nonce": "\\([^"]*\\)".*/\\1/' .motoko-run.json)
say() {
  echo "- {\\"n\\":\\"$nonce\\",\\"t\\":$1,\\"op\\":\\"set\\",$2}" >> .motoko-journal-1-h-1-a
}
"""
YAML = """\
study: s
job: {x: float, s: str}
run: {norm: float}
"""
#: Says outside the run directory that a run was executed: see `ran`.
RAN = "echo $MOTOKO_RUN_ID >> {0}/ran\n"
#: The same study, whose runs are never tried again by themselves.
ONCE = YAML + "retry: 0\n"


class Launching:
    """A launcher that works until `stop`."""

    def __init__(self, *studies: Study, **changes: Any) -> None:
        self.studies = studies
        self._tell = changes.pop("tell", lambda _: None)
        place = studies[0].directory / ".wf"
        settings: dict[str, Any] = {
            "knock": socket_address(place, "knock.sock"),
            "python_dir": place / "python",
            "max_concurrent": 2,
            "poll_s": 60.0,  # nothing but the safety net hangs on it
            "grace_s": 1.0,
        }
        self._settings = LauncherSettings(**{**settings, **changes})
        self._ready = threading.Event()
        self._scope: anyio.CancelScope | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)

    def _main(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            with anyio.CancelScope() as self._scope:
                await launch(
                    self.studies,
                    settings=self._settings,
                    ready=self._ready.set,
                    tell=self._tell,
                )

        try:
            anyio.run(main)
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()

    def stop(self) -> None:
        """Cancel it and wait until it is gone."""
        assert self._loop is not None and self._scope is not None
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._scope.cancel)
        self.join()

    def join(self) -> None:
        """Wait until it is gone."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        for study in self.studies:
            study.database.close()


@contextmanager
def launching(*studies: Study, **changes: Any) -> Iterator[Launching]:
    """Launch the runs of studies, through connections of its own; no error is expected."""
    launcher = Launching(*(open_study(study.directory) for study in studies), **changes)
    try:
        yield launcher
    finally:
        launcher.stop()
    if launcher.error is not None:
        raise launcher.error


@contextmanager
def new_study(directory: Path, script: str, yaml: str = YAML) -> Iterator[Study]:
    """A new, served study whose runs execute this script."""
    study = open_study(write_study(directory, yaml, script))
    with served(study):
        study.initialise()
        try:
            yield study
        finally:
            study.close()


def create(study: Study, n_runs: int = 1, **run_params: Any) -> list[int]:
    """Runs on as many points."""
    space = {"x": [float(i) for i in range(n_runs)]}
    return study.create_tasks(space, run_params, run_name="r", event_name="main")


def row(study: Study, run_id: int = 1) -> Mapping[str, Any]:
    """What the database has of a run."""
    with study.database.read() as tables:
        return dict(tables.run(run_id))


def attempts(study: Study, run_id: int = 1) -> list[dict[str, Any]]:
    """What the database has of its attempts."""
    with study.database.read() as tables:
        return tables.attempts(run_id)


def wait_for(study: Study, ask: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """What ``ask`` gives once that is true; asked again at each change of the study."""
    changed = threading.Event()
    stop = study.database.feed.listen(lambda _: changed.set())
    deadline = time.monotonic() + deadline_s
    try:
        while True:
            changed.clear()
            answer = ask()
            if answer:
                return answer
            if not changed.wait(max(0.0, deadline - time.monotonic())):
                with study.database.read() as tables:
                    rows = {run_id: dict(tables.run(run_id)) for run_id in tables.run_ids()}
                    history = {run_id: tables.attempts(run_id) for run_id in rows}
                raise AssertionError(f"in vain: {rows} {history}")
    finally:
        stop()


def wait_for_state(study: Study, state: str, *run_ids: int) -> None:
    """Wait until all these runs are in a state."""
    wait_for(study, lambda: all(row(study, r)["state"] == state for r in run_ids or (1,)))


def wait_for_attempts(study: Study, n_ended: int, run_id: int = 1) -> list[dict[str, Any]]:
    """The attempts of a run, once so many of them have ended."""

    def ended() -> list[dict[str, Any]] | None:
        found = attempts(study, run_id)
        return found if sum("end_time" in a for a in found) >= n_ended else None

    found = wait_for(study, ended)
    assert found is not None
    return found


def ran(directory: Path) -> list[int]:
    """Ids of the runs that a script with `RAN` was executed for, each as often as it was."""
    return sorted(map(int, (directory / "ran").read_text().split()))


def wait_for_file(file: Path) -> str:
    """The content of a file that a script writes, once it ends in a line end."""
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    return file.read_text()


def open_gate(gate: Path) -> None:
    """Let the script go on that waits at this named pipe (``read < gate``)."""
    with open(gate, "w") as pipe:
        pipe.write("go\n")


def make_gate(directory: Path, name: str = "gate") -> Path:
    """A named pipe that a script waits at until `open_gate`."""
    gate = directory / name
    os.mkfifo(gate)
    return gate


def reap(pid: int) -> None:
    """Wait for a child of this process, as init would for that of a launcher that is gone."""
    os.waitpid(pid, 0)


def watched_withdrawals(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a launcher has withdrawn an attempt."""
    withdraw = watch.Watch.withdraw
    is_withdrawn = threading.Event()

    def withdrawing(self: watch.Watch, *given: Any) -> None:
        withdraw(self, *given)
        is_withdrawn.set()

    monkeypatch.setattr(watch.Watch, "withdraw", withdrawing)
    return is_withdrawn


def losing_the_answer(
    monkeypatch: pytest.MonkeyPatch, is_meant: Callable[[Done], object]
) -> list[Done]:
    """The first commit that is meant is made, and no launcher hears of it; what it was."""
    write = Desk._write
    lost: list[Done] = []

    def writing(self: Desk, work: Work) -> Done:
        done = write(self, work)
        if is_meant(done) and not lost:
            lost.append(done)
            raise DatabaseUnavailable("of s", "the answer was lost")
        return done

    monkeypatch.setattr(Desk, "_write", writing)
    return lost


def is_process_there(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
