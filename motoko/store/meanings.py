"""What errors of a database mean: which go by, and what is said of the others."""

from __future__ import annotations

import builtins
import errno
import pickle
from collections.abc import Callable

from ZEO.Exceptions import ClientDisconnected, ServerException
from ZODB.POSException import (
    ConflictError,
    POSKeyError,
    StorageError,
    StorageTransactionError,
)

from motoko.errors import DatabaseFailed, DatabaseUnavailable, NoSpaceLeft
from motoko.host import NO_ROOM, in_words
from motoko.phrases import MENDS_IT
from motoko.store.client import GivenUp
from motoko.store.room import is_full

#: What a server says to one that had begun a commit with another one, and when it must end.
_GO_BY = ("ZODB.POSException.StorageTransactionError", "ZEO.Exceptions.ClientDisconnected")
#: What a disk, as a rule one over the network, may refuse for a while, whatever lies on it.
_OF_THE_DISK = (errno.EIO, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT)


class Translation:
    """While entered, errors of ZODB and ZEO become ours; conflicts stay what they are.

    It is entered for each read, so it is no generator.
    """

    __slots__ = ("_place",)

    def __init__(self, place: Callable[[], str]) -> None:
        """``place`` names the database, and where it is, in messages."""
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and (ours := self.of(error)) is not None:
            raise ours from error

    def of(self, error: BaseException) -> DatabaseUnavailable | None:
        """What an error is to those who do not know ZODB; None for what stays as it is."""
        if isinstance(error, ConflictError | DatabaseUnavailable):
            return None
        if isinstance(error, GivenUp):
            return DatabaseUnavailable(self._place(), str(error))
        if isinstance(error, ClientDisconnected):
            return DatabaseUnavailable(self._place(), "the connection to the server is lost")
        if isinstance(error, StorageError) and not _goes_by(error):
            return self._damaged(error)
        if isinstance(error, pickle.UnpicklingError) or _is_of_file(error):
            return self._damaged(error)
        if not isinstance(error, StorageError | OSError):
            return None
        if is_full(error):
            return NoSpaceLeft(self._place())
        return DatabaseUnavailable(self._place(), _reason(error))

    def _damaged(self, error: BaseException) -> DatabaseFailed:
        """It cannot be read or written any more."""
        return DatabaseFailed(self._place(), f"it is damaged ({_reason(error)}); {MENDS_IT}")


class TranslationOfNewest(Translation):
    """The same for whoever looks at the newest state: what that lacks is damage."""

    __slots__ = ()

    def of(self, error: BaseException) -> DatabaseUnavailable | None:
        """What an error is to those who do not know ZODB; None for what stays as it is."""
        return self._damaged(error) if isinstance(error, POSKeyError) else super().of(error)


def _goes_by(error: StorageError) -> bool:
    """Whether a later try may well be better: there is space, or another server."""
    if isinstance(error, ServerException):
        is_meant = bool(error.args) and error.args[0] in _GO_BY
        is_of_disk = _number(error) in _OF_THE_DISK
        return is_full(error) or is_meant or is_of_disk or _has_no_descriptor(error)
    return type(error) is StorageTransactionError


def _has_no_descriptor(error: BaseException) -> bool:
    """Whether a server says that it can open no file now."""
    return _number(error) in NO_ROOM


def _number(error: BaseException) -> int | None:
    """The error of the system that a server says it has met."""
    match error:
        case ServerException(args=(str(kind), (int(number), *_))):
            found = getattr(builtins, kind.removeprefix("builtins."), None)
            return number if isinstance(found, type) and issubclass(found, OSError) else None
    return None


def _is_of_file(error: BaseException) -> bool:
    """Whether the file of a database, opened without a server, is found to be damaged."""
    return type(error).__module__ == "ZODB.FileStorage.format"


def _reason(error: BaseException) -> str:
    """What it is that a database cannot do, in words."""
    if isinstance(error, POSKeyError):
        return "a part of it is missing"
    if _has_no_descriptor(error):
        return "its server can open no more files for now; `motoko info` says more"
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return in_words(error)
    match error:
        case ServerException(args=(str(kind), arguments)):
            told = arguments if isinstance(arguments, tuple) else (arguments,)
            words = ", ".join(str(one) for one in told if not isinstance(one, dict))
            return ": ".join(
                [f"its server says {kind.rpartition('.')[2]}", *filter(None, [words])]
            )
    if _is_of_file(error):
        return type(error).__name__  # its text shows bytes
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
