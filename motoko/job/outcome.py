"""The outcome of an attempt: one line of JSON that its script's shell leaves when it ends.

``{"nonce", "exit", "begin", "end", "took", "host", "pid"}``: times in seconds since the epoch,
the exit code as a shell has it, and how long it took by the clock of the system's start, which
nobody sets (absent where that cannot be told). A line without its end, or with the nonce of
another attempt, is none.

Where that file cannot be written, the line stands in the attempt's token: after ``full `` for
want of space, after ``read-only `` where its directory is that, else after ``ended `` (its
directory was renamed).

The shell leaves no outcome when it cannot know the truth: killed by a signal, replaced by
``exec``, or with an EXIT trap of the script's own. So a status that was waited for stands above
an outcome, and an attempt without outcome whose token nobody holds has vanished.

The sentinels ``FINISHED`` and ``FAILED`` are not the shell's to write: an exit code alone does
not say what became of a run (finish() and fail() come first), so whoever folds journals and
outcome into a verdict writes them.
"""

from __future__ import annotations

import json
import os
from collections import namedtuple

from motoko.job.facts import LATEST, replace_file, write_all
from motoko.job.layout import FAILED, FINISHED, outcome_file, token_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple

    from motoko.job.layout import StrPath


#: What kept a shell from leaving its outcome where it belongs.
FULL, READ_ONLY = "full", "read-only"
_IN_TOKEN = {b"ended ": "", b"full ": FULL, b"read-only ": READ_ONLY}


class Outcome(
    namedtuple("Outcome", ["exit", "begin", "end", "host", "pid", "took"], defaults=[None])
):
    """How an attempt ended."""

    __slots__ = ()
    exit: int
    begin: float
    end: float
    host: str
    pid: int
    took: Optional[float]


def read_outcome(run_dir: StrPath, attempt: int, nonce: str) -> Optional[Outcome]:
    """Read the attempt's outcome; None when it is absent, torn, damaged or of another one."""
    try:
        with open(outcome_file(run_dir, attempt), "rb") as file:
            line = file.read()
    except FileNotFoundError:
        line = b""
    if not line.endswith(b"\n"):
        line = _said_in_token(run_dir, attempt)[1]
    return _parsed(line, nonce)


def _parsed(line: bytes, nonce: str) -> Optional[Outcome]:
    if not line.endswith(b"\n"):
        return None
    try:
        facts = json.loads(line.decode())
        if facts["nonce"] != nonce:
            return None
        begin, end = float(facts["begin"]), float(facts["end"])
        exit_code, pid, host = facts["exit"], facts["pid"], str(facts["host"])
        took = None if facts.get("took") is None else float(facts["took"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    is_sound = type(exit_code) is int and type(pid) is int
    if not is_sound or not 0 <= begin < LATEST or not 0 <= end < LATEST:
        return None
    # A shell that lost EPOCHREALTIME on the way ends in whole seconds: before it began?
    if took is not None and not 0 <= took < LATEST:
        took = None
    return Outcome(exit_code, begin, max(begin, end), host, pid, took)


def is_untold(run_dir: StrPath, attempt: int) -> bool:
    """Whether the shell came to its end and could not write how, for want of space."""
    try:
        return os.stat(outcome_file(run_dir, attempt)).st_size == 0
    except OSError:
        return False


def hindrance(run_dir: StrPath, attempt: int, nonce: str) -> str:
    """What kept the shell from writing when it came to its end: `FULL`, `READ_ONLY` or nothing.

    That stays known after it can be written again.
    """
    why, line = _said_in_token(run_dir, attempt)
    if _parsed(line, nonce) is not None:
        return _IN_TOKEN[why]
    return FULL if is_untold(run_dir, attempt) else ""


def _said_in_token(run_dir: StrPath, attempt: int) -> Tuple[bytes, bytes]:
    """Why the outcome stands there, and the outcome itself; both empty if it does not."""
    try:
        with open(token_file(run_dir, attempt), "rb") as file:
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return b"", b""
    for line in reversed(lines):
        for why in _IN_TOKEN:
            if line.startswith(why):
                return why, line[len(why) :]
    return b"", b""


def write_outcome(run_dir: StrPath, attempt: int, nonce: str, outcome: Outcome) -> None:
    """Write the outcome in the shell's stead; it is complete and on disk, or not there."""
    facts = {"nonce": nonce, **outcome._asdict()}
    replace_file(outcome_file(run_dir, attempt), json.dumps(facts).encode() + b"\n")


def write_sentinel(
    run_dir: StrPath, state: str, facts: Optional[Dict[str, Any]] = None
) -> None:
    """Leave the sentinel of FINISHED or FAILED, with these facts in it (a line of JSON) or
    empty; any other state leaves neither."""
    for name in (FINISHED, FAILED):
        path = os.path.join(run_dir, name)
        if name == state:
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if facts else 0)
            fd = os.open(path, flags, 0o666)
            try:
                if facts:
                    write_all(fd, json.dumps(facts).encode() + b"\n")
            finally:
                os.close(fd)
        else:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass


def read_failure(run_dir: StrPath, nonce: str) -> Optional[Dict[str, Any]]:
    """What the sentinel FAILED says of this attempt; None when it is absent or says nothing."""
    try:
        with open(os.path.join(run_dir, FAILED), "rb") as file:
            facts = json.loads(file.read().decode())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    is_ours = isinstance(facts, dict) and facts.get("nonce") == nonce
    return facts if is_ours else None
