"""``runs plot --using``: what is drawn over what, worked out and never run as code."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import click

_PART = re.compile(r"%(\d+)\.([xy])")
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


#: Functions of numpy, written ``np.sqrt(...)``, ``numpy.sqrt(...)`` or ``sqrt(...)``.
_FUNCTIONS = frozenset(
    "abs sqrt square exp log log2 log10 sin cos tan arcsin arccos arctan sinh cosh tanh"
    " cumsum gradient min max mean sum std".split()
)
_CONSTANTS = frozenset({"pi", "e"})
_NUMPY = frozenset({"np", "numpy"})
_ALLOWED = (
    "it may have %0.x, %0.y, numbers, + - * / **, parentheses, np.pi and functions of numpy: "
    + ", ".join(sorted(_FUNCTIONS))
)


class Using:
    """``%0.x:%1.y/%0.y``: columns of the quantities that were named, by their place."""

    def __init__(self, text: str, n_quantities: int) -> None:
        """UsageError for what is none."""
        self._text = text
        x, colon, y = text.partition(":")
        if not colon:
            raise self._wrong("expected two expressions, as in %0.x:%0.y")
        self._x, self._y = self._parsed(x, n_quantities), self._parsed(y, n_quantities)

    def __call__(self, columns: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
        """What to draw, of steps and values of each quantity."""
        names = {
            f"_{i}_{axis}": values
            for i, (steps, column) in enumerate(columns)
            for axis, values in (("x", steps), ("y", column))
        }
        return self._value(self._x, names), self._value(self._y, names)

    def _parsed(self, text: str, n_quantities: int) -> ast.expr:
        for number, _ in _PART.findall(text):
            if int(number) >= n_quantities:
                raise self._wrong(f"%{number} of {n_quantities} quantities, from %0 on")
        try:
            found = ast.parse(_PART.sub(r"_\1_\2", text).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._wrong("it is no expression") from None
        self._check(found)
        return found

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.BinOp(left=left, right=right, op=op) if type(op) in _BINARY:
                self._check(left)
                self._check(right)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._check(operand)
            case ast.Constant(value=value) if type(value) in (int, float):
                pass
            case ast.Name(id=name) if re.fullmatch(r"_\d+_[xy]", name):
                pass
            case ast.Call(func=func, args=[argument], keywords=[]) if _function(func):
                self._check(argument)
            case ast.Attribute(value=ast.Name(id=of), attr=name) if of in _NUMPY and (
                name in _CONSTANTS
            ):
                pass
            case _:
                raise self._wrong(_ALLOWED)

    def _value(self, node: ast.expr, names: dict[str, Any]) -> Any:
        match node:
            case ast.BinOp(left=left, right=right, op=op):
                return _BINARY[type(op)](self._value(left, names), self._value(right, names))
            case ast.UnaryOp(op=op, operand=operand):
                value = self._value(operand, names)
                return -value if isinstance(op, ast.USub) else value
            case ast.Constant(value=value):
                return float(str(value))  # a power of whole numbers may fill the memory
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.Call(func=func, args=[argument]):
                import numpy

                with numpy.errstate(all="ignore"):
                    return getattr(numpy, _function(func))(self._value(argument, names))
            case ast.Attribute(attr=name):
                return {"pi": math.pi, "e": math.e}[name]
        raise self._wrong("it is no expression")

    def _wrong(self, why: str) -> click.UsageError:
        return click.UsageError(f"--using {self._text!r}: {why}")


def _function(node: ast.expr) -> str:
    """The function of numpy that is meant; nothing for what is none, or not allowed."""
    match node:
        case ast.Attribute(value=ast.Name(id=of), attr=name) if of in _NUMPY:
            pass
        case ast.Name(id=name):
            pass
        case _:
            return ""
    return name if name in _FUNCTIONS else ""
