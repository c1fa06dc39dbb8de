"""A database file as the transactions that were appended to it, read beside whoever writes it.

A transaction is complete once its status byte says so, which the server writes last. What
stands before the end of a complete one never changes: those bytes are a backup. A pack replaces
the file; whoever has it open goes on seeing the old one, which no longer grows.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import TracebackType

from motoko.errors import ForeignDatabase

MAGICS = (b"FS30", b"FS21")
_HEADER = struct.Struct(">8s8scHHH")
_LENGTH = struct.Struct(">Q")
_COMPLETE = b" pu"
#: First bytes of all transactions from 1993 to 2056.
FIRST_BYTES = (b"\x03", b"\x04")
_UNDER_WAY = b"c"
_CHUNK = 1 << 20


class TransactionLog:
    """Where the complete transactions of a database file end."""

    def __init__(self, file: Path) -> None:
        """Opens the file; ForeignDatabase for one that is no database."""
        self.file = file
        self._fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        #: Where the last complete transaction ends, as of the last `advance`.
        self.end = len(MAGICS[0])
        #: How many there are up to there.
        self.n_transactions = 0
        if os.pread(self._fd, self.end, 0) not in MAGICS:
            os.close(self._fd)
            why = "is no database, or its beginning is damaged; run `motoko repair`"
            raise ForeignDatabase(str(file), why)

    def __enter__(self) -> TransactionLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def advance(self) -> bool:
        """Go on to the end of the last transaction that is complete now; whether it moved."""
        before = self.end
        size = os.fstat(self._fd).st_size
        while (length := self._length_at(self.end, size)) is not None:
            self.end += length + _LENGTH.size
            self.n_transactions += 1
        return self.end != before

    def _length_at(self, position: int, size: int) -> int | None:
        header = os.pread(self._fd, _HEADER.size, position)
        if len(header) < _HEADER.size:
            return None
        _, stated, status, *parts = _HEADER.unpack(header)
        (length,) = _LENGTH.unpack(stated)
        if status not in _COMPLETE or length < _HEADER.size + sum(parts):
            return None
        if position + length + _LENGTH.size > size:
            return None
        is_whole = os.pread(self._fd, _LENGTH.size, position + length) == stated
        return length if is_whole else None

    @property
    def is_current(self) -> bool:
        """Whether the path still leads to the file that is open here."""
        try:
            now = os.stat(self.file)
        except FileNotFoundError:
            return False
        found = os.fstat(self._fd)
        return (now.st_ino, now.st_dev) == (found.st_ino, found.st_dev)

    @property
    def n_bytes_behind(self) -> int:
        """How many bytes stand behind the last complete transaction."""
        return os.fstat(self._fd).st_size - self.end

    @property
    def is_under_way(self) -> bool:
        """Whether what stands behind the end is a commit that is not finished, or was never:
        the server drops such a one when it starts. What reaches further than that commit said
        it would holds others."""
        header = os.pread(self._fd, _HEADER.size, self.end)
        if len(header) < _HEADER.size:
            return False
        _, stated, status, *_ = _HEADER.unpack(header)
        (length,) = _LENGTH.unpack(stated)
        return bool(status == _UNDER_WAY and self.n_bytes_behind <= length + _LENGTH.size)

    def skip_to(self, position: int) -> None:
        """Take it that all is whole up to this position, where a transaction ends."""
        self.end = position

    @property
    def is_sound(self) -> bool:
        """Whether nothing stands behind the end but what a commit has left that did not come to
        its own end: the server drops that, and whoever made it was not told that it took place.

        Zeros may have been transactions: a power cut, or a copy that was not finished, has left
        the length of a file without its content.
        """
        header = os.pread(self._fd, _HEADER.size, self.end)
        if len(header) < _HEADER.size:
            return True
        tid, stated, status, *_ = _HEADER.unpack(header)
        if tid[:1] not in FIRST_BYTES:
            return False
        (length,) = _LENGTH.unpack(stated)
        is_cut = self.end + length + _LENGTH.size > os.fstat(self._fd).st_size
        return self.is_under_way or bool(status in _COMPLETE and is_cut)

    def copy_to(self, target: Path) -> None:
        """Copy the complete transactions into a new file, and onto the disk."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            position = 0
            while position < self.end:
                n_wanted = min(_CHUNK, self.end - position)
                n_copied = os.sendfile(copy, self._fd, position, n_wanted)
                if n_copied == 0:
                    raise OSError(f"{self.file} became shorter while it was copied")
                position += n_copied
            os.fsync(copy)
        finally:
            os.close(copy)
