"""What an orchestrator knows and no database does, told to whoever asks.

Conditions live in the orchestrator's process. It listens on a socket in ``.wf`` from a thread
of its own: that costs nothing until somebody asks, and answers also while a function of the
user keeps the event loop from running. Each connection gets one JSON document.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from motoko.store.address import Address, socket_address

log = logging.getLogger(__name__)

#: Longer than an orchestrator that answers at all takes.
ANSWER_S = 2.0


def address(state_dir: Path, run_name: str) -> Address:
    """Where the orchestrator of a run name is asked; run names may be longer than a path."""
    mark = blake2b(run_name.encode(errors="surrogatepass"), digest_size=6).hexdigest()
    return socket_address(state_dir, f"orchestrator-{mark}.sock")


def ask(state_dir: Path, run_name: str) -> dict[str, Any] | None:
    """What the orchestrator of a run name says; None when it does not answer."""
    path = address(state_dir, run_name).path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(ANSWER_S)
            line.connect(str(path))
            with line.makefile("rb") as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
    except (OSError, ValueError):
        return None


@contextmanager
def answering(
    state_dir: Path, run_name: str, report: Callable[[], Mapping[str, Any]]
) -> Iterator[None]:
    """Answer with what ``report`` gives (asked in a thread) for the time of the block."""
    where = address(state_dir, run_name)
    assert where.path is not None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        try:
            where.path.unlink(missing_ok=True)
            door.bind(str(where.path))
            where.path.chmod(0o600)
            where.write_down()
            door.listen()
        except OSError as error:
            log.warning("`motoko why` gets no answer from here: %s: %s", where.path, error)
            yield
            return
        thread = threading.Thread(
            target=_answer, args=(door, report), name="reporter", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            where.remove()
            door.shutdown(socket.SHUT_RDWR)  # wakes the thread
            thread.join()


def _answer(door: socket.socket, report: Callable[[], Mapping[str, Any]]) -> None:
    while True:
        try:
            line, _ = door.accept()
        except OSError:
            return
        try:
            with line:
                line.settimeout(ANSWER_S)
                line.sendall(json.dumps(report()).encode())
        except OSError as error:
            log.debug("whoever asked has gone: %s", error)
        except Exception:
            log.exception("no answer to `motoko why`")
