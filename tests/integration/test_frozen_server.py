"""A server that is stopped (SIGSTOP) keeps its connections and says nothing."""

from __future__ import annotations

import signal
import subprocess
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import DatabaseUnavailable
from motoko.store import client
from motoko.store.client import BoundedClient
from motoko.store.session import Session, entered
from motoko.study.study import Study
from tests.support.studies import open_study, server_process, write_study
from tests.support.waiting import wait_until

DEADLINE_S = 60


class Freezing:
    """The server of a study, as a process that can be stopped."""

    def __init__(self, study: Study, process: subprocess.Popen[str]) -> None:
        self.study = study
        self._process = process

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        wait_until(self._is_frozen, "the server to stop")

    def _is_frozen(self) -> bool:
        stats = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in stats)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Freezing]:
    monkeypatch.setattr(client, "_ANSWER_S", 0.5)
    monkeypatch.setattr(client, "_COMMIT_S", 1.0)
    study = open_study(write_study(tmp_path / "mult"))
    with server_process(study) as process:
        study.initialise()
        freezing = Freezing(study, process)
        yield freezing
        freezing.thaw()
        study.close()


def within_deadline(call: Callable[[], Any]) -> Any:
    """What a call gives; TimeoutError if it hangs."""
    with ThreadPoolExecutor() as pool:
        return pool.submit(call).result(DEADLINE_S)


def create(study: Study, **given: object) -> list[int]:
    return study.create_tasks(given, None, run_name="a", event_name="main")


def read_run(study: Study) -> None:
    with study.database.read() as tables:
        tables.run(1)


@pytest.mark.slow
def test_a_read_from_a_frozen_server_ends(server: Freezing) -> None:
    create(server.study, x=1.0)
    other = open_study(server.study.directory)
    other.database.connect()
    server.freeze()

    with pytest.raises(DatabaseUnavailable):
        within_deadline(lambda: read_run(other))
    is_away = other.database.is_away
    server.thaw()
    other.database.connect(DEADLINE_S)

    assert is_away
    assert other.run(1).job.x == 1.0
    other.close()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["vote", "finish"])
def test_a_commit_to_a_frozen_server_ends_and_is_done_once(
    server: Freezing, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    study = server.study
    create(study, x=1.0)
    session = Session()
    with entered(session):
        study.run(1).norm = (study.run(1).norm or 0) + 1
    freeze_at(moment, server, monkeypatch)

    with pytest.raises(DatabaseUnavailable):
        within_deadline(session.commit)
    server.thaw()
    study.database.connect(DEADLINE_S)
    with entered(session):
        session.commit()
    study.run(1).norm = study.run(1).norm + 10

    other = open_study(study.directory)
    assert other.run(1).norm == 11.0
    assert study.run(1).norm == 11.0
    other.close()


def freeze_at(moment: str, server: Freezing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeze the server at this moment of the next commit."""
    if moment == "vote":
        server.freeze()
        return
    finish = BoundedClient.tpc_finish

    def frozen(client: BoundedClient, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(BoundedClient, "tpc_finish", finish)
        server.freeze()
        return finish(client, *arguments, **options)

    monkeypatch.setattr(BoundedClient, "tpc_finish", frozen)


def test_who_is_hurried_does_not_wait_for_a_frozen_server(
    server: Freezing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_COMMIT_S", 1000.0)
    study = server.study
    create(study, x=1.0)
    server.freeze()

    def change() -> None:
        study.run(1).norm = 1.0

    with ThreadPoolExecutor() as pool:
        changing = pool.submit(change)
        study.database.hurry()
        with pytest.raises(CancelledError):
            changing.result(DEADLINE_S)


def test_what_a_commit_carries_is_counted_for_each_commit(server: Freezing) -> None:
    def carried() -> int:
        return int(server.study.database._db.storage._server.n_bytes)

    create(server.study, x=[float(i) for i in range(1000)])
    large = carried()
    server.study.run(1).note = "small"

    assert large > 10_000 > carried() > 0
