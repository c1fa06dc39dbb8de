"""Whether there is room left for what a database has to write."""

from __future__ import annotations

import errno

from ZEO.Exceptions import ServerException

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Whether a disk is full: this process says so, or the server whose answer it is."""
    match error:
        case OSError(errno=number):
            pass
        case ServerException(args=("builtins.OSError", (int(number), *_))):
            pass
        case _:
            return False
    return number in _NO_SPACE
