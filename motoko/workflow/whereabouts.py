"""Where databases lay when they were last used, so that a copy of them is noticed.

Beside each database lies a record: the directory as this host names it, the host, and the
numbers by which its file system knows it. A copy takes the record along, and has other numbers.
Nobody starts anything there before the user has said whether it was moved or copied: what is
recorded as executing may execute for the original.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from motoko import host
from motoko.durable import replace_file
from motoko.errors import MovedOrCopied, WorkflowMoved
from motoko.workflow import put_back

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

RECORD = "place.json"


class Place(NamedTuple):
    """A directory, as one host knows it."""

    directory: str
    host: str
    device: int
    inode: int

    def is_same(self, other: Place) -> bool:
        """Whether both are one directory, as far as can be told without asking anybody.

        One that was renamed keeps its numbers. Another host may name a shared directory, and
        number its file system, differently. Numbers of a file system that was mounted again, or
        that was put back onto another disk, say nothing of one with the same name.
        """
        if self.inode == other.inode:
            return (
                self.directory == other.directory
                or self.host != other.host
                or self.device == other.device
            )
        is_named_so = (self.directory, self.host) == (other.directory, other.host)
        return is_named_so and self.device != other.device


class Change(NamedTuple):
    """A state directory that is not where, or not what, it was."""

    state_dir: Path
    before: Place
    now: Place

    @property
    def is_renamed(self) -> bool:
        """Whether it is the same directory, under another name."""
        return self.before.inode == self.now.inode


def state_dirs(workflow: Workflow) -> Iterator[Path]:
    """The directories with databases that the workflow's server holds."""
    yield workflow.state_dir
    for manager in workflow.task_managers.values():
        if manager.base.is_served_here:
            yield manager.base.state_dir


def changes(workflow: Workflow) -> list[Change]:
    """Those of them that are not where they were."""
    found = []
    for directory in state_dirs(workflow):
        before = _recorded(directory)
        if before is not None and not before.is_same(now := _present(directory)):
            found.append(Change(directory, before, now))
    return found


def check(workflow: Workflow) -> None:
    """MovedOrCopied if some database is not where it was, and nobody has said why."""
    for change in changes(workflow):
        raise MovedOrCopied(
            str(workflow.directory),
            str(change.state_dir.parent),
            str(Path(change.before.directory).parent),
            change.before.host,
            is_there=_is_there(change.before),
        )


def check_own(workflow: Workflow) -> None:
    """Before anything is started: PermissionError for a workflow of another user, which may be
    read, OSError on a read-only file system, RestoreUnfinished, and what `check` raises."""
    for directory in state_dirs(workflow):
        if directory.is_dir() and not os.access(directory, os.W_OK, effective_ids=True):
            if os.statvfs(directory).f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(directory.parent))
            found = directory.stat()
            if found.st_uid == os.geteuid():
                mode = stat.S_IMODE(found.st_mode)
                why = f"is not writable for you (mode {mode:03o}); `chmod u+w {directory}`"
                raise PermissionError(errno.EPERM, why, str(directory))
            why = f"is {directory.owner()}'s: others may read it, and change nothing"
            raise PermissionError(errno.EPERM, why, str(directory.parent))
    check(workflow)
    put_back.check(workflow)


@contextmanager
def followed(workflow: Workflow) -> Iterator[Callable[[], WorkflowMoved | None]]:
    """Inside the block it can be asked whether the workflow's directory is elsewhere by now:
    the error that says so. None for one that is in its place, or was removed."""
    fd = os.open(workflow.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def moved() -> WorkflowMoved | None:
        if host.is_same(fd, workflow.directory) or os.fstat(fd).st_nlink == 0:
            return None
        now = None
        with suppress(OSError):
            now = str(Path(f"/proc/self/fd/{fd}").readlink())
        return WorkflowMoved(str(workflow.directory), now, workflow.run_name)

    try:
        yield moved
    finally:
        os.close(fd)


def record(workflow: Workflow) -> None:
    """Note where all databases lie now; on a full disk that is left for the next time."""
    for directory in state_dirs(workflow):
        with suppress(OSError):
            now = _present(directory)
            if _recorded(directory) != now:
                text = json.dumps(now._asdict()) + "\n"
                replace_file(directory / RECORD, [text.encode("utf-8", "surrogateescape")])


def _present(directory: Path) -> Place:
    found = directory.stat()
    return Place(os.path.realpath(directory), host.host_name(), found.st_dev, found.st_ino)


def _recorded(directory: Path) -> Place | None:
    try:
        text = (directory / RECORD).read_bytes().decode("utf-8", "surrogateescape")
        return Place(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None


def _is_there(place: Place) -> bool:
    """Whether the original is still where it was, on this host."""
    if place.host != host.host_name():
        return False
    with suppress(OSError):
        found = os.stat(place.directory)
        return (found.st_dev, found.st_ino) == (place.device, place.inode)
    return False
