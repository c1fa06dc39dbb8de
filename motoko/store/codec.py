"""Rows and values to bytes and back, and keys whose byte order is the order of the values.

Rows are JSON, so that no class is ever unpickled and any tool can read a database. What JSON
lacks (tuples, sets, bytes, complex numbers, times, arrays, mappings with other keys than
strings) is written as ``{"$": kind, "v": ...}``; a reader that meets no ``"$"`` skips that.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from json.scanner import make_scanner
from typing import Any, cast

from motoko.columns import STORED

_TAG = "$"
#: Types of values that are equal when they are the same.
_EXACT = frozenset({int, str, bool, type(None)})
#: Is in whatever `encode` had to write in other words than those of JSON.
TAG_BYTES = b'{"$":'

#: What has a fixed place in what is stored of a run, and of an attempt; all else follows in a
#: mapping. The order must not change.
OF_ATTEMPT = (
    "number",
    "nonce",
    "state",
    "host",
    "pid",
    "start_time",
    "end_time",
    "exit_code",
)
_RUN_SET = frozenset(STORED)
_ATTEMPT_SET = frozenset(OF_ATTEMPT)
#: Times that are stored as what has passed since another one: they are written several times,
#: and fewer digits do.
_SINCE_CREATED = tuple(
    STORED.index(name) for name in ("start_time", "end_time", "last_step_time")
)
_CREATED = STORED.index("create_time")
_SINCE_STARTED = (OF_ATTEMPT.index("end_time"),)
_STARTED = OF_ATTEMPT.index("start_time")

_dumps = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, check_circular=False
).encode
_scan = cast(Any, make_scanner)(json.JSONDecoder())


def encode(value: Any) -> bytes:
    """Any plain value as bytes; TypeError names the type that cannot be stored."""
    return _dumps(_tagged(value)).encode("utf-8", "surrogatepass")


def is_same(one: Any, other: Any) -> bool:
    """Whether two plain values are the same: 1 is 1.0, nan is nan, and arrays count by type,
    shape and content. None is asked: nan equals nothing, and arrays say it item by item."""
    kind = type(one)
    if kind is type(other) and kind in _EXACT:
        return bool(one == other)
    return bool(_dumps(_alike(_tagged(one))) == _dumps(_alike(_tagged(other))))


def _loads(text: str) -> Any:
    """What JSON of ours says: without spaces around it, for which `json.loads` looks."""
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("no JSON") from None
    if end != len(text):
        raise ValueError(f"JSON ends after {end} of {len(text)} characters")
    return value


def decode(raw: bytes) -> Any:
    """The value that `encode` was given."""
    value = _loads(raw.decode("utf-8", "surrogatepass"))
    return _untagged(value) if TAG_BYTES in raw else value


def encode_run(row: Mapping[str, Any]) -> bytes:
    """A run's entries as bytes; entries that are None take no room."""
    placed = _placed(row, STORED, _RUN_SET)
    _shorten(placed, _CREATED, _SINCE_CREATED)
    return _dumps(placed).encode("utf-8", "surrogatepass")


def decode_run(raw: bytes) -> dict[str, Any]:
    """The entries of a run; those that are unset are absent."""
    values = _loads(raw.decode("utf-8", "surrogatepass"))
    _lengthen(values, _CREATED, _SINCE_CREATED)
    return _named(values, STORED, is_tagged=TAG_BYTES in raw)


def encode_attempts(records: Sequence[Mapping[str, Any]]) -> bytes:
    """What is recorded of a run's attempts as bytes; what is None takes no room."""
    placed = [_placed(record, OF_ATTEMPT, _ATTEMPT_SET) for record in records]
    for values in placed:
        _shorten(values, _STARTED, _SINCE_STARTED)
    return _dumps(placed).encode("utf-8", "surrogatepass")


def decode_attempts(raw: bytes) -> list[dict[str, Any]]:
    """What is recorded of a run's attempts; what is unset is absent."""
    records = _loads(raw.decode("utf-8", "surrogatepass"))
    is_tagged = TAG_BYTES in raw
    for values in records:
        _lengthen(values, _STARTED, _SINCE_STARTED)
    return [_named(values, OF_ATTEMPT, is_tagged=is_tagged) for values in records]


def _placed(row: Mapping[str, Any], names: Sequence[str], known: frozenset[str]) -> list[Any]:
    """The values of these names in their places, and after them a mapping of all others."""
    placed = [row.get(name) for name in names]
    rest = {k: v for k, v in row.items() if k not in known and v is not None}
    if rest:
        placed.append(_tagged(rest))
    else:
        while placed[-1] is None:
            placed.pop()
    return placed


def _shorten(placed: list[Any], origin: int, later: Sequence[int]) -> None:
    """Write times as seconds since that at `origin`, all of them to the microsecond."""
    began = placed[origin] if len(placed) > origin else None
    if type(began) is not float:
        return
    placed[origin] = began = round(began, 6)
    for i in later:
        if i < len(placed) and type(placed[i]) is float:
            placed[i] = round(round(placed[i], 6) - began, 6) + 0.0  # not a negative zero


def _lengthen(placed: list[Any], origin: int, later: Sequence[int]) -> None:
    """Take back what `_shorten` did."""
    if len(placed) <= origin or type(placed[origin]) is not float:
        return
    began = placed[origin]
    for i in later:
        if i < len(placed) and type(placed[i]) is float:
            placed[i] = round(began + placed[i], 6)


def _named(values: list[Any], names: Sequence[str], *, is_tagged: bool) -> dict[str, Any]:
    row = {name: value for name, value in zip(names, values, strict=False) if value is not None}
    if len(values) > len(names):
        rest = values[len(names)]
        row.update(_untagged(rest) if is_tagged else rest)
    return row


def _tagged(value: Any) -> Any:
    kind = type(value)
    if kind in (str, int, float, bool) or value is None:
        return value
    if kind is list:
        return [_tagged(v) for v in value]
    if kind is dict:
        if all(type(k) is str for k in value) and _TAG not in value:
            return {k: _tagged(v) for k, v in value.items()}
        return {_TAG: "dict", "v": [[_tagged(k), _tagged(v)] for k, v in value.items()]}
    return _tagged_other(value)


def _tagged_other(value: Any) -> Any:
    if isinstance(value, tuple):
        return {_TAG: "tuple", "v": [_tagged(v) for v in value]}
    if isinstance(value, (set, frozenset)):
        return {_TAG: type(value).__name__, "v": sorted((_tagged(v) for v in value), key=repr)}
    if isinstance(value, (bytes, bytearray)):
        return {_TAG: "bytes", "v": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {_TAG: "complex", "v": [value.real, value.imag]}
    for name in ("datetime", "date", "time"):  # a datetime is a date too: it comes first
        if isinstance(value, getattr(datetime, name)):
            return {_TAG: name, "v": value.isoformat()}
    if type(value).__module__ == "numpy":
        return _tagged_numpy(value)
    if isinstance(value, (str, int, float, list, dict)):  # subclasses, enumerations
        plain: Any
        for plain in (str, int, float, list, dict):
            if isinstance(value, plain):
                return _tagged(plain(value))
    raise TypeError(
        f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot be stored"
        " (numbers, strings, lists, tuples, sets, dicts, bytes, times and arrays can)"
    )


def _tagged_numpy(value: Any) -> Any:
    if not getattr(value, "shape", None) and hasattr(value, "item"):
        return _tagged(value.item())
    if value.dtype.hasobject:
        raise TypeError("an array of Python objects cannot be stored")
    data = base64.b64encode(value.tobytes()).decode()
    return {_TAG: "ndarray", "v": [value.dtype.str, list(value.shape), data]}


def _untagged(value: Any) -> Any:
    if type(value) is list:
        return [_untagged(v) for v in value]
    if type(value) is not dict:
        return value
    if _TAG not in value:
        return {k: _untagged(v) for k, v in value.items()}
    kind, content = value[_TAG], value["v"]
    if kind == "ndarray":
        return _array(*content)
    if kind == "bytes":
        return base64.b64decode(content)
    if kind in ("datetime", "date", "time"):
        return getattr(datetime, kind).fromisoformat(content)
    content = _untagged(content)
    if kind == "complex":
        return complex(*content)
    return {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}[kind](content)


def _array(dtype: str, shape: list[int], data: str) -> Any:
    import numpy as np

    return np.frombuffer(base64.b64decode(data), dtype=dtype).reshape(shape).copy()


_pack_int: Callable[..., bytes] = struct.Struct(">BQ").pack
_pack_float: Callable[..., bytes] = struct.Struct(">Bd").pack
_SIGN = 1 << 63


def ordered(value: Any) -> bytes:
    """Bytes that compare as the values do, among values of one type; no key is a prefix of
    another. Lists and mappings compare by their JSON text, which serves equality only."""
    kind = type(value)
    if kind is float:
        return _ordered_float(value)
    if kind is bool:
        return b"\x03\x01" if value else b"\x03\x00"
    if kind is int:
        if -_SIGN <= value < _SIGN:
            return bytes(_pack_int(5, value + _SIGN))
        return _ordered_large(value)
    if kind is str:
        text: bytes = value.encode("utf-8", "surrogatepass")
        return b"\x0a" + text.replace(b"\0", b"\0\xff") + b"\0\x01"
    if value is None:
        return b"\x00"
    text = _dumps(_alike(_tagged(value))).encode("utf-8", "surrogatepass")
    return b"\x0c" + text.replace(b"\0", b"\0\xff") + b"\0\x01"


def _ordered_float(value: float) -> bytes:
    if value == 0.0:
        value = 0.0  # the negative zero is the same point
    if math.isnan(value):
        return b"\x09"
    bits = _pack_float(8, value)
    if value < 0:
        return b"\x08" + bytes(255 - b for b in bits[1:])
    return b"\x08" + bytes((bits[1] | 0x80,)) + bits[2:]


def _ordered_large(value: int) -> bytes:
    size = (value.bit_length() + 8) // 8
    if value > 0:
        return b"\x06" + struct.pack(">I", size) + value.to_bytes(size, "big")
    lowered = ((1 << (8 * size)) - 1 + value).to_bytes(size, "big")
    return b"\x04" + struct.pack(">I", (1 << 32) - 1 - size) + lowered


def _alike(tagged: Any) -> Any:
    """What is equal is written alike, however deep it stands: 1.0 as 1, and what has no order
    in one order."""
    kind = type(tagged)
    if kind is float and tagged.is_integer():
        return int(tagged)
    if kind is list:
        return [_alike(v) for v in tagged]
    if kind is not dict:
        return tagged
    alike = {name: _alike(tagged[name]) for name in sorted(tagged)}
    if alike.get(_TAG) == "dict":
        alike["v"].sort(key=lambda pair: ordered(pair[0]))
    elif alike.get(_TAG) in ("set", "frozenset"):
        alike = {_TAG: "set", "v": sorted(alike["v"], key=ordered)}
    return alike


def digest(value: Any) -> bytes:
    """Twelve bytes that stand for a plain value: equal values have equal digests, except that
    truth values are no numbers."""
    text: str = json.dumps(_alike(_tagged(value)), separators=(",", ":"))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
