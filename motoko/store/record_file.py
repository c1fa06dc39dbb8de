"""The revisions of objects in a database file of which parts may be damaged or missing.

The file is a row of transactions: a header (id, length, status, lengths of three texts), the
texts, records, and the length again. A record is a header (object, transaction, two places, a
zero, length) and a pickle. Where a header makes no sense, the next place is looked for where
one does; ids of transactions, which each of its records repeats, are what is looked for. (The
`fsrecover` of ZODB gives up whole transactions, copies the file, and does not end on a file
that has a period among its last bytes.)
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from motoko.store.transaction_log import FIRST_BYTES, MAGICS

_TRANSACTION = struct.Struct(">8s8scHHH")
_RECORD = struct.Struct(">8s8sQQHQ")
_LENGTH = struct.Struct(">Q")
_COMPLETE = (b" ", b"p", b"u")
_UNFINISHED = b"c"
_TID = slice(8, 16)


class Revision(NamedTuple):
    """An object as one transaction left it: which one, and where the pickle lies."""

    tid: bytes
    begin: int
    end: int


class _Header(NamedTuple):
    tid: bytes
    status: bytes
    records: int
    end: int
    #: Whether the transaction is there to its end.
    is_whole: bool


class RecordFile:
    """All revisions that can be found in a file; a context manager."""

    def __init__(self, file: Path) -> None:
        with open(file, "rb") as opened:
            self._size = opened.seek(0, 2)
            self._bytes = (
                mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) if self._size else None
            )
        #: Revisions of each object, oldest first.
        self.revisions: dict[bytes, list[Revision]] = {}
        #: Bytes that belong to no whole transaction.
        self.n_bytes_lost = 0
        #: Id of the last readable transaction.
        self.last_tid = b"\0" * 8
        self._read()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bytes is not None:
            self._bytes.close()

    def data(self, revision: Revision) -> bytes:
        """The pickle of a revision."""
        return self._slice(revision.begin, revision.end)

    def _slice(self, begin: int, end: int) -> bytes:
        return b"" if self._bytes is None else self._bytes[begin:end]

    def _read(self) -> None:
        position = len(MAGICS[0])
        if self._slice(0, position) not in MAGICS:
            self.n_bytes_lost += min(position, self._size)
        while position < self._size:
            header = self._header(position)
            if header is not None and header.is_whole:
                self._take(header, header.end)
                position = header.end + _LENGTH.size
                continue
            following = self._next_transaction(position + 1)
            is_unfinished = header is not None and header.status == _UNFINISHED
            if header is not None and not is_unfinished:
                self._take(header, following)
            if not is_unfinished or following < self._size:
                self.n_bytes_lost += following - position
            position = following

    def _header(self, position: int) -> _Header | None:
        """The header of a transaction, if there may be one here."""
        raw = self._slice(position, position + _TRANSACTION.size)
        if len(raw) < _TRANSACTION.size:
            return None
        tid, stated, status, *texts = _TRANSACTION.unpack(raw)
        (length,) = _LENGTH.unpack(stated)
        records = position + _TRANSACTION.size + sum(texts)
        end = position + length
        is_possible = tid[:1] in FIRST_BYTES and tid > self.last_tid and end >= records
        if not is_possible or status not in (*_COMPLETE, _UNFINISHED):
            return None
        is_whole = status in _COMPLETE and self._slice(end, end + _LENGTH.size) == stated
        return _Header(tid, status, records, end, is_whole)

    def _next_transaction(self, position: int) -> int:
        """Where the next whole transaction begins, or the end of the file."""
        assert self._bytes is not None
        found = [self._next_from(position, byte) for byte in FIRST_BYTES]
        return min(found)

    def _next_from(self, position: int, first: bytes) -> int:
        assert self._bytes is not None
        while (position := self._bytes.find(first, position)) >= 0:
            header = self._header(position)
            if header is not None and header.is_whole:
                return position
            position += 1
        return self._size

    def _take(self, header: _Header, end: int) -> None:
        """Take the records of a transaction; from a damaged one, go on at the next."""
        self.last_tid = header.tid
        for oid, revision in self._records(header, end):
            self.revisions.setdefault(oid, []).append(revision)

    def _records(self, header: _Header, end: int) -> Iterator[tuple[bytes, Revision]]:
        position = header.records
        while position + _RECORD.size <= end:
            oid, tid, _, _, n_version, length = self._record(position)
            begin = position + _RECORD.size
            if tid == header.tid and n_version == 0 and begin + max(length, 8) <= end:
                position = begin + (length or _LENGTH.size)
                revision = self._revision(header.tid, begin, length)
                if revision is not None:
                    yield oid, revision
                continue
            assert self._bytes is not None
            following = self._bytes.find(header.tid, begin, end)
            if header.is_whole:
                self.n_bytes_lost += (end if following < 0 else following) - position
            if following < 0:
                return
            position = following - _TID.start

    def _record(self, position: int) -> tuple[bytes, bytes, int, int, int, int]:
        raw = self._slice(position, position + _RECORD.size)
        found: tuple[bytes, bytes, int, int, int, int] = _RECORD.unpack(raw)
        return found

    def _revision(self, tid: bytes, begin: int, length: int) -> Revision | None:
        if length:
            return Revision(tid, begin, begin + length)
        (place,) = _LENGTH.unpack(self._slice(begin, begin + _LENGTH.size))
        if place + _RECORD.size > self._size:  # the data of another record, after an undo
            return None
        length = self._record(place)[-1]
        return Revision(tid, place + _RECORD.size, place + _RECORD.size + length)
