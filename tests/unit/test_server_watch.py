"""A server looks whether its files are still its own before it makes a commit final."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from ZEO.Exceptions import ClientDisconnected

from motoko.daemon import WATCH_S
from motoko.errors import DatabaseUnavailable
from motoko.store import server
from motoko.store.address import Served
from tests.support.studies import open_study, write_study


def test_a_server_that_was_frozen_refuses_commits_once_it_was_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(server, "boot_clock", lambda: now)
    asked = []

    def loss() -> str:
        asked.append(now)
        return "taken over by process 7 on login2"

    watch = server._Watch(loss)

    watch.check()  # it looked a moment ago, and does not ask the file system for each commit
    assert asked == []
    now += 3 * WATCH_S
    with pytest.raises(ClientDisconnected, match="taken over by process 7"):
        watch.check()


def test_no_commit_passes_a_server_whose_files_are_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    losses: list[str | None] = [None]
    monkeypatch.setattr(server, "boot_clock", lambda: now)
    study = open_study(write_study(tmp_path / "mult"))
    own = server.Server([Served(study.database_file, study.address)], lambda: losses[0])
    own.start()
    try:
        study.initialise()
        study.create_tasks({"x": 1.0}, None, run_name="a", event_name="main")
        size = study.database_file.stat().st_size

        losses[0] = "taken over by process 7 on login2"
        now += 3 * WATCH_S
        with pytest.raises(DatabaseUnavailable):
            study.database.write(lambda tables: tables.update_run(1, {"state": "FINISHED"}))

        assert study.database_file.stat().st_size == size
    finally:
        study.close()
        own.close()


def test_a_server_that_was_frozen_and_has_its_files_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(server, "boot_clock", lambda: now)
    watch = server._Watch(lambda: None)
    now += 3600

    watch.check()


def test_a_server_that_stops_does_not_complain_of_connections_that_are_closed_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_study(tmp_path / "s")
    farewells = logging.getLogger("ZEO.asyncio.server")
    study = open_study(tmp_path / "s")
    one = server.Server([Served(study.database_file, study.address)])
    one.start()
    close = server._Storage.close

    def closing(storage: server._Storage) -> None:
        close(storage)
        farewells.error("call_soon_threadsafe failed while connected")
        farewells.error("Disconnected")

    monkeypatch.setattr(server._Storage, "close", closing)
    caplog.set_level(logging.ERROR)
    one.close()
    farewells.error("call_soon_threadsafe failed while connected")

    assert [record.msg for record in caplog.records] == [
        "Disconnected",
        "call_soon_threadsafe failed while connected",
    ]
