"""Whether an attempt that failed could not write: on a full disk, or a read-only one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from motoko.job.outcome import FULL, READ_ONLY, hindrance

#: A disk with less than this is full: what a program could not write was larger.
_LEAST_SPACE = 1 << 16
_WORDS = {FULL: "with no space left on its disk", READ_ONLY: "with its directory read-only"}


def is_full(directory: str) -> bool:
    """Whether the disk of a directory has no space left that a program could use."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    has_no_names = found.f_files > 0 and found.f_favail == 0
    return found.f_bavail * found.f_frsize < _LEAST_SPACE or has_no_names


def is_read_only(directory: str) -> bool:
    """Whether the file system of a directory cannot be written."""
    try:
        return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def hindered(
    run_dir: str, number: int, nonce: str, word: Mapping[str, Any] | None = None
) -> str:
    """In words, what kept an attempt from writing; empty for nothing. ``word`` is the entry of
    its fail(), if it said that.

    An exception tells by itself of a full disk, wherever it could not write. Otherwise the run
    directory does, as it is now or was when the script's shell ended. A script that says fail()
    with a reason of its own knows what for.
    """
    if word is not None and word.get("no_space") is True:
        return _WORDS[FULL]
    if word is not None and "error" not in word:
        return ""
    if is_full(run_dir):
        return _WORDS[FULL]
    if is_read_only(run_dir):
        return _WORDS[READ_ONLY]
    return _WORDS.get(hindrance(run_dir, number, nonce), "")
