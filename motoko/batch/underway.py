"""Which outputs are being made, and by whom: for whoever comes after a kill.

While a call works, a file ``.ID.begun`` lies in the directory of its outputs. Its first line
says who it is, and for each output follow ``{"begun": PATH}`` before its job begins, and
``{"ended": PATH}`` once its record is written down. It belongs to the outputs, whatever the
manifest of the next call, and its paths lead from its own place, so that a directory that was
renamed is known again, and a copy has nothing to do with what its original has.

Who makes the outputs has the file open, as has all that it forks, and tells its id to all that
it starts. What is left of a call that was killed is ended by that, before its outputs are
taken for half done and set aside.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from motoko import host
from motoko.batch import leftovers
from motoko.batch.doing import set_aside
from motoko.durable import locked, write_all
from motoko.errors import BatchRunning

SUFFIX = ".begun"
#: In the directory of a workflow whose runs are jobs of a batch, until its call is through.
CALL = "call.json"
#: What was killed is gone after an instant, and has let go of its file.
_PATIENCE_S = 5.0


class UnderWay:
    """The outputs of one call. Its file is made when the first of them is begun."""

    def __init__(
        self,
        home: Path,
        stack: ExitStack,
        forced_since: datetime | None,
        workflow_dir: Path | None,
    ) -> None:
        """The file is open, and locked, until the end of ``stack``."""
        self.id = secrets.token_hex(8)
        self._home = home
        self._stack = stack
        self._forced_since = forced_since
        self._workflow_dir = workflow_dir
        self._file = home / f".{self.id}{SUFFIX}"
        self._fd: int | None = None
        self._unfinished: set[str] = set()

    def begin(self, outputs: Iterable[Path]) -> None:
        """They are being made from now on."""
        self._begin([_from(self._home, output) for output in outputs])

    def end(self, output: Path) -> None:
        """What became of it is written down."""
        path = _from(self._home, output)
        self._write("ended", [path])
        self._unfinished.discard(path)

    def take_over(self, files: Iterable[Path]) -> None:
        """What other calls have begun and not ended was begun by this one."""
        for file in files:
            self._begin(_read(file)[1])
            file.unlink()

    def close(self) -> None:
        """The call is through; what it has left to others stays written down."""
        if self._fd is not None and not self._unfinished:
            self._file.unlink()

    def _begin(self, paths: Collection[str]) -> None:
        if paths:
            self._unfinished.update(paths)
            self._write("begun", paths)

    def _write(self, what: str, paths: Iterable[str]) -> None:
        lines = "".join(f"{json.dumps({what: path})}\n" for path in paths)
        if self._fd is None:
            self._fd = self._open()
        write_all(self._fd, lines.encode())

    def _open(self) -> int:
        self._home.mkdir(parents=True, exist_ok=True)
        fd = self._stack.enter_context(locked(self._file, _PATIENCE_S))
        pid = os.getpid()
        since, workflow_dir = self._forced_since, self._workflow_dir
        call = _Call(
            self.id,
            host.host_name(),
            host.boot_id(),
            pid,
            host.process_start_time(pid),
            os.fstat(fd).st_ino,
            None if workflow_dir is None else _from(self._home, workflow_dir),
            None if since is None else since.isoformat(),
        )
        write_all(fd, json.dumps(call._asdict()).encode() + b"\n")
        return fd


class Before(NamedTuple):
    """What calls that were killed have left in a directory of outputs."""

    #: Since when all of it is done again, if the last of them did that.
    forced_since: datetime | None
    #: The files of calls whose runs this one takes over: for as long as it works.
    taken_over: list[Path]


class _Call(NamedTuple):
    """Who has written a file, as its first line says."""

    id: str
    host: str
    boot: str
    pid: int
    start_time: int | None
    inode: int
    #: Of the workflow whose runs are the jobs, from where the outputs are.
    workflow: str | None
    forced_since: str | None

    @property
    def is_here(self) -> bool:
        """Whether its processes would be seen."""
        return (self.host, self.boot) == (host.host_name(), host.boot_id())

    def is_of(self, file: Path) -> bool:
        """Whether this is the call's own file, and no copy."""
        try:
            return self.inode == file.stat().st_ino
        except FileNotFoundError:  # another call has taken it up
            return False

    def is_at_work(self, file: Path) -> bool:
        """Whether it may still make its outputs."""
        is_locked = host.is_locked(str(file))  # which no copy is
        if is_locked is False or not self.is_here:
            return bool(is_locked)
        if is_locked is None and not self.is_of(file):
            return False
        if self.pid == os.getpid():  # of this very process; what it has left may hold the lock
            return self.pid in leftovers.find_writers(file)
        return host.is_alive(self.pid, self.start_time)


@contextmanager
def begun(
    home: Path, *, forced_since: datetime | None = None, workflow_dir: Path | None = None
) -> Iterator[UnderWay]:
    """Inside the block outputs are made, by this process, or by runs of a workflow.

    Who is interrupted leaves what was begun to the next one, as who is killed does.
    """
    with ExitStack() as stack:
        outputs = UnderWay(home, stack, forced_since, workflow_dir)
        if workflow_dir is None:
            stack.enter_context(leftovers.told(outputs.id))
        yield outputs
        outputs.close()


def take_up(home: Path, outputs: Collection[Path], workflow_dir: Path | None = None) -> Before:
    """End what calls that were killed have left there, and set aside what they had half done.

    Those whose jobs are runs of the workflow in ``workflow_dir`` are left to who takes over
    these. BatchRunning if any other may still make one of these outputs.
    """
    forced_since: datetime | None = None
    taken_over: list[Path] = []
    for file in sorted(_files(home)):
        call, unfinished = _read(file)
        if call is None:
            _remove_empty(file)
            continue
        workflow = None if call.workflow is None else Path(_at(home, call.workflow))
        is_handed_on = workflow is not None and (workflow / CALL).exists()
        is_at_work = call.is_at_work(file)
        if is_handed_on and workflow == workflow_dir and not is_at_work:
            taken_over.append(file)
            continue
        if is_handed_on or is_at_work:
            busy = {_at(home, path) for path in unfinished}
            if any(os.path.normpath(output) in busy for output in outputs):
                raise BatchRunning(str(home), None if workflow is None else str(workflow))
            continue
        _undo(home, file, call)
        if call.forced_since is not None:
            since = datetime.fromisoformat(call.forced_since)
            forced_since = since if forced_since is None else max(since, forced_since)
    return Before(forced_since, taken_over)


def is_of_batches(file: Path) -> bool:
    """Whether it is such a file, by its name."""
    return file.name.startswith(".") and file.name.endswith(SUFFIX)


def _undo(home: Path, file: Path, call: _Call) -> None:
    """End what is left of a call, and set aside what it had half done. One by one."""
    is_own = call.is_of(file)
    with ExitStack() as stack:
        try:
            if is_own and call.is_here:
                leftovers.end(call.id, file, _PATIENCE_S)
            stack.enter_context(locked(file, _PATIENCE_S))
        except TimeoutError:
            raise BatchRunning(str(home)) from None
        for path in _read(file)[1]:
            # A copy has nothing elsewhere.
            if is_own or not os.path.normpath(path).startswith(("/", os.pardir)):
                set_aside(Path(_at(home, path)))
        file.unlink()


def _remove_empty(file: Path) -> None:
    """Remove the file of a call that was killed before it had begun anything, unless it is just
    about to write down who it is."""
    with suppress(TimeoutError), locked(file, 0.0):
        if _read(file)[0] is None:
            file.unlink()


def _files(home: Path) -> Iterator[Path]:
    try:
        with os.scandir(home) as entries:
            yield from (Path(e.path) for e in entries if is_of_batches(Path(e.name)))
    except FileNotFoundError:
        return


def _read(file: Path) -> tuple[_Call | None, list[str]]:
    """Who has written it, and what was begun and has not ended."""
    try:
        first, *lines = file.read_bytes().splitlines() or [b""]
        call = _Call(**json.loads(first))
    except (FileNotFoundError, ValueError, TypeError):
        return None, []
    unfinished: dict[str, None] = {}
    for line in lines:
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:  # the last one, torn by a kill: that job had not begun, or has ended
            continue
        if "begun" in entry:
            unfinished[entry["begun"]] = None
        else:
            unfinished.pop(entry["ended"], None)
    return call, list(unfinished)


def _from(home: Path, path: Path) -> str:
    """How it is written down: from where the outputs are, wherever that is."""
    return os.path.relpath(path, home)


def _at(home: Path, path: str) -> str:
    return os.path.normpath(home / path)
