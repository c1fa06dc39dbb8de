"""Where a server listens, who can reach it, and when it packs."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from motoko.errors import DatabaseUnavailable
from motoko.store import server
from motoko.store.address import LONGEST_SOCKET_PATH, socket_address
from motoko.study.study import Study
from tests.support.studies import open_study, served, write_study


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory with a path so short that sockets find room below it."""
    with TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study in a directory whose path is too long for a socket, seen from a login session."""
    enter(tmp_path / "login", monkeypatch)
    return write_study(tmp_path / ("d" * LONGEST_SOCKET_PATH) / "mult")


def enter(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the environment of another session."""
    runtime.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))


def create(study: Study, **given: object) -> list[int]:
    return study.create_tasks(given, None, run_name="a", event_name="main")


def test_a_server_is_found_from_another_environment(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = open_study(deep)
    with served(open_study(deep)):
        early.initialise()
        create(early, x=1.0)
        enter(tmp_path / "cron", monkeypatch)
        other = open_study(deep)

        assert other.run(1).job.x == 1.0

        other.close()
        early.close()


def test_a_client_finds_a_server_that_began_later_in_another_environment(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = open_study(deep)
    enter(tmp_path / "cron", monkeypatch)
    with served(open_study(deep)):
        early.initialise()

        assert create(early, x=1.0) == [1]

        early.close()


def test_what_was_written_down_for_another_directory_is_not_followed(
    deep: Path, tmp_path: Path
) -> None:
    with served(open_study(deep)):
        copy = deep.with_name("copy")
        shutil.copytree(deep, copy)

        assert socket_address(copy / ".bd").path != socket_address(deep / ".bd").path


def test_a_place_that_is_gone_is_not_followed(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(open_study(deep)):
        pass
    shutil.rmtree(tmp_path / "login")
    enter(tmp_path / "cron", monkeypatch)

    with served(open_study(deep)):
        study = open_study(deep)
        study.initialise()

        assert create(study, x=1.0) == [1]
        study.close()


def test_no_server_and_no_place_for_one_are_said_as_such(deep: Path, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="no server answers"):
        open_study(deep).database.connect(0)

    place = tmp_path / "login" / f"motoko-{os.getuid()}"
    place.rmdir()
    place.touch()
    with pytest.raises(DatabaseUnavailable, match="set XDG_RUNTIME_DIR"):
        open_study(deep)


def test_nobody_else_can_reach_the_socket_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    class Watched(server.StorageServer):  # type: ignore[misc]
        def __init__(self, address: str, *args: Any, **options: Any) -> None:
            super().__init__(address, *args, **options)
            modes.append(stat.S_IMODE(Path(address).stat().st_mode))

    monkeypatch.setattr(server, "StorageServer", Watched)
    with served(open_study(write_study(tmp_path / "mult"))):
        assert modes and not modes[0] & 0o077


def test_a_pack_is_due_by_what_the_last_one_left_however_often_the_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PACK_FROM_BYTES", 1)
    monkeypatch.setattr(server, "_PACK_KEEP_S", -1.0)
    study = open_study(write_study(tmp_path / "mult"))

    def n_packs() -> int:
        """How many packs a start of the server brings."""
        with served(study) as process:
            study.initialise()
            create(study, x=1.0)
            (storage,) = process._open
            storage.pack_when_due()
            packing = storage._packing
            if packing is not None:
                packing.join()
            study.close()
            return int(packing is not None)

    assert n_packs() == 1
    assert n_packs() == 0
    with served(study):
        for i in range(100):
            study.run(1).norm = float(i)
        study.close()
    assert n_packs() == 1


@pytest.mark.parametrize("has_links", [True, False])
def test_a_packed_file_is_on_disk_before_it_takes_the_place_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    monkeypatch.setattr(server, "_PACK_KEEP_S", -1.0)
    study = open_study(write_study(tmp_path / "mult"))
    file, calls, n_gaps = study.database_file, [], []

    def noted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(path: Any, *more: Any) -> None:
            calls.append((name, Path(path).name))
            real(path, *more)
            n_gaps.append(not file.exists())

        monkeypatch.setattr(module, name, call)

    def no_link(*paths: Any) -> None:
        raise PermissionError

    with served(study) as process:
        study.initialise()
        create(study, x=[1.0, 2.0])
        if not has_links:
            monkeypatch.setattr(os, "link", no_link)
        for module, name in ((server, "force_file"), (server, "force_directory")):
            noted(module, name)
        for name in ("rename", "unlink"):
            noted(os, name)
        process._open[0]._pack()
        assert study.run(1).state == "CREATED"
        study.close()

    base = file.name
    names = (base, f"{base}.pack", f"{base}.old", file.parent.name)
    assert [call for call in calls if call[1] in names] == [
        ("force_file", f"{base}.pack"),
        ("rename", base),
        ("rename", f"{base}.pack"),
        ("force_directory", file.parent.name),
        ("unlink", f"{base}.old"),
    ]
    assert sum(n_gaps) == (0 if has_links else 1)
