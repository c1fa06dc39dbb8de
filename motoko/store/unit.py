"""What one commit of a session makes visible: its shares in databases, and how it is done.

While it is committed, in a thread of its own, nobody reads its views: a commit that is repeated
builds them anew, and a connection bears one thread at a time. Who goes on meanwhile does so in
the unit `ahead` of it: the same snapshots, by connections of its own, with the same operations
applied. Once the first is committed, the second is put on what is newest by `caught_up`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import transaction
from ZODB.POSException import ConflictError

from motoko.crashpoints import reached
from motoko.errors import ConflictsExhausted, DatabaseUnavailable
from motoko.store.database import MOST_ATTEMPTS, Database, back_off, undo
from motoko.store.decision import Decision, Part, complete
from motoko.store.firing import Effects, Firing
from motoko.store.guard import Guard
from motoko.store.ledger import Ledger
from motoko.store.looking import Looking
from motoko.store.operations import CreateTasks, Operation, RemoveVariable, SetVariable
from motoko.store.share import Share
from motoko.store.turn import Turn


class _Basis(NamedTuple):
    """What who goes on from a share sees: all transactions before that id, and its own."""

    snapshot: bytes
    operations: Sequence[Operation]


class Unit:
    """The shares of a session in its databases, from one commit to the next."""

    def __init__(self, firing: Firing | None, after: Unit | None = None) -> None:
        """``after`` is the one that is committed meanwhile; see `ahead`."""
        self.turns: set[Turn] = set()
        #: Called once it is committed.
        self.calls: list[Callable[[], None]] = []
        #: Whether the firing comes to its end with it.
        self.is_last = False
        #: Whether a commit was tried of which nobody knows yet if it took place.
        self.is_in_doubt = False
        #: Whether any database is changed by it.
        self.has_changed = False
        #: A study where others came first with what was to be made.
        self.renumbered: str | None = None
        self._firing = firing
        self._after = after
        self._mark = secrets.token_hex(8)
        self._manager: Any = None
        self._shares: dict[int, Share] = {}
        #: All that it has opened, also those of which nothing could be read.
        self._connections: list[Any] = []
        #: By database, what stays of it as it was when it was sealed.
        self._bases: dict[int, _Basis] = {}
        self._must_repeat = False
        self._effects = Effects()
        #: When the firing came to its end, in its record.
        self._ended: float | None = None
        #: Part of the commit that tells whether it took place, when its answer is lost.
        self._decider: Share | None = None

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to commit."""
        return any(share.done for share in self._shares.values())

    @property
    def shares(self) -> list[Share]:
        """Its shares in the databases that it has entered."""
        return list(self._shares.values())

    def share(self, database: Database[Any]) -> Share:
        """The share in a database, which it enters now if it was not in there."""
        share = self._shares.get(id(database))
        if share is None:
            if self._manager is None:
                self._manager = transaction.TransactionManager(explicit=True)
                self._manager.begin()
            basis = self._after and self._after._bases.get(id(database))
            version = database.feed.version
            connection = database.open(self._manager, before=basis.snapshot if basis else None)
            self._connections.append(connection)
            share = Share(database, connection, version)
            if basis:
                _go_on(share.view, basis.operations)
            self._shares[id(database)] = share
        return share

    def known(self, database: Database[Any]) -> Share | None:
        """The share in a database, if it has entered that."""
        return self._shares.get(id(database))

    def seal(self, *, is_last: bool) -> None:
        """Nothing is added to it any more: it is committed next."""
        self.is_last = is_last
        for key, share in self._shares.items():
            operations = [operation for operation, _ in share.done]
            # No public name tells of which moment a connection's snapshot is: the newest
            # transaction that the database knows may be newer by now.
            self._bases[key] = _Basis(share.connection._normal_storage._start, operations)

    def ahead(self) -> Unit:
        """One for whoever goes on while this one, which is sealed, is committed."""
        return Unit(self._firing, after=self)

    @property
    def is_ahead(self) -> bool:
        """Whether it is to be put on what is newest before it can be committed."""
        return self._after is not None

    def caught_up(self) -> Unit:
        """The same after that one was committed; SessionConflict if it is not the same."""
        unit = Unit(self._firing)
        unit.turns, unit.calls = self.turns, self.calls
        try:
            for old in self._shares.values():
                if old.done or old.rests_on_something:
                    new = unit.share(old.database)
                    new.done = list(old.done)
                    new.observed, new.made = old.observed, old.made
                    new.variables, new.schema = old.variables, old.schema
                    with Looking(old.database):
                        new.repeat()
        except BaseException:
            unit.release()
            raise
        self.release()
        return unit

    def release(self) -> None:
        """Let go of the snapshots, and of what was not committed."""
        if self._manager is not None:
            undo(self._manager)
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._shares.clear()
        self._manager = self._decider = None

    # committing

    def must_be_kept(self) -> bool:
        """Whether there is anything to write."""
        return self.is_changed or self._has_record_to_keep()

    def commit(self) -> None:
        """As `Session.commit` says; its share in each database stays until `release`."""
        for attempt in range(MOST_ATTEMPTS):
            try:
                self._try_commit()
            except ConflictError:
                self._must_repeat = True
                back_off(attempt)
                continue
            except DatabaseUnavailable:
                self._must_repeat = self.is_in_doubt = True
                raise
            if self._firing is not None:
                reached("firing.ended" if self.is_last else "firing.kept")
            self.is_in_doubt = False
            return
        raise ConflictsExhausted("a session", MOST_ATTEMPTS)

    def _try_commit(self) -> None:
        ledger = self._ledger()
        somewhere = ledger or next(s.database for s in self._shares.values() if s.done)
        for share in self._shares.values():
            share.database.connect()
        with somewhere.translated():
            if self.is_in_doubt and self._has_happened():
                return
            if self._must_repeat:
                self._repeat()
            else:
                for share in self._shares.values():
                    share.check_news()
            changed = [share for share in self._shares.values() if share.is_changed]
            self.has_changed = self.has_changed or bool(changed)
            if ledger is not None and self._must_be_decided(changed):
                self._decide(ledger)
            elif changed:
                self._decider = changed[0]
                self._manager.get().note(self._mark)
                self._guard()
                self._manager.commit()

    def _decide(self, ledger: Database[Ledger]) -> None:
        """Commit what the workflow's database decides."""
        self._decider = decider = self.share(ledger)
        with ledger.deciding:
            shares = [s for s in self._shares.values() if s.is_changed and s is not decider]
            parts = [share.part() for share in shares]
            self._keep_record(decider, parts)
            decision = Decision(ledger, decider.view, self._mark, parts)
            decision.write_down()
            decision.mark_applied()
            self._manager.get().note(self._mark)
            self._guard()
            reached("commit.begun")
            self._manager.commit()
            reached("commit.through")
            decision.settle()
        self._adopt_effects()

    def _guard(self) -> None:
        """Let nothing that mattered change between the last look at it and the commit."""
        for share in self._shares.values():
            is_written = share.is_changed or share is self._decider
            if is_written and share.database.claim is not None:
                share.database.claim.check(share.view)
        guarded = [share for share in self._shares.values() if share.rests_on_something]
        for share in guarded:
            # Takes part, so that its storage is locked meanwhile. ZODB itself lets a connection
            # join that way, when an object is changed; `readCurrent` alone does not.
            share.connection._register()
        if guarded:
            self._manager.get().join(Guard(guarded))

    def _has_happened(self) -> bool:
        """Find out whether a commit whose answer was lost took place, and complete it then."""
        decider = self._decider
        if decider is None or not decider.database.has_committed(self._mark, decider.since):
            return False
        ledger = self._ledger()
        if ledger is decider.database:
            firing, effects = self._firing, self._effects
            if firing is not None:
                firing.is_kept = True
            shares = [share for share in self._shares.values() if share is not decider]
            complete(ledger, {s.database.where: s.database for s in shares}, self._mark)
            for share in shares:
                if share.is_renumbered():
                    self.renumbered = share.database.where
                    effects = effects.renumbered(share.database.where, _new_ids(share))
            if firing is not None and self.renumbered is not None:
                key, record = firing.key, firing.record(self._ended, effects)
                ledger.write(lambda view: view.set_firing(key, record))
            self._effects = effects
            self._adopt_effects()
        return True

    def _repeat(self) -> None:
        """Look at what is newest and apply the operations to that."""
        undo(self._manager)
        versions = [share.database.feed.version for share in self._shares.values()]
        self._manager.begin()
        for share, version in zip(self._shares.values(), versions, strict=True):
            share.renew(version)
        for share in self._shares.values():
            share.repeat()
        self._must_repeat = self.is_in_doubt = False

    def _ledger(self) -> Database[Ledger] | None:
        """The workflow's database, if this session is one of a workflow."""
        if self._firing is not None:
            return self._firing.ledger
        ledgers = (share.database.ledger for share in self._shares.values())
        return next((ledger for ledger in ledgers if ledger is not None), None)

    def _must_be_decided(self, changed: list[Share]) -> bool:
        has_record = self._firing is not None and bool(changed)
        return has_record or len(changed) > 1 or self._has_record_to_keep()

    def _has_record_to_keep(self) -> bool:
        firing = self._firing
        if not self.is_last or firing is None:
            return False
        return firing.is_kept or (firing.is_once and not firing.is_void)

    def _keep_record(self, decider: Share, parts: list[Part]) -> None:
        if self._firing is None:
            return
        of_variables = SetVariable | RemoveVariable
        names = {op.name for op, _ in decider.done if isinstance(op, of_variables)}
        created = {part.study: set(part.view.created) for part in parts}
        changed = {part.study: set(part.view.changed) for part in parts}
        self._effects = Effects(created, changed, names)
        self._ended = time.time() if self.is_last else None
        record = self._firing.record(self._ended, self._effects)
        decider.view.set_firing(self._firing.key, record)

    def _adopt_effects(self) -> None:
        if self._firing is not None:
            self._firing.add(self._effects)


def _go_on(view: Any, operations: Sequence[Operation]) -> None:
    """Make a view what it is once these operations are committed."""
    for operation in operations:
        operation.apply(view)
    view.forget_changes()


def _new_ids(share: Share) -> dict[int, int]:
    """The ids that tasks have now, by those that they were given."""
    made = [(op, given) for op, given in share.done if isinstance(op, CreateTasks)]
    with share.database.read() as newest:
        return {a: b for op, ids in made for a, b in zip(ids, op.apply(newest), strict=True)}
