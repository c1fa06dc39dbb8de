"""Variables of a workflow: values that outlive the orchestrator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from motoko.errors import EntryNotFound, SchemaError
from motoko.store.address import Address, socket_address
from motoko.store.codec import decode, encode
from motoko.store.database import Database
from motoko.store.ledger import Ledger
from motoko.store.operations import RemoveVariable, SetVariable
from motoko.store.session import Session, current_session
from motoko.store.single_calls import SingleCalls

_OWN = frozenset({"db_fname", "db", "_single_calls", "_written"})


class WorkflowVars:
    """Attributes that are kept in the workflow's database, as part of the present session.

    They are the workflow's, not those of one run name: what was set under another one is there.
    Values are numbers, strings, bytes, lists, tuples, sets, dicts, times and numpy arrays.
    Reading gives a copy: after changing a list in place, assign it again. A name that was
    never set is an EntryNotFound, which is an AttributeError.
    """

    def __init__(self, db_fname: str, *, address: Address | None = None) -> None:
        """``db_fname`` is the path of the database file, ``.wf/wf.db`` in the workflow, and
        ``address`` where it is served, if not on a socket beside it."""
        file = Path(db_fname)
        self.db_fname = str(file)
        place = address or socket_address(file.parent)
        self.db: Database[Ledger] = Database(place, Ledger, "variables")
        self._single_calls = SingleCalls()
        self._written: set[str] = set()

    @property
    def conn(self) -> Session:
        """The session that reads and writes now."""
        return current_session() or self._single_calls

    @property
    def root(self) -> dict[str, Any]:
        """All variables by name."""
        found = self.conn.read(self.db, lambda ledger: ledger.variables())
        for name in found:
            self.conn.observe_variable(self.db, name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """A variable, or ``default`` if it was never set."""
        raw = self._raw(name)
        return default if raw is None else decode(raw)

    def _raw(self, name: str) -> bytes | None:
        self.conn.observe_variable(self.db, name)
        return self.conn.read(self.db, lambda ledger: ledger.raw_variable(name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raw = self._raw(name)
        if raw is None:
            raise EntryNotFound("workflow.vars", name, sorted(self.root))
        return decode(raw)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN and name not in vars(self):
            object.__setattr__(self, name, value)
            return
        if name in _OWN or hasattr(type(self), name):
            found = f"{name!r} is something that the variables themselves have"
            raise SchemaError("workflow.vars", name, found, "choose another name")
        try:
            encode(value)
        except TypeError as error:
            raise SchemaError("workflow.vars", name, str(error), "store its data") from error
        self.conn.do(self.db, SetVariable(name, value))
        self._written.add(name)

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise EntryNotFound("workflow.vars", name, sorted(self.root))
        self.conn.do(self.db, RemoveVariable(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, _MISSING) is not _MISSING

    def __iter__(self) -> Iterator[str]:
        return iter(self.root)

    def __repr__(self) -> str:
        return f"WorkflowVars({self.db_fname})"

    def close(self) -> None:
        """Give the connection back."""
        self._single_calls.close()
        self.db.close()


_MISSING = object()


def written(variables: WorkflowVars) -> frozenset[str]:
    """The names that were set through this object, as the last thing or not."""
    return frozenset(variables._written)


def storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, those that cannot be stored in words."""
    kept = {}
    for name, value in values.items():
        try:
            encode(value)
        except TypeError:
            value = repr(value)
        kept[name] = value
    return kept
