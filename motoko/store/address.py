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
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from motoko.paths import is_private, private_directory

#: Bytes of a socket's path that Linux takes, without the closing zero.
LONGEST_SOCKET_PATH = 107
SOCKET_NAME = "zeo.sock"


#: A connection over the network on which nothing arrives for this long is given up.
_SILENCE_S = 10
_ASK_EVERY_S = 3
#: How long whoever listens at a socket may let others wait in front of it.
_LISTENING_S = 0.1


class Address(NamedTuple):
    """A Unix socket (``path``) or a TCP port (``host`` and ``port``)."""

    path: Path | None
    host: str = ""
    port: int = 0
    #: Where a server writes down that the socket lies elsewhere.
    record: Path | None = None
    #: Which of the databases that are served there: a port has as many as one likes.
    storage: str = "1"
    #: The directory of the certificates for TLS, which a port is spoken to with; None without.
    certificates: Path | None = None

    @property
    def is_here(self) -> bool:
        """Whether a server of this machine can listen there."""
        if self.path is not None:
            return True
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            return False
        return any(_is_own(family, place[0]) for family, _, _, _, place in found)

    @property
    def to_listen(self) -> str | tuple[str | None, int]:
        """The form in which a server takes it.

        Some systems know their own name as an address that nobody else reaches: then it is
        all addresses of the machine, where TLS keeps the others out.
        """
        if self.path is not None:
            return str(self.path)
        if self.certificates is None or _is_literal(self.host) or self.host == "localhost":
            return self.host, self.port
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        is_hidden = all(ip_address(place[0]).is_loopback for *_, place in found)
        return None if is_hidden else self.host, self.port

    def check_free(self) -> None:
        """OSError if a server cannot listen at a port: what ZEO begins then is never closed."""
        found = self.to_listen
        if isinstance(found, str):
            return
        places = socket.getaddrinfo(*found, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, place in places:
            with socket.socket(family, socket.SOCK_STREAM) as test:
                test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    test.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                test.bind(place)

    @property
    def is_listened_at(self) -> bool:
        """Whether a process listens at the socket, although it may be busy or stopped."""
        if self.path is None:
            return False
        with socket.socket(socket.AF_UNIX) as test:
            test.settimeout(_LISTENING_S)
            try:
                test.connect(str(self.path))
            except (BlockingIOError, TimeoutError):  # as many as may wait already
                return True
            except OSError:
                return False
        return True

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
        """The form that a client takes."""
        return str(self.path) if self.path is not None else (self.host, self.port)

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Served(NamedTuple):
    """A database file and where it is reached: several at one port have other names there."""

    file: Path
    address: Address

    def as_data(self) -> dict[str, Any]:
        """It in the types of JSON."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in {"file": self.file, **self.address._asdict()}.items()
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """What `as_data` was asked of."""
        places = {
            name: None if data[name] is None else Path(data[name])
            for name in ("path", "record", "certificates")
        }
        rest = {name: value for name, value in data.items() if name != "file"}
        return cls(Path(data["file"]), Address(**{**rest, **places}))


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


def tcp_address(host: str) -> Address:
    """The address of ``zeo://name:port``."""
    found = parse_host(host)
    if isinstance(found, Path):
        raise ValueError(f"{host!r} is not zeo://name:port")
    return found


def keep_alive(connection: socket.socket) -> None:
    """Let the system notice within a moment that a connection over the network is cut, also
    one that nothing is said on; and let what listens hand that on to what it accepts."""
    if connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": _ASK_EVERY_S,
        "TCP_KEEPINTVL": _ASK_EVERY_S,
        "TCP_KEEPCNT": _SILENCE_S // _ASK_EVERY_S,
        "TCP_USER_TIMEOUT": _SILENCE_S * 1000,
    }
    for name, value in options.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _is_own(family: int, address: object) -> bool:
    """Whether an address is one of this machine's."""
    with socket.socket(family, socket.SOCK_STREAM) as test:
        try:
            test.bind((address, 0))
        except OSError:
            return False
    return True


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


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
