"""Where the server of a database is reached.

A host is written ``zeo:///directory`` (a Unix socket that belongs to that directory) or
``zeo://name:port``. The socket lies in the directory itself, unless the path is longer than a
socket's may be or the file system has no sockets: then it lies in a private directory of this
machine, under a name made from the directory's path. Where that is depends on the environment
of a process, so the server writes it down in the directory, for whoever asks later.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from motoko.paths import is_private, private_directory

#: Bytes of a socket's path that Linux takes, without the closing zero.
LONGEST_SOCKET_PATH = 107
SOCKET_NAME = "zeo.sock"


class Address(NamedTuple):
    """A Unix socket (``path``) or a TCP port (``host`` and ``port``)."""

    path: Path | None
    host: str = ""
    port: int = 0
    #: Where a server writes down that the socket lies elsewhere.
    record: Path | None = None

    def resolved(self) -> Address:
        """The same, with the place of the socket as it is written down by now."""
        path = None if self.record is None or self.path is None else _recorded(self.record)
        if self.path is None or path is None or path.name != self.path.name:
            return self
        return self._replace(path=path)

    def write_down(self) -> None:
        """Tell those with another environment where the socket lies."""
        if self.record is not None:
            aside = self.record.with_name(f"{self.record.name}.{os.getpid()}")
            aside.write_text(f"{self.path}\n")
            aside.replace(self.record)

    def remove(self) -> None:
        """Nobody answers there any more; no error if that cannot be removed."""
        for file in (self.path, self.record):
            if file is not None:
                with suppress(OSError):
                    file.unlink(missing_ok=True)

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
    own = f"{mark}-{name}"
    record = path.with_name(f"{name}.path")
    known = _recorded(record)
    if known is not None and known.name == own:  # else the directory was moved or copied
        return Address(known, record=record)
    return Address(private_directory() / own, record=record)


def _recorded(record: Path) -> Path | None:
    """The place that was written down, if this user alone can use it."""
    try:
        path = Path(record.read_text(encoding="utf-8").rstrip("\n"))
        return path if path.is_absolute() and is_private(path.parent.lstat()) else None
    except (OSError, ValueError):
        return None


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
