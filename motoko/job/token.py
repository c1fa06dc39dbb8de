"""The token of an attempt: whoever links it executes the run, and nobody else does.

The file appears complete, since it is written without a name and then linked. Its first line is
JSON (nonce, generation, host, boot, launcher, created, awake, or clock from a batch job, whose
shell knows no other one); the script's prologue adds
``started <pid> <time> <start time of the process in ticks>``, and ``ended <outcome>`` when no
space is left for a file of that. The processes of the run inherit a lock on it: while one of
them lives, the lock is held, even when the first one was killed.
Where a file system has no locks (a Lustre mounted without them), the processes of this host
that have inherited the token are looked for instead.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections import namedtuple

from motoko.crashpoints import reached
from motoko.host import awake_clock, boot_clock, boot_id, host_name, lock
from motoko.job.facts import LATEST, replace_file, write_all
from motoko.job.layout import refusal_file, token_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from motoko.job.layout import StrPath


class Token(namedtuple("Token", ["facts", "pid", "started", "start_time"])):
    """What a token says; the last three are None until the script's prologue has run.

    ``pid`` is the script's shell, ``started`` seconds since the epoch, ``start_time`` what
    `process_start_time` gives for it (None where the shell could not tell).
    """

    __slots__ = ()
    facts: Dict[str, Any]
    pid: Optional[int]
    started: Optional[float]
    start_time: Optional[int]

    @property
    def nonce(self) -> str:
        """The attempt's nonce; empty when the token is damaged."""
        return str(self.facts.get("nonce", ""))

    @property
    def host(self) -> str:
        """The host that the token was taken on; empty when it is damaged."""
        return str(self.facts.get("host", ""))

    @property
    def boot(self) -> str:
        """The boot id of that host; empty when there was none."""
        return str(self.facts.get("boot", ""))

    @property
    def age_s(self) -> Optional[float]:
        """For how long it has been taken, whatever was done to the clock meanwhile and, unless
        a batch job took it, without the time that the machine slept; None if that was on
        another host or before this one was started."""
        if (self.host, self.boot) != (host_name(), boot_id()):
            return None
        for name, clock in (("awake", awake_clock), ("clock", boot_clock)):
            taken = self.facts.get(name)
            if isinstance(taken, float):
                return max(0.0, clock() - taken)
        return None


def token_facts(nonce: str, generation: str) -> Dict[str, Any]:
    """What this process writes into a token that it takes now."""
    return {
        "nonce": nonce,
        "generation": generation,
        "host": host_name(),
        "boot": boot_id(),
        "launcher": os.getpid(),
        "created": time.time(),
        "awake": awake_clock(),
    }


def take_token(run_dir: StrPath, attempt: int, facts: Dict[str, Any]) -> Optional[int]:
    """Take the attempt; None, and a note in the run directory, when somebody has it already.

    The descriptor that comes back holds the lock and is inheritable: hand it to the script's
    shell and close it here, and start no other process in between that would inherit it too.
    """
    name = token_file(run_dir, attempt)
    try:
        fd = os.open(run_dir, os.O_TMPFILE | os.O_RDWR | os.O_APPEND, 0o666)
        aside = ""
    except (AttributeError, OSError) as error:  # a Python without the flag, or a system
        known = (None, errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
        if getattr(error, "errno", None) not in known:
            raise
        aside = f"{name}.{os.getpid()}-{os.urandom(4).hex()}"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
        fd = os.open(aside, flags, 0o666)
    try:
        lock(fd)
        write_all(fd, json.dumps(facts).encode() + b"\n")
        reached("token.written")
        if aside:
            os.link(aside, name)
        else:
            _link_nameless(fd, name)
    except FileExistsError:
        if not _is_file(fd, name):
            os.close(fd)
            _leave_note(run_dir, attempt, facts)
            return None
    except BaseException:
        os.close(fd)
        raise
    finally:
        if aside:
            os.unlink(aside)
    reached("token.linked")
    os.set_inheritable(fd, True)
    return fd


def _is_file(fd: int, name: str) -> bool:
    """Whether a file has this name although linking it failed.

    So it is on a network file system when the answer to the first request was lost, and the
    second found the name taken.
    """
    try:
        return os.path.samestat(os.fstat(fd), os.stat(name))
    except OSError:
        return False


def _leave_note(run_dir: StrPath, attempt: int, facts: Dict[str, Any]) -> None:
    note = {**facts, "pid": os.getpid(), "refused": time.time()}
    try:
        replace_file(refusal_file(run_dir, attempt), json.dumps(note).encode() + b"\n")
    except OSError:
        pass  # it is for people only


def read_refusal(path: StrPath) -> str:
    """A sentence about a start that was refused, from the note about it."""
    said = "a further start of this attempt was refused, since its token was taken"
    try:
        with open(path, "rb") as file:
            note = json.loads(file.read().decode())
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(note["refused"])))
        return f"{said}: by process {int(note['pid'])} on {str(note['host'])!r} at {when}"
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return said


def _link_nameless(fd: int, name: str) -> None:
    # Only linkat() follows /proc/self/fd, and Python calls link() unless a directory is given.
    directory = os.open(os.path.dirname(name) or ".", os.O_PATH | os.O_DIRECTORY)
    try:
        os.link(
            f"/proc/self/fd/{fd}",
            os.path.basename(name),
            src_dir_fd=directory,
            dst_dir_fd=directory,
            follow_symlinks=True,
        )
    finally:
        os.close(directory)


def read_token(run_dir: StrPath, attempt: int) -> Optional[Token]:
    """Read the attempt's token; None when nobody took it, empty facts when it is damaged."""
    try:
        with open(token_file(run_dir, attempt), "rb") as file:
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    try:
        facts = json.loads(lines[0])
    except (IndexError, ValueError, RecursionError):
        facts = {}
    begun = _read_started(lines[1].split()) if len(lines) > 1 else (None, None, None)
    return Token(facts if isinstance(facts, dict) else {}, *begun)


def is_here(taken: Token) -> bool:
    """Whether a token was taken on this host."""
    return taken.host in ("", host_name())


def _read_started(words: list[str]) -> tuple[Optional[int], Optional[float], Optional[int]]:
    if len(words) not in (3, 4) or words[0] != "started":
        return None, None, None
    try:
        start_time = int(words[3]) if len(words) == 4 else None
        pid, started = int(words[1]), float(words[2])
    except ValueError:
        return None, None, None
    return (pid, started, start_time) if 0 <= started < LATEST else (None, None, None)
