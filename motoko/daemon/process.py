"""Background processes: start one apart from the terminal, hear from it, stop it."""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from motoko.crashpoints import reached
from motoko.daemon.early import Early
from motoko.daemon.office import Office, Owner
from motoko.daemon.starting import ENDING_S, Starting
from motoko.errors import DaemonError, ForeignOwner, NotRunning, StartFailed
from motoko.paths import make_state_dir
from motoko.starter import READY

_LOG_BYTES = 5 << 20
_LOG_FILES = 3


def start(
    command: Sequence[str],
    what: str,
    log_file: Path,
    wait_s: float = 30.0,
    *,
    spawned: Callable[[int], object] | None = None,
    early: Early | None = None,
) -> int:
    """Start a process of its own session, unless one of these waits for this command, and wait
    until it says that it is ready; its id, which ``spawned`` is told before that.

    What it prints before its log is set up goes to ``log_file`` too. When it ends, or says
    nothing, in time, StartFailed carries the last line of that, or what it told the starter.
    """
    make_state_dir(log_file.parent)
    before = log_file.stat().st_size if log_file.exists() else 0
    starting = None
    try:
        with open(log_file, "ab") as output:
            if early is not None:
                starting = early.told(command, log_file, wait_s)
            if starting is None:
                starting = Starting(command, output)
        process = starting.process
        if spawned is not None:
            spawned(process.pid)
        reached("daemon.spawned")
        said = starting.said(wait_s)
        if said == READY:
            process.returncode = 0  # it outlives this object, which must not complain of that
            return process.pid
        if said is None:
            raise StartFailed(what, f"not ready after {wait_s:g} s", str(log_file))
        code: int | None = None
        try:
            code = process.wait(timeout=ENDING_S)
        except subprocess.TimeoutExpired:
            starting.end()  # what it said is why, not how it was ended
        if not log_file.exists():
            code = None  # whatever it stumbled over, that is why
        if code is not None and code < 0:
            why = f"it was ended by {signal.Signals(-code).name}"
        else:
            why = _last_line(said) or _last_words(log_file, before)
        raise StartFailed(what, why, str(log_file), code)
    except BaseException:
        if starting is not None and starting.process.returncode is None:
            starting.end()  # who started it will not know of it
        raise
    finally:
        if starting is not None:
            starting.close()
            if early is not None:
                early.settles(starting)


def _last_words(log_file: Path, start: int) -> str:
    if not log_file.exists():
        return f"{log_file.parent} was removed meanwhile"
    with open(log_file, "rb") as file:
        file.seek(min(start, log_file.stat().st_size))
        return _last_line(file.read()) or "it ended without a word"


def _last_line(text: bytes) -> str:
    """The last one that is Motoko's own, rather than that of a library, if there is one."""
    lines = [line for line in text.decode(errors="replace").splitlines() if line]
    said = [line for line in lines if line.startswith("motoko: ")] or lines
    return said[-1].removeprefix("motoko: ") if said else ""


def stop(office: Office, wait_s: float = 10.0, *, at_once: bool = False) -> Owner:
    """Ask the holder of an office to end, insist after ``wait_s``; who that was.

    With ``at_once`` it is killed without being asked. `Office.was_stopped` says so afterwards.
    Somebody else may hold the office by then.
    Raises NotRunning when nobody holds it, ForeignOwner when the holder is elsewhere, and
    DaemonError when it does not end.
    """
    owner = office.owner()
    if owner is None:
        raise NotRunning(office.what)
    if not owner.is_here:
        raise ForeignOwner(office.what, str(owner))
    office.ask_to_stop(owner)
    reached("stop.asked")
    for number in (signal.SIGKILL,) if at_once else (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            if owner.is_alive:
                os.kill(owner.pid, number)
                reached("stop.told")
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            _reap(owner.pid)
            now = office.owner()
            if now is None or (now.mark, now.epoch) != (owner.mark, owner.epoch):
                return owner
            time.sleep(0.01)
    raise DaemonError(f"{office.what} ({owner}) does not end, although it was killed")


def _reap(pid: int) -> None:
    """A child of this process that has ended stays until it is waited for."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def log_to(file: Path, level: int = logging.INFO) -> None:
    """Send all log records of this process to a file that is turned over at 5 MB."""
    root = logging.getLogger()
    if any(getattr(one, "baseFilename", "") == str(file) for one in root.handlers):
        return
    make_state_dir(file.parent)
    handler = logging.handlers.RotatingFileHandler(
        file, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8"
    )
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    )
    logging.raiseExceptions = False  # a full disk must not fill the terminal as well
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("ZEO").setLevel(max(level, logging.WARNING))
    logging.getLogger("ZODB").setLevel(max(level, logging.WARNING))
    # Shows a traceback whenever a server is away, besides raising the same to whoever asked.
    logging.getLogger("ZODB.Connection").setLevel(logging.CRITICAL)


def python_command(*arguments: str) -> list[str]:
    """The command that runs this package's command line under this interpreter."""
    return [sys.executable, "-m", "motoko", *arguments]
