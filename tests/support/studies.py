"""Studies with a real database server, for tests."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from motoko.config import read_study
from motoko.store.address import Served
from motoko.store.database import Database
from motoko.store.server import Server
from motoko.study.study import Study

ROOT = Path(__file__).parents[2]
BD_YAML = """\
study: {name}
job: {{x: float, n: int, s: str, flag: bool}}
run: {{norm: float, method: str}}
job_space: {{n: 1}}
"""


def write_study(directory: Path, yaml: str | None = None, script: str = "true\n") -> Path:
    """A study's directory with its two files."""
    directory.mkdir(parents=True, exist_ok=True)
    text = BD_YAML.format(name=directory.name) if yaml is None else yaml
    (directory / "bd.yaml").write_text(text)
    (directory / "launch.sh").write_text(script)
    return directory


def open_study(directory: Path) -> Study:
    """The study in a directory, as another process would open it."""
    return Study(read_study(directory), directory.name, host=None, workflow_file=None)


@contextmanager
def served(*studies: Study) -> Iterator[Server]:
    """Serve studies from threads of this process."""
    server = Server([Served(study.database_file, study.address) for study in studies])
    server.start()
    try:
        yield server
    finally:
        server.close()


class ServerProcess:
    """A server as a process of its own, which tests may kill and start again."""

    def __init__(self, served: Sequence[Served]) -> None:
        self._places = [str(p) for one in served for p in (one.file, one.address.path)]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "tests.support.serve", *self._places]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """``kill -9`` it, and wait until it is gone."""
        if self.process is not None:
            with self.process as process:
                process.kill()
            self.process = None


@contextmanager
def process_serving(served: Sequence[Served]) -> Iterator[ServerProcess]:
    """Serve database files from a process of its own."""
    server = ServerProcess(served)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def server_process(*studies: Study) -> Iterator[subprocess.Popen[str]]:
    """Serve studies from a process of its own, which tests may kill."""
    with process_serving([Served(s.database_file, s.address) for s in studies]) as server:
        assert server.process is not None
        yield server.process


@contextmanager
def running_study(directory: Path, yaml: str | None = None) -> Iterator[Study]:
    """A new study with an empty, served database."""
    study = open_study(write_study(directory, yaml))
    with served(study):
        study.initialise()
        try:
            yield study
        finally:
            study.close()


def delay_news(database: Database[Any], monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Hold back what the server tells this client of others until the client asks, or has
    committed something itself; the event says that something is held back."""
    database.connect()
    storage = database._db.storage
    client = storage._server.client  # what the server says comes in here, in its own thread
    news: list[tuple[bytes, list[bytes]]] = []
    hear, ping, finish = client.invalidateTransaction, storage.ping, storage.tpc_finish
    is_late = threading.Event()

    def arrive() -> None:
        while news:
            client.loop.call_soon_threadsafe(hear, *news.pop(0))

    def late(tid: bytes, oids: list[bytes]) -> None:
        news.append((tid, oids))
        is_late.set()

    def asked() -> object:
        arrive()
        return ping()

    def finished(*arguments: Any) -> object:
        arrive()
        return finish(*arguments)

    monkeypatch.setattr(client, "invalidateTransaction", late)
    monkeypatch.setattr(storage, "ping", asked)
    monkeypatch.setattr(storage, "tpc_finish", finished)
    return is_late
