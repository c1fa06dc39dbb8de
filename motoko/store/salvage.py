"""What can still be read of a database file, however damaged, as plain content of its trees.

The file is read object by object, without trusting how these hang together: of an object that
is damaged, the revision before it counts; of two buckets that both have a key, the later one;
buckets of runs are found also when nothing leads to them any more. `rebuild` makes a sound
database of it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persistent.TimeStamp import TimeStamp
from zodbpickle.pickle import Unpickler

from motoko.errors import ForeignDatabase
from motoko.store import layout
from motoko.store.codec import decode
from motoko.store.record_file import RecordFile

_ROOT_OID = b"\0" * 8
_RUNS_CLASS = b"BTrees.LOBTree"
#: The name of its class stands within so many bytes at the beginning of an object.
_CLASS_BYTES = 80
_PERSISTENT_MODULES = ("BTrees.", "persistent.")
#: Whatever a damaged pickle may raise when it is read.
_Unreadable = Exception


@dataclass
class Salvage:
    """The content of the trees of a database by their names; of a set, keys without values."""

    trees: dict[str, dict[Any, Any]]
    #: Bytes of the file that belong to no readable transaction.
    n_bytes_lost: int = 0
    #: When the last readable transaction was made, in seconds since the epoch.
    last: float = 0.0
    #: Objects that should be there and are not, or only as they were before.
    n_objects_lost: int = 0
    #: Entries whose bytes mean nothing, by tree.
    unreadable: dict[str, int] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be lost."""
        return not (self.n_bytes_lost or self.n_objects_lost or self.unreadable)

    def fact(self, name: str) -> Any:
        """A stored fact about the database, None if it is lost."""
        raw = self.trees["meta"].get(name)
        return None if raw is None else decode(raw)


def salvage(file: Path, kind: str) -> Salvage | None:
    """Read a database file of this kind; None when nothing of it can be recognised.

    The file is only read. ForeignDatabase for a database of another kind or of a newer format.
    """
    with RecordFile(file) as records:
        return _Reader(records, str(file), kind).read()


class _Reference(bytes):
    """The id of an object that another one refers to."""


class _Class(tuple[str, str]):
    """Module and name of a class, instead of the class."""


class _Reading(Unpickler):  # type: ignore[misc]
    """Reads pickles of BTrees and built-in values and makes nothing else of them."""

    def persistent_load(self, reference: Any) -> Any:
        oid = reference[0] if isinstance(reference, tuple) else reference
        if not isinstance(oid, bytes) or len(oid) != 8:
            raise ValueError("no reference to an object")
        return _Reference(oid)

    def find_class(self, module: str, name: str) -> Any:
        if not module.startswith(_PERSISTENT_MODULES):
            raise ValueError(f"{module}.{name} does not belong into a database of Motoko")
        return _Class((module, name))


class _Node:
    """One object as it was stored, and when: keys with their values, and its parts."""

    def __init__(self, data: bytes, serial: bytes) -> None:
        reading = _Reading(io.BytesIO(data))
        described = reading.load()
        while not isinstance(described, _Class):
            described = described[0]
        module, self._class = described
        state = reading.load()
        self.serial = serial
        self.items: list[tuple[Any, Any]] = []
        self.parts: list[_Reference] = []
        if module == "persistent.mapping":
            self.items = list(state["data"].items())
        elif not self._class.endswith(("BTree", "TreeSet")):
            self._take_bucket(state)
        elif state is not None and len(state) == 1:  # its only bucket is inside
            self._take_bucket(state[0][0])
        elif state is not None:
            self._take_parts([*state[0][::2], state[1]])

    def _take_bucket(self, state: Any) -> None:
        flat = state[0]
        if self._class.endswith("Set"):
            self.items = [(key, None) for key in flat]
        else:
            self.items = list(zip(flat[::2], flat[1::2], strict=True))
        self._take_parts(state[1:])

    def _take_parts(self, parts: Any) -> None:
        self.parts = [part for part in parts if isinstance(part, _Reference)]


class _Reader:
    """Reads the objects of one file."""

    def __init__(self, records: RecordFile, where: str, kind: str) -> None:
        self._records = records
        self._where = where
        self._kind = kind
        self._n_lost = 0

    def read(self) -> Salvage | None:
        """All content; None without anything of ours."""
        names = layout.content_trees(self._kind)
        found: dict[str, dict[Any, Any]] = {name: {} for name in names}
        roots = self._roots()
        self._check_kind(roots)
        for name in names:
            if isinstance(roots.get(name), _Reference):
                found[name] = self._content([roots[name]])
            elif roots:
                self._n_lost += 1
        if self._kind == layout.STUDY:
            found["runs"] = self._content(self._run_nodes())
        if not any(found.values()):
            return None
        unreadable = {}
        for name, content in found.items():
            bad = [k for k, v in content.items() if not _is_sound(name, k, v)]
            for key in bad:
                del content[key]
            if bad:
                unreadable[name] = len(bad)
        return Salvage(
            found,
            n_bytes_lost=self._records.n_bytes_lost,
            last=TimeStamp(self._records.last_tid).timeTime(),
            n_objects_lost=self._n_lost,
            unreadable=unreadable,
        )

    def _roots(self) -> dict[str, Any]:
        """What the trees' own names lead to; nothing when the beginning is lost."""
        root = self._node(_ROOT_OID)
        if root is None:
            return {}
        references = [v for k, v in root.items if k == layout.ROOT]
        return self._content([r for r in references if isinstance(r, _Reference)])

    def _check_kind(self, roots: dict[str, Any]) -> None:
        known, kind = roots.get("format"), roots.get("kind")
        if isinstance(known, int) and known > layout.FORMAT:
            why = f"has format {known}, this version of Motoko reads up to {layout.FORMAT}"
            raise ForeignDatabase(self._where, f"{why}; use the newer version")
        if isinstance(kind, str) and kind != self._kind:
            why = f"is the database of a {kind}, not of a {self._kind}"
            raise ForeignDatabase(self._where, why)

    def _run_nodes(self) -> list[_Reference]:
        """Every object that has runs, whether anything leads to it or not."""
        return [
            _Reference(oid)
            for oid, revisions in self._records.revisions.items()
            if any(
                _RUNS_CLASS in self._records.data(r)[:_CLASS_BYTES]
                for r in (revisions[0], revisions[-1])
            )
        ]

    def _content(self, references: list[_Reference]) -> dict[Any, Any]:
        """All keys and values below some objects; of a key in two places, the later value."""
        found: dict[Any, tuple[bytes, Any]] = {}
        waiting, seen = list(references), set(references)
        while waiting:
            node = self._node(waiting.pop())
            if node is None:
                continue
            for key, value in node.items:
                if key not in found or found[key][0] < node.serial:
                    found[key] = node.serial, value
            new = [part for part in node.parts if part not in seen]
            seen.update(new)
            waiting += new
        return {key: value for key, (_, value) in found.items()}

    def _node(self, oid: bytes) -> _Node | None:
        """The latest revision of an object that makes sense; None if there is none."""
        revisions = self._records.revisions.get(oid, [])
        for revision in reversed(revisions):
            try:
                node = _Node(self._records.data(revision), revision.tid)
            except _Unreadable:
                continue
            self._n_lost += revision is not revisions[-1]
            return node
        self._n_lost += 1
        return None


def _is_sound(name: str, key: Any, value: Any) -> bool:
    """Whether an entry of a tree is what belongs there."""
    kinds = _KEYS.get(name, str)
    if not isinstance(key, kinds):
        return False
    if name in ("tasks", "last"):
        return isinstance(value, int)
    if name in ("entries", "fired"):
        return isinstance(value, str)
    if name in ("applied", "open") or (name == "commits" and key == ""):
        return True
    try:
        return decode(value) is not None or name in ("variables", "meta")
    except _Unreadable:
        return False


_KEYS: dict[str, type] = {
    "jobs": int,
    "runs": int,
    "attempts": int,
    "quantities": int,
    "tasks": bytes,
}
