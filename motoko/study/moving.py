"""Moving and removing what a program left, also directories that it made read-only.

Who renames a directory changes what it says of its parent, so it has to be writable; who
removes one has to write in all that are below. Their owner may make them so.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

_ALL = stat.S_IRWXU


def check_movable(paths: Iterable[Path]) -> None:
    """PermissionError, which says what to do, for the first that cannot be moved."""
    for path in paths:
        _mode_to_change(path)


def check_removable(path: Path) -> None:
    """PermissionError, which says what to do, for what is below and cannot be removed."""
    for directory in _directories(path):
        _mode_to_change(directory)


def check_writable(path: Path) -> None:
    """PermissionError, which says what to do, if nothing can be moved out of a directory, or
    into it; what is not there yet would be made."""
    while not path.exists() and path != path.parent:
        path = path.parent
    if not _is_writable(path):
        text = f"is not writable, so nothing can be moved from or to it; `chmod u+w {path}`"
        raise PermissionError(errno.EPERM, text, str(path))


def move(path: Path, target: Path) -> None:
    """Move a file or directory, with its mode; to another file system by a copy."""
    mode = _mode_to_change(path)
    if mode is not None:
        os.chmod(path, mode | _ALL)
    there = path
    try:
        path.rename(target)
        there = target
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(path, target)
        remove(path)
        there = target
    finally:
        if mode is not None:
            os.chmod(there, mode)


def make_writable(directory: Path) -> None:
    """Let its owner make files in a directory, where the mode forbids it."""
    mode = _mode_to_change(directory)
    if mode is not None:
        os.chmod(directory, mode | _ALL)


def remove(path: Path) -> None:
    """Remove a file, or a directory with all in it; what is not there is no error."""
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        for directory in _directories(path):
            make_writable(directory)
        shutil.rmtree(path)


def _copy(path: Path, target: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)
    except BaseException:
        remove(target)
        raise


def _directories(path: Path) -> Iterable[Path]:
    """A directory and those below, each before it is looked into."""
    if path.is_symlink() or not path.is_dir():
        return
    yield path
    with os.scandir(path) as entries:
        below = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for directory in below:
        yield from _directories(directory)


def _mode_to_change(path: Path) -> int | None:
    """The mode of a directory of ours that is not writable; None for all else."""
    found = os.lstat(path)
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        return None
    if found.st_uid == os.geteuid():
        return None if mode & _ALL == _ALL else mode
    if not _is_writable(path):
        text = (
            "is read-only and belongs to another user, so it cannot be moved; its owner makes"
            f" that possible with `chmod -R u+w {path}`"
        )
        raise PermissionError(errno.EPERM, text, str(path))
    return None


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK | os.X_OK, effective_ids=True)
