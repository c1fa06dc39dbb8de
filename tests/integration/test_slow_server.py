"""A server that listens and does not get round to answering."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from motoko.errors import DatabaseUnavailable
from motoko.store import database
from motoko.store.address import Address, Served
from motoko.store.server import Server
from motoko.study.study import Study
from tests.support.studies import open_study, write_study

#: Shorter than any connection takes.
NO_TIME_S = 0.0
#: More than may wait for a server that lets none wait.
N_WAITING = 10


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """One whose server listens elsewhere."""
    found = open_study(write_study(tmp_path / "mult"))
    server = Server([Served(found.database_file, Address(elsewhere(found)))])
    server.start()
    yield found
    found.close()
    server.close()


def elsewhere(study: Study) -> Path:
    assert study.address.path is not None
    return study.address.path.with_name("other.sock")


@contextmanager
def listening(study: Study) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(study.address.path))
        listener.listen()
        yield listener


def hand_on(listener: socket.socket, place: Path) -> None:
    """Let who connects first speak with the server once a second one has looked whether
    anybody listens."""
    first, _ = listener.accept()
    second, _ = listener.accept()
    second.close()
    with first, socket.socket(socket.AF_UNIX) as server:
        server.connect(str(place))
        answers = threading.Thread(target=pump, args=(server, first))
        answers.start()
        pump(first, server)
        answers.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def test_a_server_that_listens_is_waited_for(study: Study) -> None:
    with listening(study) as listener:
        relay = threading.Thread(target=hand_on, args=(listener, elsewhere(study)))
        relay.start()
        study.database.connect(NO_TIME_S)
        study.initialise()

        assert study.tables.n_runs == 0
        study.close()
        relay.join()


def test_one_that_goes_on_saying_nothing_is_told_as_that(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BEGINNING_S", 0.1)
    with listening(study), pytest.raises(DatabaseUnavailable, match="it is stopped, or busy"):
        study.database.connect(NO_TIME_S)


def test_a_server_listens_although_no_more_may_wait_for_it(study: Study) -> None:
    place = str(study.address.path)
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as waiting:
        listener.bind(place)
        listener.listen(0)
        with pytest.raises(BlockingIOError):
            for _ in range(N_WAITING):
                other = waiting.enter_context(socket.socket(socket.AF_UNIX))
                other.setblocking(False)
                other.connect(place)

        assert study.address.is_listened_at


def test_where_nobody_listens_there_is_no_server(study: Study) -> None:
    with listening(study):  # as one that was killed: its socket is left
        pass
    with pytest.raises(DatabaseUnavailable, match="no server answers"):
        study.database.connect(NO_TIME_S)
