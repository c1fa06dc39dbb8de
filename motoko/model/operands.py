"""The values in constraints, and the tests that compare entries with them."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from motoko.config.values import EXPECTED, JOB_CONVERTERS, Refused

Test = Callable[[Any], bool]
Compare = Callable[[Any, Any], Any]
Converters = Mapping[str, Callable[[Any], Any]]

COMPARE: Mapping[str, Compare] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}

_EQUALITY = ("=", "!=")
_ORDERED = frozenset({"float", "int", "str"})
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def is_ordered(kind: str | None) -> bool:
    """Whether values of this type can be smaller or larger; None is an undeclared one."""
    return kind is None or kind in _ORDERED


def is_equality(sign: str) -> bool:
    """Whether an operator makes sense for values of every type."""
    return sign in _EQUALITY


def are_comparable(one: str | None, other: str | None) -> bool:
    """Whether entries of two types can be compared with each other."""
    numbers = ("float", "int")
    return one is None or other is None or one == other or (one in numbers and other in numbers)


def typed(kind: str, text: str, converters: Converters = JOB_CONVERTERS) -> Any:
    """The value of a declared type that a text means; raises ``Refused``.

    Only by the converters of runs nan is a value: nothing can be compared with it.
    """
    if kind == "str":
        return text
    if kind == "bool":
        if text.lower() not in _FLAGS:
            raise Refused(EXPECTED["bool"])
        return _FLAGS[text.lower()]
    if kind in ("list", "dict"):
        try:
            return converters[kind](json.loads(text))
        except (ValueError, RecursionError):
            raise Refused(f"{EXPECTED[kind]}, written as JSON") from None
    number = _number(text)
    if number is None or (number != number and converters is JOB_CONVERTERS):
        raise Refused(EXPECTED[kind])
    return converters[kind](number)


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None


def typed_test(sign: str, value: Any) -> Test:
    """The test of an entry of declared type against a value of that type."""
    compare = COMPARE[sign]

    def test(entry: Any) -> bool:
        return are_related(compare, entry, value)

    return test


def are_related(compare: Compare, one: Any, other: Any) -> bool:
    """The outcome of a comparison, False where none is possible."""
    try:
        return bool(compare(one, other))
    except (TypeError, ValueError):
        return compare is operator.ne


def untyped_test(sign: str, text: str, is_quoted: bool) -> Test:
    """The test of an undeclared entry, where the entry's own value decides on the type.

    Text is compared with the text, a number with the number that it means, and so on. A value
    of another kind than the text can mean differs from it: it matches ``!=`` only. What is in
    quotes means text only.
    """
    compare = COMPARE[sign]
    number = None if is_quoted else _number(text)
    flag = None if is_quoted else {"true": True, "false": False}.get(text.lower())
    nested = None if is_quoted or text[:1] not in ("[", "{") else _json(text)
    differs = sign == "!="

    def test(entry: Any) -> bool:
        if isinstance(entry, str):
            return bool(compare(entry, text))
        meant: Any = nested
        if isinstance(entry, bool):
            meant = flag if sign in _EQUALITY else None
        elif isinstance(entry, (int, float)):
            meant = number
        elif isinstance(entry, tuple):
            entry = list(entry)
        return differs if meant is None else are_related(compare, entry, meant)

    return test


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def regex_test(sign: str, pattern: re.Pattern[str]) -> Test:
    """The test of a text against a regular expression found anywhere in it."""
    search = pattern.search
    if sign.startswith("!"):

        def test_not(entry: Any) -> bool:
            return not isinstance(entry, str) or search(entry) is None

        return test_not

    def test(entry: Any) -> bool:
        return isinstance(entry, str) and search(entry) is not None

    return test
