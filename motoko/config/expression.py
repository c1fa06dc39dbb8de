"""Values along a dimension, written as an expression: ``range(1, 10)``, ``linspace(0, 1, 5)``,
``[2 * x for x in range(4) if x != 1]``.

Numbers, texts, lists, arithmetic, comprehensions and a few functions; nothing is ever run as
code: what the text means is worked out here, with a limit on how much.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: Steps of working it out, and elements of a list.
_MOST = 1_000_000
#: Numbers beyond what a database or a float takes are slips.
_LARGEST = 10**300
_LARGEST_POWER = 1024
_DEEPEST = 100

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


class NoExpression(ValueError):
    """What is wrong with a text."""


def evaluate(text: str) -> Any:
    """What an expression means; NoExpression with the reason if it is none."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise NoExpression("is no expression") from error
    try:
        return _Evaluation().value(tree.body, {}, 0)
    except NoExpression:
        raise
    except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
        raise NoExpression(f"cannot be worked out: {error}") from error


class _Evaluation:
    def __init__(self) -> None:
        self._n_steps = 0

    def value(self, node: ast.expr, names: Mapping[str, Any], depth: int) -> Any:
        """The value of a part, the names of comprehensions around it given."""
        self._step()
        if depth > _DEEPEST:
            raise NoExpression("is nested too deeply")

        def of(part: ast.expr) -> Any:
            return self.value(part, names, depth + 1)

        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return _checked(value)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [of(part) for part in parts]
            case ast.Name(id=name):
                if name in names:
                    return names[name]
                raise NoExpression(f"has the name {name!r}, which means nothing here")
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return _UNARY[type(op)](of(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._binary(op, of(left), of(right))
            case ast.Compare(left=left, ops=ops, comparators=parts):
                return self._compare(of(left), ops, [of(part) for part in parts])
            case ast.BoolOp(op=op, values=parts):
                found = [bool(of(part)) for part in parts]
                return all(found) if isinstance(op, ast.And) else any(found)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return of(body) if of(test) else of(orelse)
            case ast.ListComp() | ast.GeneratorExp():
                return list(self._comprehension(node, node.generators, names, depth))
            case ast.Call(func=func, args=parts, keywords=[]):
                return self._call(func, [of(part) for part in parts])
        raise NoExpression(f"has {ast.unparse(node)!r}, which is not allowed here")

    def _step(self, n: int = 1) -> None:
        self._n_steps += n
        if self._n_steps > _MOST:
            raise NoExpression(f"has more than {_MOST} values")

    def _binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        if isinstance(op, ast.Pow) and _is_number(right) and abs(right) > _LARGEST_POWER:
            raise NoExpression("has a power that is too large")
        if isinstance(op, ast.Mult) and not (_is_number(left) and _is_number(right)):
            n, many = (left, right) if _is_number(left) else (right, left)
            self._step(max(0, int(n)) * len(many))
        if isinstance(op, ast.Mod) and isinstance(left, str):
            raise NoExpression("formats a text")
        return _checked(_BINARY[type(op)](left, right))

    def _compare(self, left: Any, ops: list[ast.cmpop], parts: list[Any]) -> bool:
        for op, right in zip(ops, parts, strict=True):
            if type(op) not in _COMPARE:
                raise NoExpression("compares in a way that is not allowed here")
            if not _COMPARE[type(op)](left, right):
                return False
            left = right
        return True

    def _comprehension(
        self,
        node: ast.ListComp | ast.GeneratorExp,
        parts: list[ast.comprehension],
        names: Mapping[str, Any],
        depth: int,
    ) -> Iterator[Any]:
        if not parts:
            yield self.value(node.elt, names, depth + 1)
            return
        first, *rest = parts
        many = self.value(first.iter, names, depth + 1)
        if not isinstance(many, list):
            raise NoExpression("goes through something that is no list")
        for one in many:
            inside = {**names, **_bound(first.target, one)}
            if all(self.value(test, inside, depth + 1) for test in first.ifs):
                yield from self._comprehension(node, rest, inside, depth + 1)

    def _call(self, func: ast.expr, given: list[Any]) -> Any:
        name = ""
        match func:
            case ast.Name(id=name) | ast.Attribute(ast.Name("np" | "numpy"), name):
                pass
        if name not in _FUNCTIONS:
            known = ", ".join(sorted(_FUNCTIONS))
            raise NoExpression(f"calls {ast.unparse(func)!r}; there are {known}")
        if name in _SIZES:
            self._step(_SIZES[name](given))
        return _FUNCTIONS[name](*given)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _checked(value: Any) -> Any:
    if isinstance(value, complex) or (isinstance(value, int) and abs(value) > _LARGEST):
        raise NoExpression("has a number that is too large, or none")
    return value


def _bound(target: ast.expr, value: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: value}
    if isinstance(target, ast.Tuple) and isinstance(value, list):
        pairs = zip(target.elts, value, strict=True)
        return {k: v for part, one in pairs for k, v in _bound(part, one).items()}
    raise NoExpression("takes values apart in a way that is not allowed here")


def _linspace(start: float, stop: float, n: int = 50) -> list[float]:
    import numpy

    return [float(x) for x in numpy.linspace(start, stop, n)]


def _logspace(start: float, stop: float, n: int = 50) -> list[float]:
    import numpy

    return [float(x) for x in numpy.logspace(start, stop, n)]


def _arange(*given: float) -> list[Any]:
    import numpy

    found: list[Any] = numpy.arange(*given).tolist()
    return found


def _n_of_space(given: list[Any]) -> int:
    return int(given[2]) if len(given) > 2 else 50


def _n_of_arange(given: list[Any]) -> int:
    start, stop = [0, *given] if len(given) == 1 else given[:2]
    step = given[2] if len(given) > 2 else 1
    return max(0, int((stop - start) / step) + 1)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "range": lambda *given: list(range(*given)),
    "linspace": _linspace,
    "logspace": _logspace,
    "arange": _arange,
    "list": list,
    "len": len,
    "sum": sum,
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "int": int,
    "float": float,
    "str": str,
}
_SIZES: Mapping[str, Callable[[list[Any]], int]] = {
    "range": lambda given: len(range(*given)),
    "linspace": _n_of_space,
    "logspace": _n_of_space,
    "arange": _n_of_arange,
}
