"""Two machines with one file system: network namespaces of this one, which root may make.

Each has a network and a host name of its own. The cable between them goes through a switch, so
that it can be cut without either of them being told.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.command_line import DEADLINE_S, ROOT

_INSTALL = Path(__file__).parent / "schedulers" / "install.sh"


class Host:
    """One of them."""

    def __init__(self, name: str, namespace: str, ip: str) -> None:
        self.name = name
        self.ip = ip
        self._namespace = namespace

    @contextmanager
    def started(self, directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """``motoko`` there, in a directory; killed at the end."""
        with subprocess.Popen(
            self._command(sys.executable, "-m", "motoko", *arguments),
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def motoko(
        self, directory: Path, *arguments: str, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """The same to its end, which must be with this exit code."""
        with self.started(directory, *arguments) as process:
            output, errors = process.communicate(timeout=2 * DEADLINE_S)
        assert process.returncode == code, f"{arguments} on {self.name}: {output}{errors}"
        assert "Traceback" not in errors
        return subprocess.CompletedProcess(arguments, code, output, errors)

    def connections(self, port: int) -> int:
        """How many connections with a port its system keeps."""
        command = ["ip", "netns", "exec", self._namespace, "cat", "/proc/net/tcp"]
        table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows = [line.split() for line in table.splitlines()[1:]]
        wanted = f":{port:04X}"
        return sum(row[2].endswith(wanted) and row[3] == "01" for row in rows)

    def _command(self, *command: str) -> list[str]:
        named = ["sh", "-c", 'hostname "$0" && exec "$@"', self.name, *command]
        return ["ip", "netns", "exec", self._namespace, "unshare", "--uts", *named]


class Cable:
    """What is between the hosts."""

    def __init__(self, switch: str, ports: tuple[str, str]) -> None:
        self._switch = switch
        self._ports = ports

    def cut(self) -> None:
        """Let nothing through any more."""
        self._ip("link", "set", self._ports[1], "down")

    def mend(self) -> None:
        """Let all through again."""
        self._ip("link", "set", self._ports[1], "up")

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", "-n", self._switch, *arguments], check=True)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host, Cable]]:
    """Two hosts and the cable between them."""
    subprocess.run([_INSTALL, "iproute2"], check=True)
    mark = os.getpid()
    network = f"10.{100 + mark % 100}.{mark // 100 % 250}"
    names = ("alpha", "beta")
    spaces = [f"motoko-{mark}-{name}" for name in (*names, "switch")]
    switch = spaces[2]
    made = []
    try:
        for space in spaces:
            _ip("netns", "add", space)
            made.append(space)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        hosts = []
        for number, (name, space) in enumerate(zip(names, spaces, strict=False), start=1):
            peer = ["peer", "name", name, "netns", switch]
            _ip("-n", space, "link", "add", "cable", "type", "veth", *peer)
            _ip("-n", switch, "link", "set", name, "master", "bridge")
            _ip("-n", switch, "link", "set", name, "up")
            ip = f"{network}.{number}"
            _ip("-n", space, "address", "add", f"{ip}/24", "dev", "cable")
            for link in ("lo", "cable"):
                _ip("-n", space, "link", "set", link, "up")
            hosts.append(Host(name, space, ip))
        yield hosts[0], hosts[1], Cable(switch, names)
    finally:
        for space in made:
            _ip("netns", "delete", space)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
