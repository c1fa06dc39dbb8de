"""The journal: what a job script did to its run, one line each, for the launcher to fold.

A line is ``<crc32 of the JSON, 8 hex digits> <JSON>``, or ``- <JSON>`` from a writer that
cannot compute one. The JSON is a mapping with ``n`` (the attempt's nonce), ``t`` (seconds since
the epoch) and ``op``::

    start
    finish
    fail      reason, and of an exception: error, message, traceback, and no_space (true) when
              it met a full disk
    set       name, value          (name "state": a state of the user's)
    quantity  name, columns, description

Every process writes a file of its own, since appending to one file is not atomic everywhere.
Whoever reads keeps an offset and comes back: a last line without its end waits.
"""

from __future__ import annotations

import json
import os
import time
from _thread import allocate_lock
from collections import namedtuple
from zlib import crc32

from motoko.crashpoints import reached
from motoko.host import host_name
from motoko.job.facts import LATEST, sync, write_all
from motoko.job.layout import journal_file, journal_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from motoko.job.layout import StrPath


class JournalPart(namedtuple("JournalPart", ["entries", "offset", "damage"])):
    """What was read: entries in order, where to go on, and a sentence for each bad line."""

    __slots__ = ()
    entries: List[Dict[str, Any]]
    offset: int
    damage: List[str]


class Journal:
    """Appends entries of this process; threads share it, a fork goes on with its own file."""

    def __init__(
        self,
        run_dir: StrPath,
        attempt: int,
        nonce: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._run_dir = run_dir
        self._attempt = attempt
        self._nonce = nonce
        self._now = now
        self._writer = _Writer(run_dir, attempt)

    def append(self, op: str, durable: bool = False, **facts: Any) -> Dict[str, Any]:
        """Write one entry and give it back; a durable one is on disk when this returns."""
        entry = {"n": self._nonce, "t": self._now(), "op": op, **facts}
        if self._writer.pid != os.getpid():
            self._writer = _Writer(self._run_dir, self._attempt)
        self._writer.write(encode(entry), durable)
        return entry

    @property
    def name(self) -> str:
        """The name of the file that this process has written to last, or will."""
        return self._writer.name


class _Writer:
    def __init__(self, run_dir: StrPath, attempt: int) -> None:
        self.pid = os.getpid()
        self._path = journal_file(run_dir, attempt, host_name(), self.pid)
        self.name = os.path.basename(self._path)
        self._lock = allocate_lock()
        self._fd: Optional[int] = None
        self._is_torn = False

    def write(self, line: bytes, durable: bool) -> None:
        with self._lock:
            if self._fd is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
                self._fd = os.open(self._path, flags, 0o666)
            # A full disk may have taken half of the line before: end it, and only it is lost.
            torn, self._is_torn = self._is_torn, True
            write_all(self._fd, b"\n" + line if torn else line)
            self._is_torn = False
            reached("journal.written")
            if durable:
                sync(self._fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", None) is not None:
            os.close(self._fd)  # type: ignore[arg-type]


def encode(entry: Dict[str, Any]) -> bytes:
    """One line of a journal."""
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (crc32(text), text)


def list_journals(run_dir: StrPath, attempt: int) -> List[str]:
    """Paths of the journals of an attempt, sorted; none when the directory is gone."""
    prefix = journal_prefix(attempt)
    try:
        names = os.listdir(run_dir)
    except FileNotFoundError:
        return []
    return sorted(os.path.join(run_dir, name) for name in names if name.startswith(prefix))


def read_journal(path: StrPath, offset: int, nonce: str) -> JournalPart:
    """Read the complete lines from the offset on.

    Entries of another nonce are left out silently, lines that cannot be trusted with a sentence
    in ``damage``. An absent file reads as an empty one.
    """
    name = os.path.basename(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(offset, size))
            content = file.read()
    except FileNotFoundError:
        return JournalPart([], offset, [])
    damage = []
    if size < offset:
        damage.append(f"{name}: {size} bytes long, but {offset} were read before")
        offset = size
    entries = []
    for line in content.split(b"\n")[:-1]:
        try:
            entry = _decode(line)
        except ValueError as error:
            damage.append(f"{name}, byte {offset}: {error}")
        else:
            if entry and entry["n"] == nonce:
                entries.append(entry)
        offset += len(line) + 1
    return JournalPart(entries, offset, damage)


def _decode(line: bytes) -> Optional[Dict[str, Any]]:
    if not line.strip():
        return None
    check, _, text = line.partition(b" ")
    if check != b"-" and check != b"%08x" % crc32(text):
        raise ValueError("the checksum does not fit the line")
    try:
        entry = json.loads(text.decode())
    except (ValueError, RecursionError):
        raise ValueError("the line is not JSON") from None
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("n"), str)
        or not isinstance(entry.get("t"), (int, float))
        or not 0 <= entry["t"] < LATEST
        or not isinstance(entry.get("op"), str)
    ):
        raise ValueError("the entry has no nonce (n), time (t) or op")
    return entry
