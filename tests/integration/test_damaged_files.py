"""A database file with damage in it: whoever meets that is told so, and what mends it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from ZODB.FileStorage import FileStorage

from motoko.errors import DatabaseFailed
from motoko.store import audit, patience
from motoko.store.patience import patience as waiting_at_most
from motoko.store.session import Session
from motoko.workflow.firings import in_session
from tests.support.studies import open_study, served, write_study


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of a study with some runs, which nobody serves."""
    directory = write_study(tmp_path / "mult")
    study = open_study(directory)
    with served(study):
        study.initialise()
        points = {"x": [float(x) for x in range(100)], "s": "", "flag": True}
        study.create_tasks(points, None, run_name="a", event_name="main")
        study.close()
    return directory


def places(file: Path) -> dict[bytes, int]:
    """Where in the file each object is."""
    storage = FileStorage(str(file), read_only=True)
    try:
        return dict(storage._index.items())
    finally:
        storage.close()


@pytest.mark.slow
def test_damage_anywhere_in_a_file_is_told_as_such(directory: Path) -> None:
    file = open_study(directory).database_file
    whole = file.read_bytes()
    n_told = 0
    for place in places(file).values():
        damaged = bytearray(whole)
        damaged[place : place + 8] = b"\xff" * 8
        file.write_bytes(damaged)
        study = open_study(directory)
        try:
            study.database.open_file(file)
            with study.database.read() as tables:
                audit.problems(tables)
        except DatabaseFailed as error:
            n_told += 1
            assert "it is damaged" in str(error)
            assert "`motoko repair`" in str(error)
        finally:
            study.close()

    assert n_told > 10


def test_what_is_missing_from_a_file_is_no_older_snapshot(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FAILING_S", 0.0)
    study, before = open_study(directory), open_study(directory)

    async def act() -> None:
        assert study.run(1).state

    async def act_in_session() -> None:
        await in_session(act, "act")

    def read() -> None:
        session = Session()
        try:
            session.read(study.database, lambda tables: tables.run(1))
        finally:
            session.abort()

    def write() -> None:
        study.database.write(lambda tables: tables.update_run(1, {"state": "CANCELLED"}))

    looks = (read, write, lambda: study.run(1).state, lambda: anyio.run(act_in_session))
    with served(study) as server, waiting_at_most(0.0):
        with before.database.read() as tables:
            lost = tables.trees["runs"]._firstbucket._p_oid
        before.close()
        del server._open[0].file_storage._index[lost]
        study.database.connect()
        for look in looks:
            with pytest.raises(DatabaseFailed, match=r"a part of it is missing.*motoko repair"):
                look()
        study.close()
