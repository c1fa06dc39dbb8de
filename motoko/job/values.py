"""Which values a run can be given, and what becomes of them on their way into the journal."""

from __future__ import annotations

import os

from motoko.errors import SchemaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

TYPES = {"float": float, "int": int, "str": str, "bool": bool, "list": list, "dict": dict}
_ALLOWED = "allowed are numbers, strings, booleans, None, and lists and mappings of these"


def plain(value: Any, study: str, name: str) -> Any:
    """The value as JSON knows it; arrays and their scalars become lists and numbers.

    Tuples become lists, paths strings. `SchemaError` for anything else.
    """
    try:
        return _plain(value)
    except TypeError as error:
        raise SchemaError(study, name, str(error), _ALLOWED) from None
    except RecursionError:
        raise SchemaError(study, name, "the value contains itself", _ALLOWED) from None


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if hasattr(value, "tolist"):
        converted = value.tolist()
        if type(converted) is type(value):
            raise TypeError(f"found a {type(value).__name__}")
        return _plain(converted)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"found the key {key!r} in a mapping, keys are strings")
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"found {value!r} of type {type(value).__name__}")


def conform(value: Any, declared: Optional[str], study: str, name: str) -> Any:
    """The plain value as the type that ``bd.yaml`` declares; `SchemaError` if it cannot be.

    A whole number is good for a float, a float without fraction for an int, None for all.
    """
    kind = TYPES.get(declared or "")
    if kind is None or value is None or type(value) is kind:
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and (kind is float or (kind is int and value == value // 1)):
        return kind(value)
    raise SchemaError(study, name, f"found {value!r}", f"declared as {declared}")
