"""Studies that are served over the network, and ports of this machine."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from motoko.config import read_study
from motoko.store import certificates, tls
from motoko.study.study import Study


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether nobody listens at a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def far_study(directory: Path, host: str, certificates_dir: Path | None) -> Study:
    """A study that is reached at ``zeo://name:port``."""
    return Study(
        read_study(directory),
        directory.name,
        host=host,
        workflow_file=None,
        certificates=certificates_dir,
    )


def make_certificates(directory: Path, *names: str, days: float = 30) -> Path:
    """All that server and clients need, of an authority of its own."""
    certificates.make(directory, names or ("localhost",), days=days)
    return directory


def mixed(directory: Path, **parts: Path) -> Path:
    """Certificates from several directories: ``ca=one, client=other``."""
    directory.mkdir()
    for name, source in parts.items():
        for file in tls.pair(source, name):
            shutil.copy(file, directory / file.name)
    return directory


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A port at which something says this and hangs up; without any answer it is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:
                    return
                taken.append(connection)
                if answer is not None:
                    with suppress(OSError):  # who asked has gone already
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_RDWR)
                    connection.close()

        thread = threading.Thread(target=take)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()
