"""Where the server of a database is reached.

A host is written ``zeo:///directory`` (a Unix socket that belongs to that directory) or
``zeo://name:port``. The socket lies in the directory itself, unless the path is longer than a
socket's may be or the file system has no sockets: then it lies in a private directory of this
machine, under a name made from the directory's path, so that both sides find it without
asking each other.
"""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from motoko.errors import Mistake, StudyNotFound

#: Bytes of a socket's path that Linux takes, without the closing zero.
LONGEST_SOCKET_PATH = 107
SOCKET_NAME = "zeo.sock"


class Address(NamedTuple):
    """A Unix socket (``path``) or a TCP port (``host`` and ``port``)."""

    path: Path | None
    host: str = ""
    port: int = 0

    @property
    def for_zeo(self) -> str | tuple[str, int]:
        """The form that ZEO takes."""
        return str(self.path) if self.path is not None else (self.host, self.port)

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"


def parse_host(host: str) -> Address | Path:
    """A TCP address, or the directory that a local socket belongs to.

    ValueError says what is wrong with the text.
    """
    parts = urlsplit(host)
    if parts.scheme != "zeo":
        raise ValueError(f"{host!r} does not begin with zeo://")
    if not parts.netloc and parts.path.startswith("/"):
        return Path(parts.path)
    if parts.hostname and parts.port and parts.path in ("", "/"):
        return Address(None, parts.hostname, parts.port)
    raise ValueError(f"{host!r} is neither zeo:///directory nor zeo://name:port")


def socket_address(directory: Path, name: str = SOCKET_NAME) -> Address:
    """The socket of this name that belongs to a directory (which need not exist)."""
    path = directory.absolute() / name
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH and has_sockets(directory):
        return Address(path)
    mark = blake2b(os.fsencode(path), digest_size=8).hexdigest()
    return Address(private_directory() / f"{mark}-{name}")


def private_directory() -> Path:
    """A directory of this machine that only this user enters, made when it is missing."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    parent = (
        Path(runtime) if runtime and Path(runtime).is_dir() else Path(tempfile.gettempdir())
    )
    directory = parent / f"motoko-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StudyNotFound(str(directory), "belongs to somebody else; set XDG_RUNTIME_DIR")
    if found.st_mode & 0o077:
        directory.chmod(0o700)
    return directory


_socket_support: dict[int, bool] = {}


def has_sockets(directory: Path) -> bool:
    """Whether sockets can be made in a directory's file system (asked once a file system)."""
    while not directory.is_dir() and directory != directory.parent:
        directory = directory.parent
    device = directory.stat().st_dev
    if device not in _socket_support:
        _socket_support[device] = _try_socket(directory)
    return _socket_support[device]


def _try_socket(directory: Path) -> bool:
    if not os.access(directory, os.W_OK):
        return True  # a reader cannot try; whoever wrote there could
    probe = directory / f".sock{os.getpid()}"
    if len(os.fsencode(probe)) > LONGEST_SOCKET_PATH:
        return True  # the length decides, not the file system
    with socket.socket(socket.AF_UNIX) as test:
        try:
            test.bind(str(probe))
        except OSError:
            return False
        finally:
            probe.unlink(missing_ok=True)
    return True


def check_host(file: str, line: int, key: str, host: str) -> Mistake | None:
    """The mistake in a ``host`` of the configuration, if there is one."""
    try:
        parse_host(host)
    except ValueError as error:
        return Mistake(file, line, key, str(error), "write zeo:///directory or zeo://name:port")
    return None
