"""What a payload is, told by its content: the same in each process, wherever it lies.

Plain values, arrays and whatever can be pickled count by their content, in which the order of
sets and mappings has no part; functions, classes and modules count by their names. Paths below
the workflow's directory are those of its place, so that it can be moved.
"""

from __future__ import annotations

import copyreg
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

from motoko.store.codec import encode

_NAMED: Final = (FunctionType, BuiltinFunctionType, type, ModuleType)
#: How the module of an orchestrator is named, which has to do with its place.
_OF_PLACE: Final = re.compile(r"^_motoko_[0-9a-f]+_")
_SIZE: Final = 10


class WithoutContent(TypeError):
    """A value of which nobody can tell in another process whether it is the same."""


class Content:
    """Tells values of one workflow by their content."""

    def __init__(self, directory: Path) -> None:
        """``directory`` is the workflow's."""
        self._directory = str(directory)

    def digest(self, value: Any) -> str:
        """Text that stands for a value; WithoutContent for one that cannot be told."""
        try:
            return self._of(value, {}).hex()
        except RecursionError:
            raise WithoutContent("it is nested too deep") from None

    def shown(self, value: Any) -> Any:
        """The same as what can be stored and be read by people, with digests for the rest."""
        if is_dataclass(value) and not isinstance(value, type):
            value = {f.name: getattr(value, f.name) for f in fields(value)}
        if isinstance(value, Mapping):
            return {str(name): self.shown(inner) for name, inner in value.items()}
        if isinstance(value, str | PurePath):
            return self._placed(os.fspath(value))
        try:
            encode(value)
        except (TypeError, ValueError, RecursionError):
            return f"{type(value).__name__} {self.digest(value)[:8]}"
        return value

    def _placed(self, path: str) -> str:
        """A text as it is in each place of the workflow."""
        inside = path == self._directory or path.startswith(f"{self._directory}{os.sep}")
        return f".{path[len(self._directory) :]}" if inside else path

    def _of(self, value: Any, above: dict[int, int]) -> bytes:
        """``above`` are the values that this one is part of, and where they stand."""
        if id(value) in above:
            return _hashed("part of", [str(above[id(value)]).encode()])
        above[id(value)] = len(above)
        try:
            return _hashed(*self._parts(value, above))
        finally:
            del above[id(value)]

    def _parts(self, value: Any, above: dict[int, int]) -> tuple[str, Iterable[bytes]]:
        if value is None or isinstance(value, bool):
            return "constant", [repr(value).encode()]
        if isinstance(value, Enum):
            return "member", [_name(type(value)).encode(), value.name.encode()]
        if isinstance(value, int | float):
            return "number", [_number(value)]
        if isinstance(value, str | PurePath):
            text = self._placed(os.fspath(value))
            kind = "text" if isinstance(value, str) else "path"
            return kind, [text.encode("utf-8", "surrogatepass")]
        if isinstance(value, bytes | bytearray):
            return "bytes", [bytes(value)]
        if isinstance(value, list | tuple):
            kind = "list" if isinstance(value, list) else "tuple"
            return kind, [self._of(item, above) for item in value]
        if isinstance(value, set | frozenset):
            return "set", sorted(self._of(item, above) for item in value)
        if isinstance(value, Mapping):
            return "mapping", self._items(value.items(), above)
        if isinstance(value, _NAMED):
            return "name", [_name(value).encode()]
        if type(value).__module__ == "numpy" and hasattr(value, "tobytes"):
            return self._array(value, above)
        return self._object(value, above)

    def _items(
        self, items: Iterable[tuple[Any, Any]], above: dict[int, int]
    ) -> Iterator[bytes]:
        keyed = sorted(((self._of(k, above), v) for k, v in items), key=lambda one: one[0])
        for key, item in keyed:
            yield key
            yield self._of(item, above)

    def _array(self, value: Any, above: dict[int, int]) -> tuple[str, Iterable[bytes]]:
        if not value.shape and hasattr(value, "item"):
            return self._parts(value.item(), above)
        content = self._of(value.tolist(), above) if value.dtype.hasobject else value.tobytes()
        return "array", [value.dtype.str.encode(), repr(value.shape).encode(), content]

    def _object(self, value: Any, above: dict[int, int]) -> tuple[str, Iterable[bytes]]:
        """What it would be pickled as."""
        reducer = copyreg.dispatch_table.get(type(value))
        try:
            reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
        except Exception as error:  # whatever its class has to say
            raise WithoutContent(f"{_name(type(value))}: {error}") from None
        if isinstance(reduced, str):
            return "name", [_name(type(value)).encode(), reduced.encode()]
        made, arguments, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        return "object", [
            self._of(made, above),
            self._of(arguments, above),
            self._of(state, above),
            *(self._of(item, above) for item in items or ()),
            *self._items(pairs or (), above),
        ]


def _hashed(kind: str, parts: Iterable[bytes]) -> bytes:
    found = blake2b(kind.encode(), digest_size=_SIZE)
    for part in parts:
        found.update(b"%d:" % len(part))
        found.update(part)
    return found.digest()


def _number(value: float) -> bytes:
    """Numbers that are equal are the same."""
    if isinstance(value, float):
        if math.isfinite(value) and value.is_integer():
            return b"%x" % int(value)
        return float.__repr__(value).encode()
    return b"%x" % int(value)


def _name(value: Any) -> str:
    module = _OF_PLACE.sub("", getattr(value, "__module__", None) or "")
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    return f"{module}.{name}"
