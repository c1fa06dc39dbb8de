"""Work in a directory of its own (a component, a window) that is done in segments.

Three files say how far it is, and whoever begins again honours them:

- ``FINISHED`` and ``FAILED``, the sentinels: JSON, or empty; to have none says nothing;
- ``job_attempt.txt``: how often the work was begun;
- ``job_progress.jsonl``: a line of JSON for each segment that was done, with size and digest of
  the file that the next one starts from. A line counts as long as that file is what it says.

What a run has left with other values than it has now says nothing to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import namedtuple

from motoko.errors import JobSideError
from motoko.job.facts import find_run_dir, read_facts, replace_file, write_all
from motoko.job.layout import FAILED, FINISHED, JOB_ATTEMPT, PROGRESS, is_attempt_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Dict, Iterator, List, Optional, Sequence, Type, Union

    from motoko.job.layout import StrPath

#: What is known of work that has left no sentinel.
UNKNOWN = "UNKNOWN"
_BLOCK = 1 << 20
#: What a record of progress says besides the facts that a script gives it.
_OF_RECORDS = frozenset({"size", "sha256", "attempt", "time", "run", "run_attempt"})


class Progress(namedtuple("Progress", ["segment", "file", "facts"])):
    """The last segment that was done: its number from 1, the file that the next one starts
    from (None without one), and what else was recorded."""

    __slots__ = ()
    segment: int
    file: Optional[str]
    facts: Dict[str, Any]


class Worker(namedtuple("Worker", ["run", "attempt", "since"])):
    """The run that works in a window, its attempt, and the first one that had its values."""

    __slots__ = ()
    run: str
    attempt: int
    since: int

    def is_of_others(self, said: Dict[str, Any]) -> bool:
        """Whether something was left by this run with other values."""
        attempt = said.get("run_attempt")
        return said.get("run") == self.run and type(attempt) is int and attempt < self.since


class Window:
    """The work in one directory. As a ``with`` block it is begun, and finished or failed.

    The block ends FINISHED when all `segments` were gone through, or none were asked for,
    unless it was said in it that it failed. An exception makes it FAILED and goes on; one from
    the keyboard, or a break out of the segments, leaves it as it is, for another attempt.
    """

    def __init__(self, directory: StrPath = ".") -> None:
        #: The absolute path of the directory.
        self.directory = os.path.abspath(directory)
        self._n_left: Optional[int] = None
        self._worker = _worker()

    @property
    def state(self) -> str:
        """FINISHED, FAILED, or UNKNOWN when no sentinel is there."""
        state = state_of(self.directory)
        return UNKNOWN if state != UNKNOWN and self._is_of_others(state) else state

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to be done."""
        return self.state == FINISHED

    @property
    def attempt(self) -> int:
        """How often the work was begun; 0 before."""
        try:
            with open(self.file(JOB_ATTEMPT), "rb") as file:
                return max(0, int(file.read(32)))
        except (FileNotFoundError, ValueError):
            return 0

    @property
    def progress(self) -> Optional[Progress]:
        """The last segment that was done and whose file is still what was recorded."""
        for facts in reversed(self._recorded()):
            if self._stands(facts):
                rest = {k: v for k, v in facts.items() if k not in ("segment", "file")}
                return Progress(facts["segment"], facts.get("file"), rest)
        return None

    def file(self, name: StrPath) -> str:
        """The path of a file in the directory."""
        return os.path.join(self.directory, name)

    def begin(self) -> None:
        """Count another attempt, and remove the sentinel of a failed one; the directory is made
        if it is not there. Nothing is changed once the work is finished."""
        os.makedirs(self.directory, exist_ok=True)
        if self.is_finished:
            return
        replace_file(self.file(JOB_ATTEMPT), b"%d\n" % (self.attempt + 1))
        _remove(self.file(FAILED))
        _remove(self.file(FINISHED))  # it is of others

    def segments(self, n_segments: int) -> Iterator[int]:
        """The numbers, from 1 to ``n_segments``, of the segments that are left to be done."""
        progress = self.progress
        done = n_segments if self.is_finished else progress.segment if progress else 0
        self._n_left = max(0, n_segments - done)
        for segment in range(done + 1, n_segments + 1):
            yield segment
            self._n_left = n_segments - segment

    def record(self, segment: int, file: Optional[StrPath] = None, **facts: Any) -> None:
        """Say that a segment is done; ``file``, in the directory, is what the next one starts
        from. FileNotFoundError when it is not there; ValueError for a fact named as what each
        record has: ``size``, ``sha256``, ``attempt``, ``time``, ``run``, ``run_attempt``;
        TypeError for one that JSON does not know. Arrays are lists, paths text."""
        for name in facts:
            if name in _OF_RECORDS:
                raise ValueError(f"each record has {name!r} of its own: choose another name")
        said: Dict[str, Any] = {"segment": int(segment)}
        if file is not None:
            path = os.path.join(self.directory, file)
            said["file"] = os.path.relpath(path, self.directory)
            said["size"], said["sha256"] = os.stat(path).st_size, _digest(path)
        said.update(facts, attempt=self.attempt, time=time.time(), **self._by_whom)
        line = json.dumps(said, default=_known).encode() + b"\n"
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        fd = os.open(self.file(PROGRESS), flags, 0o666)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":  # somebody died in the middle
                line = b"\n" + line
            write_all(fd, line)
            os.fsync(fd)
        finally:
            os.close(fd)

    def finish(self) -> None:
        """Leave the sentinel FINISHED."""
        self._leave(FINISHED, {})
        _remove(self.file(FAILED))

    def fail(self, reason: Union[str, BaseException, None] = None) -> None:
        """Leave the sentinel FAILED, unless the work is finished."""
        if self.is_finished:
            return
        if isinstance(reason, BaseException):
            reason = f"{type(reason).__name__}: {reason}"
        self._leave(FAILED, {"reason": reason})

    def __enter__(self) -> Window:
        self.begin()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if error is None:
            if not self._n_left and self.state == UNKNOWN:
                self.finish()
        elif isinstance(error, Exception) or (isinstance(error, SystemExit) and error.code):
            self.fail(error)

    def __repr__(self) -> str:
        return f"<window {self.directory}: {self.state}>"

    def _leave(self, sentinel: str, facts: Dict[str, Any]) -> None:
        said = {**facts, "attempt": self.attempt, "time": time.time(), **self._by_whom}
        replace_file(self.file(sentinel), json.dumps(said, default=_known).encode() + b"\n")

    @property
    def _by_whom(self) -> Dict[str, Any]:
        worker = self._worker
        return {} if worker is None else {"run": worker.run, "run_attempt": worker.attempt}

    def _is_of_others(self, sentinel: str) -> bool:
        if self._worker is None:
            return False
        try:
            with open(self.file(sentinel), "rb") as file:
                said = json.loads(file.read().decode())
        except (FileNotFoundError, ValueError, RecursionError):
            return False
        return isinstance(said, dict) and self._worker.is_of_others(said)

    def _recorded(self) -> List[Dict[str, Any]]:
        try:
            with open(self.file(PROGRESS), "rb") as file:
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                facts = json.loads(line.decode()) if line.endswith(b"\n") else None
            except (ValueError, RecursionError):
                continue  # torn
            if isinstance(facts, dict) and type(facts.get("segment")) is int:
                found.append(facts)
        worker = self._worker
        return [one for one in found if worker is None or not worker.is_of_others(one)]

    def _stands(self, facts: Dict[str, Any]) -> bool:
        name = facts.get("file")
        if name is None:
            return True
        try:
            path = self.file(name)
            return bool(
                os.stat(path).st_size == facts["size"] and _digest(path) == facts["sha256"]
            )
        except (OSError, KeyError, TypeError, ValueError):
            return False


def _known(value: Any) -> Any:
    """What JSON does not know as what it knows."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    told = value.tolist() if hasattr(value, "tolist") else value
    if type(told) is type(value):
        raise TypeError(f"found {value!r} of type {type(value).__name__}")
    return told


def _worker() -> Optional[Worker]:
    """The run of this process, if it is one's."""
    try:
        facts = read_facts(find_run_dir())
    except (JobSideError, OSError):
        return None
    run = f"{facts['study']}.{facts['run_id']}"
    return Worker(run, facts["attempt"], facts.get("values_since", 1))


def state_of(directory: StrPath) -> str:
    """What the sentinels of a directory say; a success that came after a failure counts."""
    for name in (FINISHED, FAILED):
        if os.path.isfile(os.path.join(directory, name)):
            return name
    return UNKNOWN


def clear_failures(root: StrPath, keep: Sequence[str] = ()) -> List[str]:
    """Remove sentinels of failures, counters of attempts and records of progress in a directory
    and below, and nothing else; the paths of what was removed.

    ``keep`` are names that stay in the directory itself. What earlier attempts of a run left
    (``attempt-<n>``) stays, and links are not followed.
    """
    removed = []
    for place, directories, names in os.walk(root):
        directories[:] = sorted(name for name in directories if not is_attempt_dir(name))
        for name in (FAILED, JOB_ATTEMPT, PROGRESS):
            path = os.path.join(place, name)
            if name in keep and place == os.fspath(root):
                continue
            if name in names and os.path.isfile(path) and not os.path.islink(path):
                os.unlink(path)
                removed.append(path)
    return removed


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
