"""Commands in processes of their own that need not import Motoko first.

Half a second of a core is what Python takes until ``python -m motoko`` does anything, and the
tests call hundreds of commands. So one process per process of pytest imports all of it, and
gives each command a fork of itself: with its own directory, environment, exit code and end of
the interpreter, as `subprocess.run` would. What `Popen` starts, what a shell starts and what
Motoko starts in the background is a Python from the beginning.

This file is executed by itself as that process.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import motoko.cli

ROOT = Path(__file__).parents[2]

_one: tuple[subprocess.Popen[bytes], socket.socket] | None = None


def run(
    arguments: tuple[str, ...], cwd: Path, env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """``python -m motoko`` with these arguments, to its end; nothing is at standard input.

    Raises TimeoutExpired when that is not in time, after it was killed.
    """
    command = [sys.executable, "-m", "motoko", *arguments]
    request = {"arguments": arguments, "cwd": str(cwd), "env": dict(env)}
    pipes = [os.pipe() for _ in range(3)]
    readers, writers = [reader for reader, _ in pipes], [writer for _, writer in pipes]
    try:
        try:
            socket.send_fds(_asked(), [json.dumps(request).encode()], writers)
        finally:
            for writer in writers:
                os.close(writer)
        output, messages, told = _read_all(readers, time.monotonic() + timeout_s)
    except TimeoutError:
        raise subprocess.TimeoutExpired(command, timeout_s) from None
    finally:
        for reader in readers:
            os.close(reader)
    assert told.count(b" "), f"the process that forks has died: {close()}"
    return subprocess.CompletedProcess(
        command, int(told.split()[1]), output.decode(), messages.decode()
    )


def close() -> bytes:
    """End the process that forks, if there is one; what it has said."""
    global _one
    if _one is None:
        return b""
    (process, asked), _one = _one, None
    asked.close()
    return process.communicate()[1]


def _asked() -> socket.socket:
    global _one
    if _one is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())]
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
                stdin=subprocess.DEVNULL,
                # of the kind that the forks have: Python looks at them when it starts
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
            )
        _one = process, ours
    return _one[1]


def _read_all(readers: list[int], deadline: float) -> list[bytes]:
    """What comes through each until all have their ends; TimeoutError, and SIGKILL for the
    process that the last one names at once, unless that has ended."""
    found = dict.fromkeys(readers, b"")
    found[readers[-1]] = os.read(readers[-1], 32)
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready and time.monotonic() > deadline:
                if len(told := found[readers[-1]].split()) == 1:
                    os.kill(int(told[0]), signal.SIGKILL)
                raise TimeoutError
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                found[key.fd] += part
                if not part:
                    selector.unregister(key.fd)
    return list(found.values())


def _serve(asked: socket.socket) -> None:
    """Fork for each command and tell its id and, later, its exit code; return in the fork."""
    children: dict[int, tuple[int, int]] = {}
    selector = selectors.DefaultSelector()
    selector.register(asked, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fd in children:
                pid, told = children.pop(key.fd)
                selector.unregister(key.fd)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                _tell(told, f" {code}")
                os.close(told)
                continue
            text, fds, _, _ = socket.recv_fds(asked, 1 << 20, 3)
            if not text:
                os._exit(0)
            output, messages, told = fds
            pid = os.fork()
            if pid == 0:
                os.dup2(output, 1)
                os.dup2(messages, 2)
                selector.close()
                for fd in (*fds, *children, *(theirs for _, theirs in children.values())):
                    os.close(fd)
                asked.close()
                _become(json.loads(text))
                return
            _tell(told, str(pid))
            os.close(output)
            os.close(messages)
            alive = os.pidfd_open(pid)
            children[alive] = pid, told
            selector.register(alive, selectors.EVENT_READ)


def _tell(told: int, text: str) -> None:
    with suppress(BrokenPipeError):  # who has asked did not wait
        os.write(told, text.encode())


def _become(request: dict[str, object]) -> None:
    """Have the directory, environment and arguments that a command has."""
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    sys.path[0] = str(request["cwd"])
    sys.argv[:] = [str(ROOT / "motoko" / "__main__.py"), *request["arguments"]]  # type: ignore[misc]


def main() -> None:
    """Import what commands import, then be each of them."""
    for module in pkgutil.walk_packages(motoko.__path__, "motoko."):
        if not module.name.endswith(".__main__"):
            import_module(module.name)
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    motoko.cli.main()


if __name__ == "__main__":
    main()
