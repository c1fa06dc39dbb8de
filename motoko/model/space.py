"""Parameter spaces: a mapping of names to values, in which a list is a dimension."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from operator import itemgetter
from typing import Any

from motoko.config.values import dimension
from motoko.model.schema import UNSET, Schema

_PLAIN = frozenset({int, float, str, bool, type(None)})


def merge(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, over the defaults; names are lower case in the result.

    The order is that of the defaults, then what they lack. A mapping given for a name whose
    default is a mapping is merged into it, at every depth; only the names of parameters ignore
    case, not the keys inside. Neither argument is changed.
    """
    merged = {str(name).lower(): value for name, value in defaults.items()}
    for name, value in given.items():
        key = str(name).lower()
        merged[key] = _over(merged.get(key), value)
    return merged


def _over(default: Any, given: Any) -> Any:
    if not (isinstance(default, Mapping) and isinstance(given, Mapping)):
        return given
    inside = {key: _over(default.get(key), value) for key, value in given.items()}
    return {**default, **inside}


def expand(space: Mapping[str, Any], schema: Schema) -> Iterator[dict[str, Any]]:
    """The points of a space, one by one, as ``Schema.convert_job`` has them.

    A list (or tuple, range, array) is a dimension, anything else a constant; keys vary in their
    order, the last one fastest. For a parameter of type list only a list of lists is a
    dimension. An empty dimension leaves no point. Points share the lists and mappings in them.
    Raises SchemaError at once, before the first point, for what is not declared so.
    """
    axes = _axes(space, schema)
    order = list(axes)
    places = [order.index(name) for name in schema.job if name in axes]
    names = [order[place] for place in places]
    points: Iterator[tuple[Any, ...]] = product(*axes.values())
    if len(places) > 1 and places != sorted(places):
        points = map(itemgetter(*places), points)
    if any(value is UNSET for axis in axes.values() for value in axis):
        return (
            {
                name: value
                for name, value in zip(names, point, strict=True)
                if value is not UNSET
            }
            for point in points
        )
    return (dict(zip(names, point, strict=True)) for point in points)


def plain(space: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The same space in values that a database keeps: whatever is given as a dimension is a
    list, and what it does not keep is converted. Raises SchemaError as `expand` does."""

    def converted(name: str, value: Any) -> Any:
        return None if value is None else schema.convert_job({name: value})[name]

    found: dict[str, Any] = {}
    for given, value in space.items():
        if _is_plain(value):
            found[given] = value
            continue
        name = str(given).lower()
        schema.convert_job({name: None})
        points = dimension(schema.job[name].type, value)
        if points is None:
            found[name] = converted(name, value)
        else:
            found[name] = [converted(name, point) for point in points]
    return found


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return kind in _PLAIN or (kind is list and _PLAIN.issuperset(map(type, value)))


def size(space: Mapping[str, Any], schema: Schema) -> int:
    """How many points a space has, without going through them."""
    lengths = []
    for name, value in space.items():
        points = dimension(schema.job_type(str(name)) or "", value)
        lengths.append(1 if points is None else len(points))
    return prod(lengths)


def _axes(space: Mapping[str, Any], schema: Schema) -> dict[str, list[Any]]:
    """The converted values along every dimension, in the order in which these vary."""
    axes: dict[str, list[Any]] = {}
    schema.convert_job(dict.fromkeys(space))  # unknown names, and names given twice
    for given, value in space.items():
        name = str(given).lower()
        points = dimension(schema.job[name].type, value)
        axes[name] = [
            schema.convert_job({name: point}).get(name, UNSET)
            for point in ([value] if points is None else points)
        ]
    for name, declared in schema.job.items():
        if declared.default is not UNSET:
            axes.setdefault(name, [declared.default])
    return axes
