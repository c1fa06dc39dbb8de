"""Log records on the terminal, and the ends of log files."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import click

_LAST_BYTES = 1 << 16
_LOOK_S = 0.3
#: Lines that are shown of a log, and before those that come.
_AT_ONCE, _BEFORE = 40, 10
#: Loggers of the database library: what they say stands in the log.
_LIBRARY = ("ZEO", "ZODB", "txn")
#: Loggers whose plain messages are no events of a workflow.
_NO_EVENTS = ("asyncio", "motoko.workflow.firings")


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment: a live view takes its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        raise AttributeError("standard error is looked up at each record")


def show_on_stderr(level: int = logging.INFO) -> None:
    """Show log records on standard error."""
    handler = _Stderr()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    for name in ("ZEO", "ZODB"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def warn_on_stderr(name: str) -> None:
    """Show the warnings of one logger on standard error, which are also in the log."""
    log = logging.getLogger(name)
    if not any(isinstance(handler, _Stderr) for handler in log.handlers):
        handler = _Stderr()
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("warning: %(message)s"))
        log.addHandler(handler)


def is_shown_on_stderr() -> bool:
    """Whether `show_on_stderr` was called."""
    return any(isinstance(handler, _Stderr) for handler in logging.getLogger().handlers)


class Latest(logging.Handler):
    """Keeps the last messages, for a live view."""

    def __init__(self, n_messages: int) -> None:
        super().__init__(logging.INFO)
        self.messages: deque[tuple[float, str]] = deque(maxlen=n_messages)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_LIBRARY):
            return
        if record.name.startswith(_NO_EVENTS) and record.levelno < logging.WARNING:
            return
        text = record.getMessage().splitlines() or [""]
        self.messages.append((record.created, text[0]))


def last_lines(file: Path, n_lines: int) -> list[str]:
    """The end of a text file; nothing when it is not there."""
    try:
        with open(file, "rb") as log:
            log.seek(max(0, log.seek(0, 2) - _LAST_BYTES))
            text = log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-n_lines:]


def new_lines(
    file: Path, is_over: Callable[[], bool], look_s: float = _LOOK_S
) -> Iterator[str]:
    """Lines as they are added to a file, from now on; across its turning over."""
    inode, position = _look(file)
    rest = b""
    while True:
        ending = is_over()
        now_inode, size = _look(file)
        if now_inode != inode or size < position:
            inode, position, rest = now_inode, 0, b""
        if size > position:
            with open(file, "rb") as log:
                log.seek(position)
                content = rest + log.read()
                position = log.tell()
            *lines, rest = content.split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)
        if ending:
            return
        time.sleep(look_s)


def _look(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size


def show(file: Path, *, follow_until: Callable[[], bool] | None) -> None:
    """Print the end of a log file; with ``follow_until``, also what comes, until that."""
    for line in last_lines(file, _BEFORE if follow_until else _AT_ONCE):
        click.echo(line)
    if follow_until is not None:
        for line in new_lines(file, follow_until):
            click.echo(line)
