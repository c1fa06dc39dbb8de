"""What the six declared types accept, and how a value of each is brought into one form.

``bd.yaml`` declares parameters as float, int, str, bool, list or dict. The same rules hold for
the values in the file, for those an orchestrator gives and for those a run gets later.
numpy is recognised by how its objects behave, and never imported.
"""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from enum import Enum
from numbers import Real
from operator import index
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from motoko.config.expression import NoExpression, evaluate

TypeName = Literal["float", "int", "str", "bool", "list", "dict"]
TYPES: Final[tuple[str, ...]] = get_args(TypeName)

EXPECTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "float": "a number",
        "int": "a whole number",
        "str": "text",
        "bool": "true or false",
        "list": "a list",
        "dict": "a mapping",
    }
)

Place = tuple[str | int, ...]


class Unset(Enum):
    """The type of ``UNSET``, which stands for the absence of a value where None is one."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset.UNSET


class Refused(ValueError):
    """A value that is not what was expected; ``at`` leads to it inside the value given."""

    def __init__(self, expected: str, value: Any = UNSET, at: Place = ()) -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.at = at


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


def shown(value: Any) -> str:
    """A value in a few words, as error messages quote it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = " ".join(_short.repr(value).split())
    if isinstance(value, str):
        return f"text {text}"
    if isinstance(value, (int, float)):
        return text
    if isinstance(value, Mapping):
        return f"a mapping {text}"
    if isinstance(value, (list, tuple, range)):
        return f"a list {text}"
    return f"{type(value).__name__} {text}"


def is_array(value: Any) -> bool:
    """Whether this is a numpy array, a pandas series or the like, of one dimension at least."""
    return hasattr(value, "tolist") and getattr(value, "ndim", 0) >= 1


def is_listlike(value: Any) -> bool:
    """Whether this counts as a list: lists, tuples, ranges and arrays."""
    return isinstance(value, (list, tuple, range)) or is_array(value)


def items_of(value: Any) -> list[Any]:
    """The items of something that counts as a list."""
    return value.tolist() if is_array(value) else list(value)


def dimension(kind: str, value: Any) -> list[Any] | None:
    """The values along one dimension of a parameter space, or None for a constant.

    For a parameter of type list only a list of nothing but lists is a dimension; any other
    list, the empty one too, is the one value.
    """
    if not is_listlike(value):
        return None
    items = items_of(value)
    if kind == "list" and not (items and all(is_listlike(item) for item in items)):
        return None
    return items


def worked_out(kind: str | None, value: Any) -> Any:
    """What a text in ``job_space`` means for a parameter that is no text: the values of an
    expression. `Refused` says why it is none."""
    if not isinstance(value, str) or kind in (None, "str", "dict") or _is_plain(kind, value):
        return value
    try:
        return evaluate(value)
    except NoExpression as error:
        expected = f"{EXPECTED[kind or '']}, or an expression: this one {error}"
        raise Refused(expected, value) from None


def _is_plain(kind: str | None, text: str) -> bool:
    """Whether a text is what the type takes as it is, as ``1e-3`` is in YAML."""
    try:
        JOB_CONVERTERS[kind or ""](text)
    except Refused:
        return False
    return True


#: Entries of runs that tell tasks apart although they are not declared.
IDENTIFYING = frozenset({"replica", "nproc", "machine_name"})


def _unboxed(value: Any) -> Any:
    """The Python value in a numpy scalar or an array without dimensions."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return value


def _float(value: Any) -> float:
    kind = type(value)
    if kind is float:
        if value == value:
            return value + 0.0  # type: ignore[no-any-return]  # one zero, not two
        raise Refused("a number (nan equals nothing, so its job could not be found again)")
    if kind is not int:
        value = _unboxed(value)
        if isinstance(value, bool) or not isinstance(value, Real):
            raise Refused(EXPECTED["float"])
        return _float(float(value))
    try:
        return float(value)
    except OverflowError:
        raise Refused("a number that a float can hold") from None


def _run_float(value: Any) -> float:
    number = _unboxed(value)
    if isinstance(number, float) and math.isnan(number):
        return math.nan
    return _float(number)


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    value = _unboxed(value)
    if isinstance(value, bool):
        raise Refused(EXPECTED["int"])
    if isinstance(value, float):
        if value.is_integer():
            return int(value)
        raise Refused(EXPECTED["int"])
    try:
        return index(value)
    except TypeError:
        raise Refused(EXPECTED["int"]) from None


def _str(value: Any) -> str:
    if type(value) is str:
        return value
    value = _unboxed(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return _str(os.fspath(value))
    raise Refused(EXPECTED["str"])


def _bool(value: Any) -> bool:
    value = _unboxed(value)
    if isinstance(value, bool):
        return value
    raise Refused(EXPECTED["bool"])


def _key(key: Any, at: Place) -> str | int:
    key = _unboxed(key)
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise Refused("text or a whole number as a key", key, at)
    return str(key) if isinstance(key, str) else key


def _inside(value: Any, at: Place) -> Any:
    """What lies in a list or mapping of a job: numbers, text, true, false, nothing, nested."""
    value = _unboxed(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        try:
            return _float(value)
        except Refused as refused:
            raise Refused(refused.expected, value, at) from None
    if isinstance(value, Mapping):
        keys = sorted(((_key(k, at), k) for k in value), key=lambda p: (str(type(p[0])), p[0]))
        return {key: _inside(value[given], (*at, key)) for key, given in keys}
    if is_listlike(value):
        return [_inside(item, (*at, i)) for i, item in enumerate(items_of(value))]
    raise Refused("numbers, text, true, false, lists and mappings of these", value, at)


def _list(value: Any) -> list[Any]:
    if not is_listlike(value):
        raise Refused(EXPECTED["list"])
    return _inside(value, ())  # type: ignore[no-any-return]


def _dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise Refused(EXPECTED["dict"])
    return _inside(value, ())  # type: ignore[no-any-return]


def _run_list(value: Any) -> list[Any]:
    if not is_listlike(value):
        raise Refused(EXPECTED["list"])
    return plain(items_of(value))  # type: ignore[no-any-return]


def _run_dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise Refused(EXPECTED["dict"])
    return plain(value)  # type: ignore[no-any-return]


#: Into the one form that equal points of a parameter space share (no nan, sorted keys).
JOB_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {"float": _float, "int": _int, "str": _str, "bool": _bool, "list": _list, "dict": _dict}
)
#: What a run records: as above, but nan is a value and the order of keys is kept.
RUN_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {**JOB_CONVERTERS, "float": _run_float, "list": _run_list, "dict": _run_dict}
)

_ATOMS = (bool, int, float, complex, str, bytes, datetime, date, time)


def plain(value: Any, at: Place = ()) -> Any:
    """A copy of a value that a run may keep without having declared it.

    Allowed are None, bool, int, float, complex, str, bytes, dates and times, numpy scalars
    (which become Python ones), arrays of anything but objects, and lists, tuples, sets and
    dicts of these; the keys of dicts are text or whole numbers. Raises ``Refused``.
    """
    value = _unboxed(value)
    kind = type(value)
    if value is None or kind in _ATOMS:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return _str(value)
    if isinstance(value, Mapping):
        return {_key(k, at): plain(v, (*at, str(k))) for k, v in value.items()}
    if kind in (list, range):
        return [plain(item, (*at, i)) for i, item in enumerate(value)]
    if isinstance(value, (tuple, set, frozenset)):
        made = _plain_items(value, at)
        return tuple(made) if isinstance(value, tuple) else kind(made)
    dtype = getattr(value, "dtype", None)
    if is_array(value) and kind.__module__ == "numpy" and not getattr(dtype, "hasobject", True):
        return value.copy()
    raise Refused(
        "numbers, text, dates, arrays, or lists, tuples, sets, dicts of them", value, at
    )


def _plain_items(value: Iterable[Any], at: Place) -> list[Any]:
    return [plain(item, (*at, i)) for i, item in enumerate(value)]
