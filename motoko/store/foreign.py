"""Reading a database that BlackDynamite has written, without that package.

The file is mapped and read, never opened as a database: nothing is locked, indexed or written.
Its pickles build values, and stand-ins for the few classes that such a database has; any other
name in one is refused before anything of it is built.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import Unpickler
from typing import Any

from motoko.errors import ForeignDatabase
from motoko.store.record_file import RecordFile

_ROOT = bytes(8)
#: Deeper than any tree of values that a study has.
_DEEPEST = 200
_TREE = re.compile(r"BTrees\.[A-Z]{2}BTree")
_TREE_NAMES = re.compile(r"[A-Z]{2}(BTree|Bucket|TreeSet|Set)(Py)?")
_CLASSES = frozenset(
    {
        ("persistent.mapping", "PersistentMapping"),
        ("persistent.list", "PersistentList"),
        ("BTrees.Length", "Length"),
        ("BlackDynamite.lowercase_btree", "PersistentLowerCaseBTree"),
        ("BlackDynamite.job", "JobZEO"),
        ("BlackDynamite.run_zeo", "RunZEO"),
        ("BlackDynamite.conffile_zeo", "ConfFile"),
    }
)
_TYPES = ("str", "int", "float", "bool", "list", "dict", "tuple", "NoneType", "object")
#: numpy's codes of plain numbers and texts, and their sizes at most.
_DTYPE = re.compile(r"[biuf][1248]|f16|c8|c16|[SU][0-9]{1,6}")


@dataclass
class ForeignStudy:
    """What a database has of one study."""

    name: str
    job_types: dict[str, str]
    run_types: dict[str, str]
    jobs: dict[int, dict[str, Any]] = field(default_factory=dict)
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: Which of the files each run has, by their digests, and the names of its quantities.
    run_files: dict[int, list[str]] = field(default_factory=dict)
    quantities: dict[int, list[str]] = field(default_factory=dict)
    #: Name and content of configuration files by digest.
    files: dict[str, tuple[str, str]] = field(default_factory=dict)


def read_foreign(file: Path) -> dict[str, ForeignStudy]:
    """The studies in a database file of BlackDynamite, by name.

    ForeignDatabase for one that is something else, or that holds what no such database does.
    """
    with RecordFile(file) as records:
        if _ROOT not in records.revisions:
            raise ForeignDatabase(str(file), "is no database of BlackDynamite")
        reader = _Reader(records, file)
        try:
            return {name: _study(reader, name, top) for name, top in reader.studies().items()}
        except ForeignDatabase:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ForeignDatabase(str(file), _not_so(error)) from error
        except RecursionError as error:
            raise ForeignDatabase(str(file), _not_so("nested too deeply")) from error


def _not_so(why: object) -> str:
    return f"is not as BlackDynamite writes its databases: {why}"


def _study(reader: _Reader, name: str, top: Any) -> ForeignStudy:
    parts = reader.mapping(top)
    study = ForeignStudy(
        name,
        _types(reader, parts["job_desc"]),
        _types(reader, parts["run_desc"]),
    )
    for job_id, job in reader.mapping(parts["jobs"]).items():
        study.jobs[int(job_id)] = reader.entries(job)
    for run_id, run in reader.mapping(parts["runs"]).items():
        state = reader.state(run)
        study.runs[int(run_id)] = reader.entries(run)
        study.run_files[int(run_id)] = [str(key) for key in reader.keys(state["configfiles"])]
        study.quantities[int(run_id)] = [str(key) for key in reader.keys(state["quantities"])]
    for digest, kept in reader.mapping(parts["configfiles"]).items():
        content = reader.state(kept)
        study.files[str(digest)] = (str(content["filename"]), str(content["file"]))
    return study


def _types(reader: _Reader, described: Any) -> dict[str, str]:
    types = reader.mapping(reader.state(described)["types"])
    return {str(name): str(reader.plain(kind)) for name, kind in types.items()}


class _Reference(bytes):
    """The id of another object."""


class _Object:
    """An instance of a class that is not there: its class's name and its state."""

    __slots__ = ("state",)
    name = ""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _TypeName(str):
    """A built-in type that is a value: its name."""


class _Dtype:
    """numpy's description of a plain type; anything but numbers and texts is refused."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, align: object = False, copy: object = False) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise ValueError(f"an array of type {code!r}")
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">", "|", "="):
            self.order = "<" if state[1] in "|=" else state[1]

    def values(self, raw: bytes) -> Any:
        """The numbers, or texts, in these bytes."""
        import numpy

        return numpy.frombuffer(raw, dtype=f"{self.order}{self.code}")


class _Array:
    """An array of numpy, as it is described before its content comes."""

    __slots__ = ("content",)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise ValueError("an array of objects")
        order = "F" if is_fortran else "C"
        self.content = dtype.values(raw).reshape(shape, order=order).tolist()


def _scalar(dtype: _Dtype, raw: bytes) -> Any:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        raise ValueError("a number that is none")
    return dtype.values(raw)[0].item()


def _array(kind: object, shape: object, code: object) -> _Array:
    return _Array()


def _moment(raw: Any, zone: None = None) -> datetime.datetime:
    if not isinstance(raw, bytes) or len(raw) != 10 or zone is not None:
        raise ValueError("a time that is none")
    return datetime.datetime(raw)  # type: ignore[arg-type,call-arg]  # as its pickle does


def _text(raw: str, encoding: str = "latin1") -> bytes:
    return raw.encode("latin1")


def _complex(real: float, imag: float) -> complex:
    return complex(float(real), float(imag))


def _range(start: int, stop: int, step: int) -> list[int]:
    found = range(start, stop, step)
    if len(found) > 1_000_000:
        raise ValueError("a range without end")
    return list(found)


class _Named:
    """A name in a pickle that may be called there, or be a value by itself."""

    __slots__ = ("_call", "name")

    def __init__(self, name: str, call: Any) -> None:
        self.name = name
        self._call = call

    def __call__(self, *given: Any) -> Any:
        return self._call(*given)


_CALLED: dict[tuple[str, str], _Named] = {
    ("datetime", "datetime"): _Named("datetime", _moment),
    ("_codecs", "encode"): _Named("bytes", _text),
    ("collections", "OrderedDict"): _Named("dict", dict),
    ("numpy", "dtype"): _Named("dtype", _Dtype),
    ("numpy", "ndarray"): _Named("ndarray", _array),
}
for _home in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _CALLED[_home, "scalar"] = _Named("scalar", _scalar)
    _CALLED[_home, "_reconstruct"] = _Named("array", _array)
for _builtins in ("builtins", "__builtin__"):
    _CALLED[_builtins, "set"] = _Named("set", sorted)
    _CALLED[_builtins, "frozenset"] = _Named("set", sorted)
    _CALLED[_builtins, "complex"] = _Named("complex", _complex)
    _CALLED[_builtins, "range"] = _Named("range", _range)
    _CALLED[_builtins, "xrange"] = _Named("range", _range)


class _Reading(Unpickler):
    """Builds values and stand-ins, and refuses every other name."""

    def persistent_load(self, reference: Any) -> Any:
        oid = reference[0] if isinstance(reference, tuple) else reference
        if not isinstance(oid, bytes) or len(oid) != 8:
            raise ValueError("a reference to no object")
        return _Reference(oid)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CALLED:
            return _CALLED[module, name]
        if module in ("builtins", "__builtin__") and name in _TYPES:
            return _TypeName(name)
        is_tree = _TREE.fullmatch(module) and _TREE_NAMES.fullmatch(name)
        if is_tree or (module, name) in _CLASSES:
            return _stand_in(name.removesuffix("Py"))
        raise ValueError(f"it names {module}.{name}, which belongs into no such database")


_stand_ins: dict[str, type[_Object]] = {}


def _stand_in(name: str) -> type[_Object]:
    if name not in _stand_ins:
        _stand_ins[name] = type(name, (_Object,), {"__slots__": (), "name": name})
    return _stand_ins[name]


class _Reader:
    """Reads the objects of one file, each as its last transaction left it."""

    def __init__(self, records: RecordFile, file: Path) -> None:
        self._records = records
        self._file = file
        self._known: dict[bytes, _Object] = {}

    def studies(self) -> dict[str, Any]:
        """The top of each study."""
        schemas = self.mapping(_Reference(_ROOT)).get("schemas")
        if schemas is None:
            raise ForeignDatabase(str(self._file), "is no database of BlackDynamite")
        return {str(name): top for name, top in self.mapping(schemas).items()}

    def state(self, found: Any) -> Mapping[str, Any]:
        """The attributes of an object."""
        state = self._resolved(found).state
        if not isinstance(state, Mapping):
            raise ValueError(f"no attributes but {type(state).__name__}")
        return state

    def entries(self, record: Any) -> dict[str, Any]:
        """The entries of a job or a run, as plain values; those that are None are left out."""
        found = self.mapping(self.state(record)["entries"])
        plain = {str(name).lower(): self.plain(value) for name, value in found.items()}
        return {name: value for name, value in plain.items() if value is not None}

    def mapping(self, found: Any) -> dict[Any, Any]:
        """Keys and values of a mapping of any of its kinds."""
        if isinstance(found, Mapping):
            return dict(found)
        place = self._resolved(found)
        if place.name == "PersistentMapping":
            return dict(self.state(place)["data"])
        if place.name == "PersistentLowerCaseBTree":
            return self.mapping(self.state(place)["entries"])
        return dict(self._items(place, 0))

    def keys(self, found: Any) -> list[Any]:
        """The elements of a set, or the keys of a mapping."""
        return list(self.mapping(found))

    def plain(self, value: Any, depth: int = 0) -> Any:
        """A value without anything that only pickles have."""
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if isinstance(value, _TypeName):
            return str(value)
        if isinstance(value, _Named):
            return value.name
        if isinstance(value, _Array):
            return value.content
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, (list, tuple)):
            return [self.plain(one, depth + 1) for one in value]
        if isinstance(value, Mapping):
            return {str(k): self.plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (_Reference, _Object)):
            place = self._resolved(value)
            if place.name == "PersistentList":
                return self.plain(self.state(place)["data"], depth + 1)
            return self.plain(self.mapping(place), depth + 1)
        return value

    def _resolved(self, found: Any) -> _Object:
        if isinstance(found, _Object):
            return found
        if not isinstance(found, _Reference):
            raise ValueError(f"{type(found).__name__} where an object should be")
        known = self._known.get(found)
        if known is None:
            known = self._known[found] = self._load(found)
        return known

    def _load(self, oid: bytes) -> _Object:
        revisions = self._records.revisions.get(oid)
        if not revisions:
            raise ValueError(f"object {int.from_bytes(oid, 'big')} is missing")
        reading = _Reading(io.BytesIO(self._records.data(revisions[-1])))
        try:
            described = reading.load()
            while isinstance(described, tuple):
                described = described[0]
            if not (isinstance(described, type) and issubclass(described, _Object)):
                raise ValueError("an object of no class")
            place = described()
            place.state = reading.load()
        except Exception as error:  # what a forged pickle can raise is anybody's guess
            why = f"object {int.from_bytes(oid, 'big')}: {error}"
            raise ForeignDatabase(str(self._file), _not_so(why)) from error
        return place

    def _items(self, place: _Object, depth: int) -> Iterator[tuple[Any, Any]]:
        """Keys and values of a tree and its buckets, each bucket once."""
        if depth > _DEEPEST:
            raise ValueError("a tree without end")
        state = place.state
        if place.name == "Length" or state is None:
            return
        if place.name.endswith(("BTree", "TreeSet")):
            if len(state) == 1:  # its only bucket is inside
                yield from _in_bucket(place.name, state[0][0])
                return
            for child in state[0][::2]:
                yield from self._items(self._resolved(child), depth + 1)
            return
        yield from _in_bucket(place.name, state)


def _in_bucket(name: str, state: Any) -> Iterator[tuple[Any, Any]]:
    flat = state[0]
    if name.endswith("Set"):
        yield from ((key, None) for key in flat)
    else:
        yield from zip(flat[::2], flat[1::2], strict=True)
