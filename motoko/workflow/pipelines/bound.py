"""What functions bind: arguments, defaults, variables from around them, the object they are of.

Functions may leave what they find in lists, mappings and objects that they bind. That makes
them no others: who orchestrates the same again begins with all of it as it was at first.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

#: What is looked into for what it binds.
CALLABLE: Final = (FunctionType, BuiltinFunctionType, MethodType, partial)
#: So many values are remembered that pipelines at work do not have.
_MOST: Final = 1000


def function_of(value: Any) -> Any:
    """What a partial or a bound method calls in the end."""
    while isinstance(value, partial | MethodType):
        value = value.func if isinstance(value, partial) else value.__func__
    return value


def bound_by(value: Any) -> Iterator[tuple[str, Any]]:
    """What a function is given before anybody calls it, with its names for that."""
    if isinstance(value, partial):
        yield from ((f"argument {i + 1}", given) for i, given in enumerate(value.args))
        yield from sorted(value.keywords.items())
        yield from ((name, v) for name, v in bound_by(value.func) if name not in value.keywords)
    elif isinstance(value, MethodType):
        yield "self", value.__self__
        yield from bound_by(value.__func__)
    elif isinstance(value, FunctionType):
        if not _is_of_module(value):
            yield from _variables(value)
        yield from _defaults(inspect.unwrap(value))
    elif isinstance(value, BuiltinFunctionType):
        if value.__self__ is not None and not isinstance(value.__self__, ModuleType):
            yield "self", value.__self__
    elif not isinstance(value, type):  # an object that can be called
        yield "self", value


def _is_of_module(function: FunctionType) -> bool:
    """Whether its module has it under its name; what a decorator binds is the module's then."""
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _variables(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What it uses of the function that it stands in."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            yield name, cell.cell_contents
        except ValueError:  # it has no value yet
            continue


def _defaults(function: Any) -> Iterator[tuple[str, Any]]:
    given = getattr(function, "__defaults__", None) or ()
    code = getattr(function, "__code__", None)
    if given and code is not None:
        names = code.co_varnames[: code.co_argcount]
        yield from zip(names[-len(given) :], given, strict=True)
    yield from sorted((getattr(function, "__kwdefaults__", None) or {}).items())


@dataclass
class _Value:
    #: Kept, so that no other one has its id.
    value: Any
    #: Its content before any function was called.
    first: bytes
    #: Its content when no function was called any more.
    last: bytes
    n_at_work: int = 0


class Bindings:
    """Values that functions bind, in one process that orchestrates a run name."""

    def __init__(self) -> None:
        self._known: dict[int, _Value] = {}

    def meet(self, value: Any, content: Callable[[], bytes]) -> bytes:
        """Which content counts for a value that has this ``content`` now: that before functions
        were called, unless somebody else has changed it since."""
        known = self._known.get(id(value))
        if known is not None and known.n_at_work:
            return known.first
        now = content()
        if known is None or known.last != now:
            known = self._known[id(value)] = _Value(value, now, now)
            self._forget()
        return known.first

    def begin(self, values: Iterable[Any]) -> None:
        """Functions that bind these may be called from now on."""
        for value in values:
            if (known := self._known.get(id(value))) is not None:
                known.n_at_work += 1

    def end(self, values: Iterable[Any], contents: Mapping[int, bytes]) -> None:
        """They are called no more; the contents of the values are these now, by their ids."""
        for value in values:
            if (known := self._known.get(id(value))) is not None:
                known.n_at_work -= 1
                known.last = contents.get(id(value), b"")

    def _forget(self) -> None:
        idle = [key for key, known in self._known.items() if known.n_at_work == 0]
        for key in idle[: len(self._known) - _MOST] if len(self._known) > _MOST else ():
            del self._known[key]
