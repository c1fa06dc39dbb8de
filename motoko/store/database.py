"""One open connection to a database server, and whole transactions over it."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import transaction
import ZODB
from transaction.interfaces import NoTransaction
from ZODB.POSException import ConflictError

from motoko.crashpoints import reached
from motoko.errors import (
    ConflictsExhausted,
    DatabaseRefused,
    DatabaseUnavailable,
    ForeignDatabase,
)
from motoko.store import layout
from motoko.store.address import Address
from motoko.store.claim import Claim
from motoko.store.client import CONNECTING_S, Haste
from motoko.store.feed import SINGLE_WRITE, Change, Feed, FeedingStorage
from motoko.store.ledger import Ledger
from motoko.store.meanings import Translation, TranslationOfNewest
from motoko.store.refusal import find_out
from motoko.store.tables import Tables
from motoko.store.turn import Turn

log = logging.getLogger(__name__)
# What they say is for logs, where there are any.
for _name in ("ZEO", "ZODB", "txn", "asyncio"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

MOST_ATTEMPTS = 50
_CACHED_OBJECTS = 20_000
#: How much longer a server that listens is waited for at first: on a busy machine it, or
#: this process, may get no processor time for seconds.
_BEGINNING_S = 4.0
_NO_SERVER = "no server answers (`motoko server start` starts one that stays)"
_SILENT_SERVER = "the server does not answer: it is stopped, or busy"


class View(Protocol):
    """What a transaction shows of a database: `Tables` or `Ledger`."""

    changed: set[int]
    trees: Any

    def __init__(self, root: Any, where: str) -> None: ...

    def fact(self, name: str) -> Any:
        """A stored fact about the database."""

    def set_fact(self, name: str, value: Any) -> None:
        """Store one; None removes it."""


V = TypeVar("V", bound=View)
T = TypeVar("T")


class Database(Generic[V]):
    """An open database of one kind. Safe to use from several threads."""

    def __init__(self, address: Address, view: Callable[[Any, str], V], where: str) -> None:
        """Connects on first use; ``where`` names the database in messages."""
        self.address = address
        self.where = where
        self.feed = Feed()
        self.turn = Turn()
        #: The workflow's database, where commits over several databases are decided.
        self.ledger: Database[Ledger] | None = None
        #: Held by whoever decides a commit here: those of one process do not conflict then.
        self.deciding = threading.Lock()
        #: Marks of commits that have reached every database and may be forgotten.
        self.settled: set[str] = set()
        #: On behalf of what this process changes it, if that is looked after.
        self.claim: Claim | None = None
        self._view = view
        self._opening = threading.RLock()
        self._haste = Haste()
        self._translation = Translation(self._place)
        self._translation_of_newest = TranslationOfNewest(self._place)
        self._db: Any = None
        #: How often it was opened, and closed: connections of an earlier time show nothing any
        #: more.
        self.n_openings = 0
        #: Opens the file for whoever only reads, if no server runs.
        self.stand_in: Callable[[], None] | None = None
        #: The file that is open instead of a server, and what it was when it was opened.
        self._stands_in: tuple[Path, _Mark | None] | None = None

    def __repr__(self) -> str:
        return f"Database({self.where})"

    # connecting

    def connect(self, wait_s: float = CONNECTING_S) -> None:
        """Wait until the server answers; DatabaseUnavailable when it does not in time."""
        deadline = time.monotonic() + wait_s
        with self._opening:
            if self._stands_in is not None:
                self._end_opening()
            if self._db is None:
                self._open(wait_s)
        while not self.is_connected:
            if self._haste.is_needed or time.monotonic() > deadline:
                raise self._unreachable("the server does not answer")
            time.sleep(0.02)

    def be_readable(self) -> None:
        """Let the file, as it is now, stand in for a server that does not run.

        Not for those who change the database on somebody's behalf or wait for its changes:
        the server that they were connected to comes back.
        """
        if self.stand_in is None or self.is_connected:
            return
        with self._opening:
            if self._stands_in is not None:
                is_over = _mark(self._stands_in[0]) != self._stands_in[1]
            else:
                is_over = self.is_away and self.claim is None and not self.feed.is_heard
            if is_over:
                self._end_opening()
                self.feed.tell(Change(is_everything=True))
            if self._db is None:
                self.stand_in()

    def probe(self) -> None:
        """Find out, without waiting, whether the server answers: `is_away` says it later."""
        if self.is_connected and (ask := getattr(self._db.storage, "probe", None)) is not None:
            ask()

    def hurry(self) -> None:
        """End all waits for the server within a moment, present ones and those to come: the
        process is to end. For signal handlers too."""
        self._haste.is_needed = True

    @property
    def is_hurried(self) -> bool:
        """Whether nobody is to wait for the server any more."""
        return self._haste.is_needed

    @property
    def is_connected(self) -> bool:
        """Whether the server answers, as far as is known; no file does."""
        if self._db is None or self._stands_in is not None:
            return False
        ask = getattr(self._db.storage, "is_connected", None)
        return ask is None or bool(ask())

    @property
    def is_away(self) -> bool:
        """Whether the server was there and does not answer any more."""
        return self._db is not None and self._stands_in is None and not self.is_connected

    def _open(self, wait_s: float) -> None:
        with self.translated():
            while self._db is None:
                storage = self._connected_storage(wait_s)
                try:
                    self._db = ZODB.DB(
                        storage, 50, cache_size=_CACHED_OBJECTS, large_record_size=1 << 30
                    )
                except ConflictError:  # another client has made the root of a new database
                    storage.close()
            self.n_openings += 1

    def _connected_storage(self, wait_s: float) -> FeedingStorage:
        deadline, why = time.monotonic() + wait_s, _NO_SERVER
        self.address = self.address.resolved()
        is_first = self._view is Ledger
        storage = FeedingStorage(self.address, self.feed, self._haste, is_first=is_first)
        while not storage.is_connected():
            is_over = time.monotonic() > deadline
            if is_over and why == _NO_SERVER and self.address.is_listened_at:
                deadline, why = time.monotonic() + _BEGINNING_S, _SILENT_SERVER
            elif is_over or self._haste.is_needed:
                storage.close()
                raise self._unreachable(why)
            time.sleep(0.005)
        return storage

    def open_file(self, file: Path, *, is_writable: bool = False) -> None:
        """Open the database's file, which no server may hold, instead of connecting.

        To read it, until somebody connects; or to change it if it ``is_writable``: then it is
        made if it is not there.
        DatabaseClosed where this user may not read it, DatabaseUnavailable when it cannot be
        read for another reason, DatabaseLost when its end is damaged, ForeignDatabase when it
        is something else.
        """
        from ZODB.FileStorage.FileStorage import FileStorageFormatError

        from motoko.store.database_file import DatabaseFile

        layout.check_not_emptied(file)
        layout.check_end(file)
        stands_in = None if is_writable else (file, _mark(file))
        self._end_opening()
        with self.translated():
            try:
                storage = DatabaseFile(str(file), read_only=not is_writable)
            except FileStorageFormatError as error:
                raise ForeignDatabase(str(file), layout.NO_DATABASE_FILE) from error
            try:
                self._db = ZODB.DB(
                    storage, cache_size=_CACHED_OBJECTS, large_record_size=1 << 30
                )
            except BaseException:
                storage.close()
                raise
        self._stands_in = stands_in
        self.n_openings += 1

    def close(self) -> None:
        """End the connection; the next use opens a new one."""
        self._haste = Haste()
        self._end_opening()

    def _end_opening(self) -> None:
        db, self._db, self._stands_in = self._db, None, None
        if db is None:
            return
        self.n_openings += 1
        self.feed.count()  # what was seen through it is not shown any more
        try:
            db.close()
        except NoTransaction:  # of a connection that somebody has not given back
            db.storage.close()

    # transactions

    def open(
        self, manager: Any, before: bytes | None = None, *, is_for_reading: bool = False
    ) -> Any:
        """A ZODB connection that takes part in the manager's transactions.

        It shows the newest state, or for ever what was there ``before`` a transaction of that
        id; then nothing can be committed through it. Nor can it be through one that
        ``is_for_reading``, which a file may give that stands in for the server.
        """
        if self._db is None or (self._stands_in is not None and not is_for_reading):
            self.connect()
        with self.translated():
            return self._db.open(manager, before=before)

    def last_transaction(self) -> bytes:
        """The id of the newest transaction that this client knows."""
        last: bytes = self._db.storage.lastTransaction()
        return last

    def has_committed(self, note: str, since: bytes) -> bool:
        """Whether a transaction with this note was committed after the one of this id.

        Asks the server for the transactions themselves: for a commit whose answer was lost.
        """
        wanted = note.encode()
        with self.translated():
            # All of them: the server keeps its file open for who leaves off before the end.
            notes = [record.description for record in self._db.storage.iterator(since)]
        return any(wanted in found for found in notes)

    def view(self, connection: Any) -> V:
        """What a connection shows, in its current transaction."""
        with self.newest():
            return self._view(connection.root(), self.where)

    @contextmanager
    def read(self) -> Iterator[V]:
        """A snapshot to read from."""
        manager = transaction.TransactionManager(explicit=True)
        manager.begin()
        connection = self.open(manager, is_for_reading=True)
        try:
            with self.newest():
                yield self.view(connection)
        finally:
            undo(manager)
            connection.close()

    def write(self, body: Callable[[V], T]) -> T:
        """Make a change; see `Write`, for those that may have to make it again."""
        return Write(self, body)()

    def await_news(self) -> None:
        """Hear of everything that has been committed before: the server answers in order."""
        ask = getattr(self._db.storage, "ping", None)
        if ask is not None:
            with self.translated():
                ask()

    def tell(self, view: View) -> None:
        """Tell this process's own listeners what a view has committed."""
        if view.changed:
            self.feed.tell(Change(runs=set(view.changed)))
        elif getattr(view, "is_changed", False):
            self.feed.tell(Change(is_everything=True))

    def initialise(self, kind: str, facts: dict[str, Any]) -> bool:
        """Make the trees of an empty database; False if it has them already."""
        manager = transaction.TransactionManager(explicit=True)
        for attempt in range(MOST_ATTEMPTS):
            manager.begin()
            connection = self.open(manager)
            try:
                with self.translated():
                    if layout.is_initialised(connection.root()):
                        layout.trees(connection.root(), kind, self.where)
                        return False
                    layout.initialise(connection.root(), kind, facts)
                    manager.commit()
                    reached("database.made")
                    return True
            except ConflictError:
                back_off(attempt)
            finally:
                undo(manager)
                connection.close()
        raise ConflictsExhausted(f"the creation of {self.where}", MOST_ATTEMPTS)

    def translated(self) -> Translation:
        """Errors of ZODB and ZEO become ours; conflicts stay what they are."""
        return self._translation

    def newest(self) -> Translation:
        """The same for whoever looks at the newest state: what that lacks is damage."""
        return self._translation_of_newest

    def _unreachable(self, why: str) -> DatabaseUnavailable:
        """Nobody answers; over the network it is found out why."""
        if self.address.path is not None or self._haste.is_needed:
            return DatabaseUnavailable(self._place(), why)
        refusal = find_out(self.address)
        kind = DatabaseUnavailable if refusal.goes_by else DatabaseRefused
        return kind(self._place(), refusal.why)

    def _place(self) -> str:
        return f"of {self.where} at {self.address}"


class Write(Generic[V, T]):
    """A change of one database, in a transaction of its own."""

    def __init__(self, database: Database[V], body: Callable[[V], T]) -> None:
        """A conflict runs ``body`` again, on a new snapshot: it must touch nothing but the
        view."""
        self._database = database
        self._body = body
        self._note = f"{SINGLE_WRITE} {secrets.token_hex(8)}"
        #: What was tried last: its view and result, and the transaction that it is newer than.
        self._tried: tuple[V, T, bytes] | None = None

    def __call__(self) -> T:
        """Make the change; what ``body`` gives.

        DatabaseUnavailable when the server is away; then this may be called again. A commit
        whose answer was lost is found to have taken place, and not made again.

        A body that changes nothing conflicts with nobody; it is run again, too, if the news of
        what had been committed before this call was still on its way.
        """
        database = self._database
        database.connect()
        if self._tried is not None:
            view, result, since = self._tried
            if database.has_committed(self._note, since):
                database.tell(view)
                return result
            self._tried = None
        has_all_news = False
        for attempt in range(MOST_ATTEMPTS):
            version = database.feed.version
            manager = transaction.TransactionManager(explicit=True)
            manager.begin()
            connection = database.open(manager)
            try:
                with database.newest():
                    since = database.last_transaction()
                    view = database.view(connection)
                    if database.claim is not None:
                        database.claim.check(view)
                    result = self._body(view)
                    if not view.changed and not has_all_news:
                        has_all_news = True
                        database.await_news()
                        if version != database.feed.version:
                            continue
                    manager.get().note(self._note)
                    self._tried = view, result, since
                    manager.commit()
            except ConflictError:
                back_off(attempt)
                continue
            finally:
                undo(manager)
                connection.close()
            database.tell(view)
            return result
        raise ConflictsExhausted(f"a change of {database.where}", MOST_ATTEMPTS)


_Mark = tuple[int, int]


def _mark(file: Path) -> _Mark | None:
    """What is another after each commit, and after a pack; None if the file is not there."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size


def undo(manager: Any) -> None:
    """Drop a manager's transaction, if it has one."""
    with suppress(NoTransaction):
        manager.abort()


def back_off(attempt: int) -> None:
    """Let the others finish, the longer the more often it was in vain (at most 0.1 s)."""
    if attempt > 1:
        time.sleep(random.uniform(0, min(0.1, 0.001 * 2**attempt)))


StudyDatabase = Database[Tables]
WorkflowDatabase = Database[Ledger]
