"""What a payload is, told by its content: the same in each process, wherever it lies.

Plain values, arrays and whatever can be pickled count by their content, in which the order of
sets and mappings has no part; classes and modules count by their names, functions by theirs and
by what they bind. Paths below the workflow's directory are those of its place, so that it can
be moved.
"""

from __future__ import annotations

import copyreg
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from hashlib import blake2b
from pathlib import Path, PurePath
from types import CodeType, ModuleType
from typing import Any, Final

from motoko.store.codec import encode
from motoko.study.records import Record
from motoko.task_manager import RunList
from motoko.workflow.pipelines.bound import CALLABLE, bound_by, function_of

_NAMED: Final = (type, ModuleType)
#: What nobody can change, and what is looked into by itself.
_FIXED: Final = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    tuple,
    frozenset,
    PurePath,
    Enum,
    *_NAMED,
    *CALLABLE,
)
#: What threads and tasks are, and wait for each other with (locks, events), has no content
#: that a function is given.
_WAITING: Final = frozenset(
    {"threading", "_thread", "asyncio", "_asyncio", "anyio", "concurrent"}
)
#: Where numpy has its arrays and numbers.
_ARRAYS: Final = frozenset({"numpy", "numpy.rec"})
#: Its codes for numbers longer than those of Python, and for times, which have units.
_LONG: Final = "gG"
_TIMES: Final = "mM"
#: How the module of an orchestrator is named, which has to do with its place.
_OF_PLACE: Final = re.compile(r"^_motoko_[0-9a-f]+_")
_SIZE: Final = 10


class WithoutContent(TypeError):
    """A value of which nobody can tell in another process whether it is the same."""


class Content:
    """Tells values of one workflow by their content."""

    def __init__(
        self,
        directory: Path,
        handles: Iterable[tuple[object, str]] = (),
        meet: Callable[[Any, Callable[[], bytes]], bytes] = lambda value, content: content(),
    ) -> None:
        """``directory`` is the workflow's; ``handles`` are objects that count by these names.

        ``meet`` is told of each value that a function binds and that may change, with what
        tells its content now, and says which content counts for it.
        """
        self._directory = str(directory)
        self._handles = {id(handle): (handle, name) for handle, name in handles}
        self._meet = meet

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
        if isinstance(value, CALLABLE):
            binds_any = next(bound_by(value), None) is not None
            return self.title(value) + (f" {self.digest(value)[:8]}" if binds_any else "")
        try:
            encode(value)
        except (TypeError, ValueError, RecursionError):
            return f"{type(value).__name__} {self.digest(value)[:8]}"
        return value

    def of_function(self, function: Any) -> str:
        """Text that stands for what can be called: its name, and what it binds."""
        try:
            return _hashed(*self._function(function, {})).hex()
        except RecursionError:
            raise WithoutContent("what it binds is nested too deep") from None

    def title(self, function: Any) -> str:
        """The name of what can be called; with what stands for its code, if that is no name."""
        name, code = name_of(function), _code(function)
        return name if code is None else f"{name} {self._of(code, {}).hex()[:8]}"

    def bindings(self, function: Any) -> dict[str, Any]:
        """What a function binds, by its names for it, to be stored and read by people. What may
        change is told by the content that counts for it."""
        found = {}
        for name, value in bound_by(function):
            if isinstance(value, _FIXED):
                found[name] = self.shown(value)
            else:
                found[name] = f"{type(value).__name__} {self._bound(value, {}).hex()[:8]}"
        return found

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
        if id(value) in self._handles:
            return "handle", [self._handles[id(value)][1].encode()]
        if value is None or isinstance(value, bool):
            return "constant", [repr(value).encode()]
        if isinstance(value, Enum):
            name = value.name or repr(value.value)  # flags of which none is set have no name
            return "member", [name_of(type(value)).encode(), name.encode()]
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
            return "name", [name_of(value).encode()]
        if isinstance(value, CALLABLE):
            return self._function(value, above)
        if isinstance(value, Record):
            return "record", [str(value).encode()]
        if isinstance(value, RunList):
            return "runs", [self._of(run, above) for run, _ in value]
        if isinstance(value, CodeType):
            names = [*value.co_names, *value.co_varnames, *value.co_freevars]
            of_all = [value.co_code, names, list(value.co_consts)]
            return "code", [self._of(one, above) for one in of_all]
        if type(value).__module__ in _ARRAYS and hasattr(value, "tobytes"):
            return self._array(value, above)
        return self._object(value, above)

    def _items(
        self, items: Iterable[tuple[Any, Any]], above: dict[int, int]
    ) -> Iterator[bytes]:
        keyed = sorted(((self._of(k, above), v) for k, v in items), key=lambda one: one[0])
        for key, item in keyed:
            yield key
            yield self._of(item, above)

    def _function(self, value: Any, above: dict[int, int]) -> tuple[str, Iterable[bytes]]:
        """Its name, and what it binds; one without a name counts by its code."""
        parts, code = [name_of(value).encode()], _code(value)
        if code is not None:
            parts.append(self._of(code, above))
        for name, bound in bound_by(value):
            try:
                parts += [name.encode(), self._bound(bound, above)]
            except WithoutContent as error:
                raise WithoutContent(f"{name}, {error}") from None
        return "name", parts

    def _bound(self, value: Any, above: dict[int, int]) -> bytes:
        if type(value).__module__.partition(".")[0] in _WAITING:
            return _hashed("name", [name_of(type(value)).encode()])
        is_fixed = isinstance(value, _FIXED) or id(value) in self._handles
        content = partial(self._of, value, above)
        return content() if is_fixed else self._meet(value, content)

    def _array(self, value: Any, above: dict[int, int]) -> tuple[str, Iterable[bytes]]:
        dtype, shape = value.dtype, repr(value.shape).encode()
        if dtype.names is not None:  # which its bytes do not say, but what lies between fields
            fields = [self._of(value[name], above) for name in dtype.names]
            return "table", [shape, self._of(dtype.names, above), *fields]
        if dtype.char in _LONG:  # of which some bytes belong to no number
            texts = [repr(number).encode() for number in value.ravel()]
            return "array", [dtype.str.encode(), shape, *texts]
        if not value.shape and dtype.kind not in _TIMES:
            return self._parts(value.item(), above)
        content = self._of(value.tolist(), above) if dtype.hasobject else value.tobytes()
        return "array", [dtype.str.encode(), shape, content]

    def _object(self, value: Any, above: dict[int, int]) -> tuple[str, Iterable[bytes]]:
        """What it would be pickled as."""
        reducer = copyreg.dispatch_table.get(type(value))
        try:
            reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
        except Exception as error:  # whatever its class has to say
            raise WithoutContent(f"{name_of(type(value))}: {error}") from None
        if isinstance(reduced, str):
            return "name", [name_of(type(value)).encode(), reduced.encode()]
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


def name_of(value: Any) -> str:
    """A function, class or module by its name, in which its place has no part; another object
    by that of its class."""
    value = function_of(value)
    if not isinstance(value, _NAMED) and not hasattr(value, "__qualname__"):
        value = type(value)
    module = _OF_PLACE.sub("", getattr(value, "__module__", None) or "")
    if module == "__main__":  # as whoever loads that file calls it
        module = Path(getattr(sys.modules[module], "__file__", None) or module).stem
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    return f"{module}.{name}"


def _code(function: Any) -> CodeType | None:
    """The code of a function that has no name of its own."""
    function = function_of(function)
    is_nameless = getattr(function, "__name__", "") == "<lambda>"
    return getattr(function, "__code__", None) if is_nameless else None
