"""The file of a database as whoever writes it holds it: it ends in a whole transaction."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ZODB.FileStorage import FileStorage

from motoko.errors import ForeignDatabase
from motoko.host import is_same
from motoko.store.transaction_log import TransactionLog

#: Where the header of a transaction says whether it is complete.
_STATUS_AT = 16


class DatabaseFile(FileStorage):  # type: ignore[misc]
    """A database file from which all is dropped that a commit leaves when it fails.

    ZODB would cut it off, too, but writes its buffers first: on a disk that is full that fails
    as the commit did, and what they hold gets into the file once there is space again.
    """

    _file: Any
    _tfile: Any
    #: Whether something may stand behind the last transaction, in the file or in a buffer.
    is_torn = False
    #: Whether what is closed is the file that others find under its name.
    _is_in_place = True

    def make_whole(self) -> None:
        """Drop what a commit that failed has left; OSError where that cannot be done now.

        No other commit is begun before, so that nothing of what is dropped is anybody's.
        """
        if self.is_torn:
            with self._files.write_lock(), self._lock:  # in the order of commits and packs
                self._cut()

    def _cut(self) -> None:
        if not self.is_torn:
            return
        torn = self._file
        if os.fstat(torn.fileno()).st_size > self._pos:
            os.ftruncate(torn.fileno(), self._pos)
        self._file = _opened(torn.name, "r+b", lambda *_: os.dup(torn.fileno()))
        torn.raw.close()  # so that what its buffer holds is never written
        self._files.empty()
        self.is_torn = False

    def _restore_index(self) -> Any:
        """As ZODB does it, while the file is opened; but of a commit that was never finished
        no copy is made, for which there may be no space."""
        found = super()._restore_index()
        if not self._is_read_only:
            with suppress(ForeignDatabase), TransactionLog(Path(self._file_name)) as log:
                if found is not None:
                    log.skip_to(found[1])
                log.advance()
                self._pos, self.is_torn = log.end, log.is_under_way
            self.make_whole()
        return found

    def tpc_vote(self, meta: Any) -> Any:
        """Write a commit down, so that nothing but its last byte is left to be written."""
        self.make_whole()
        is_its_turn = self.tpc_transaction() is meta
        try:
            return super().tpc_vote(meta)
        except BaseException:
            self.is_torn = is_its_turn
            with suppress(OSError):  # whoever needs the file next tries it again
                self.make_whole()
            raise

    def _finish(self, tid: bytes, *_: bytes) -> None:
        """Make a commit final, or drop it: ZODB's own closes the file for good then."""
        try:
            self._file.seek(self._pos + _STATUS_AT)
            self._file.write(self._tstatus.encode())
            self._finish_finish(tid)
        except BaseException:
            self.is_torn = True
            with suppress(OSError):  # as above; here the locks are held
                self._cut()
            raise

    def _abort(self) -> None:
        try:
            super()._abort()
        except BaseException:
            self.is_torn = True
            raise

    def _clear_temp(self) -> None:
        try:
            super()._clear_temp()
        except OSError:  # what it could not write is of a commit that failed
            torn = self._tfile
            self._tfile = self._tfmt._file = _opened(torn.name, "w+b")
            torn.raw.close()

    def iterator(self, start: bytes | None = None, stop: bytes | None = None) -> Any:
        """The transactions from one id to another."""
        self.make_whole()
        return super().iterator(start, stop)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self.make_whole()
        self._is_in_place = False
        with suppress(OSError, ValueError):  # ValueError: it was closed before
            self._is_in_place = is_same(self._file.fileno(), self._file_name)
        super().close()

    def _save_index(self) -> None:
        """Write down where objects are, unless what is closed was removed or replaced: beside
        another file it would tell that this had lost what it never held."""
        if self._is_in_place:
            super()._save_index()


def _opened(path: str, mode: str, opener: Callable[[str, int], int] | None = None) -> Any:
    """A file that stays open."""
    return open(path, mode, opener=opener)
