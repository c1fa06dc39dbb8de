"""A database in a file system that has no locks."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import AlreadyRunning
from motoko.store.address import Served, socket_address
from motoko.store.server import Server


def test_a_database_is_locked_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, local = tmp_path / "data", tmp_path / "local"
    for directory in (data, local):
        directory.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(local))
    flock = fcntl.flock

    def refuse(fd: Any, how: int) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        if Path(f"/proc/self/fd/{number}").readlink().is_relative_to(data):
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", refuse)
    served = [Served(data / "one.db", socket_address(data))]
    first, second = Server(served), Server(served)

    first.start()
    try:
        with pytest.raises(AlreadyRunning):
            second.start()
    finally:
        first.close()

    second.start()
    second.close()
