"""Whether an attempt that failed had no space left on its disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from motoko.job.outcome import met_full_disk

#: A disk with less than this is full: what a program could not write was larger.
_LEAST_SPACE = 1 << 16


def is_full(directory: str) -> bool:
    """Whether the disk of a directory has no space left that a program could use."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    has_no_names = found.f_files > 0 and found.f_favail == 0
    return found.f_bavail * found.f_frsize < _LEAST_SPACE or has_no_names


def lacked_space(
    run_dir: str, number: int, nonce: str, word: Mapping[str, Any] | None = None
) -> bool:
    """Whether it met a full disk; ``word`` is the entry of its fail(), if it said that.

    An exception tells by itself, wherever it could not write. Otherwise the disk of the run
    directory does, as it is now or was when the script's shell ended. A script that says fail()
    with a reason of its own knows what for.
    """
    if word is not None and word.get("no_space") is True:
        return True
    if word is not None and "error" not in word:
        return False
    return is_full(run_dir) or met_full_disk(run_dir, number, nonce)


def with_no_space(cause: str | None) -> str:
    """The cause of a failure on a full disk, which does not say so itself."""
    return f"{cause}, with no space left on its disk"
