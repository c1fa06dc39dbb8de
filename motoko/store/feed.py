"""Change feed: whoever waits is told which runs may have changed, the moment they did.

The server tells each client which objects a commit of another client wrote, in a thread of
the client; own commits are told by whoever made them. A listener gets, in whatever thread the
news comes, a `Change`: identifiers of objects to be looked up later, ids of runs where they
are known already, or "everything" after a gap in the connection.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from BTrees.LOBTree import LOBTree, LOBucket
from ZEO.ClientStorage import ClientStorage

from motoko.crashpoints import reached
from motoko.store import tls
from motoko.store.address import Address, keep_alive
from motoko.store.client import CONNECTING_S, BoundedClient, Haste

log = logging.getLogger(__name__)

#: What ZODB notes about the transaction that makes a database's root.
_CREATION = b"initial database creation"
#: What the note of a transaction begins with that is no session's.
SINGLE_WRITE = "write"
#: Pause between two attempts to reach a server that is away; ZEO adds up to 1 s by chance.
_RECONNECT_S = 0.05


@dataclass
class Change:
    """What may have changed since the last look."""

    objects: set[bytes] = field(default_factory=set)
    runs: set[int] = field(default_factory=set)
    is_everything: bool = False

    def __bool__(self) -> bool:
        return self.is_everything or bool(self.objects) or bool(self.runs)

    def add(self, other: Change) -> None:
        """Take over what another change says."""
        self.objects |= other.objects
        self.runs |= other.runs
        self.is_everything = self.is_everything or other.is_everything

    def changed_runs(self, connection: Any) -> set[int] | None:
        """Ids of the runs that may have changed, as the connection sees them now; None for
        all. A superset: runs that share a leaf with a changed one are among them."""
        if self.is_everything:
            return None
        found = set(self.runs)
        for oid in self.objects:
            try:
                thing = connection.get(oid)
            except KeyError:
                continue  # removed since
            if isinstance(thing, LOBucket) or (isinstance(thing, LOBTree) and _is_small(thing)):
                found.update(thing.keys())
        return found


def _is_small(tree: Any) -> bool:
    """A tree with a single leaf keeps that leaf inside itself."""
    leaf = tree._firstbucket
    return leaf is not None and leaf._p_oid is None


class Feed:
    """Hands on changes of one database to those who listen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Change], None]] = []
        #: Counts the changes: a snapshot opened after this was read shows all of them, and is
        #: current as long as it stays. What this process commits may be counted twice.
        self.version = 0

    def count(self) -> None:
        """Say that something has changed, before anybody is told what."""
        with self._lock:
            self.version += 1

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``listener`` at each change, in any thread; the result ends that."""
        with self._lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def tell(self, change: Change) -> None:
        """Hand a change on to all listeners."""
        with self._lock:
            self.version += 1
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(change)
            except Exception:  # the others, and the thread of the network, go on
                log.exception("a listener failed")


class FeedingStorage(ClientStorage):  # type: ignore[misc]
    """A ZEO client that tells a feed what the server tells it.

    With ``is_first`` its part of a commit over several databases is finished before theirs.
    """

    def __init__(self, address: Address, feed: Feed, haste: Haste, *, is_first: bool) -> None:
        """Begins to connect, and goes on with that until it is closed.

        DatabaseRefused when there is no certificate to show to a server that wants one.
        """
        self._feed = feed
        self._rank = 0 if is_first else 1
        context = tls.client_context(address)
        super().__init__(
            address.for_zeo,
            storage=address.storage,
            ssl=context,
            ssl_server_hostname=address.host if context is not None else None,
            wait=False,
            wait_timeout=CONNECTING_S,
            _client_factory=partial(BoundedClient, haste=haste, disconnect_poll=_RECONNECT_S),
        )

    def probe(self) -> None:
        """Find out, without waiting, whether the server answers."""
        self._server.probe()

    def sortKey(self) -> str:
        """Where this storage comes in the order in which a commit goes through its parts."""
        return f"{self._rank} {super().sortKey()}"

    def tpc_begin(self, transaction: Any, *arguments: Any, **options: Any) -> None:
        """Begin the storage's part of a commit."""
        super().tpc_begin(transaction, *arguments, **options)
        self._server.n_bytes = 0

    def store(self, oid: bytes, serial: bytes, data: bytes, *arguments: Any) -> Any:
        """Make an object part of the commit."""
        self._server.n_bytes += len(data)
        return super().store(oid, serial, data, *arguments)

    def tpc_finish(self, transaction: Any, given: Any = lambda tid: None) -> Any:
        """Make the storage's part of a commit final."""

        def counted(tid: bytes) -> None:
            given(tid)
            self._feed.count()  # while the next commit of this process still has to wait

        found = super().tpc_finish(transaction, counted)
        note = transaction.description
        if note == _CREATION:
            reached("database.begun")
        elif note and not note.startswith(SINGLE_WRITE.encode()):  # the mark of a session
            reached("commit.applied" if self._rank else "commit.decided")
        return found

    def invalidateTransaction(self, tid: bytes, oids: Iterable[bytes]) -> None:
        """Called by the server's connection for each commit of another client."""
        oids = list(oids)
        super().invalidateTransaction(tid, oids)
        # ZEO does this after the call: whoever is told would open a view that is older still.
        self._cache.setLastTid(tid)
        self._feed.tell(Change(objects=set(oids)))

    def invalidateCache(self) -> None:
        """Called after a gap too long to be replayed."""
        super().invalidateCache()
        self._feed.tell(Change(is_everything=True))

    def notify_connected(self, conn: Any, info: Any) -> None:
        """Called at each new connection to the server."""
        super().notify_connected(conn, info)
        keep_alive(conn.protocol.sm_protocol.transport.get_extra_info("socket"))
        self._oids: list[
            bytes
        ] = []  # a server that was started anew gives the same ids to others
        self._feed.tell(Change(is_everything=True))
