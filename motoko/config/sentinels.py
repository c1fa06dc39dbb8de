"""Files that say that the work of a run is finished, or has failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from motoko.config.fields import Text, texts
from motoko.config.sections import Read, Strict, means
from motoko.config.values import Refused
from motoko.phrases import listed, nearest

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_OF_UNITS: Final = ("component", "window")
_GROUPS: Final = "a list of groups, each a list of patterns"


def _groups(value: Any) -> tuple[tuple[str, ...], ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)) or not value:
        raise Refused(_GROUPS)
    return tuple(_group(group, i) for i, group in enumerate(value))


def _group(value: Any, i: int) -> tuple[str, ...]:
    try:
        group = texts(value)
    except Refused:
        group = ()
    if not group:
        raise Refused("a pattern, or a list of patterns that belong together", value, (i,))
    for pattern in group:
        parts = pattern.split("/")
        if pattern.startswith("/") or ".." in parts:
            raise Refused("a pattern below the directory", pattern, (i,))
        for name in _PLACEHOLDER.findall(pattern):
            if name not in _OF_UNITS:
                meant = nearest(name, _OF_UNITS)
                raise Refused(
                    f"no placeholders but {{component}} and {{window}}{meant}", pattern, (i,)
                )
    return group


def _windows(value: Any) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
    if isinstance(value, Mapping):
        return {str(name): _names(given, (name,)) for name, given in value.items()}
    return _names(value, what="names, or a mapping of components to names")


def _names(
    value: Any, at: tuple[Any, ...] = (), what: str = "a name, or a list of names"
) -> tuple[str, ...]:
    given = [value] if isinstance(value, (str, int)) else value
    if not isinstance(given, (list, tuple)):
        raise Refused(what, value, at)
    names = tuple(str(name) for name in given)
    for i, name in enumerate(names):
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise Refused("the name of a directory", given[i], (*at, i))
    return names


_LIST: Final[dict[str, Any]] = {"type": "array", "items": {"type": ["string", "integer"]}}
_PATTERNS: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}},
                ]
            },
        },
    ]
}
Groups = Annotated[tuple[tuple[str, ...], ...], Read(_groups, _PATTERNS)]
Names = Annotated[tuple[str, ...], Read(_names, _LIST)]
Windows = Annotated[
    tuple[str, ...] | dict[str, tuple[str, ...]],
    Read(_windows, {"anyOf": [_LIST, {"type": "object", "additionalProperties": _LIST}]}),
]


@dataclass(frozen=True, kw_only=True)
class SentinelsConfig(Strict):
    """Which files say that the work of a run is finished, or has failed."""

    directory: Text = field(
        default=".",
        metadata=means(
            "Where they are, relative to the run directory; `{name}` is a parameter of"
            " the job or an entry of the run."
        ),
    )
    components: Names = field(default=(), metadata=means("Names of components."))
    windows: Windows = field(
        default=(), metadata=means("Names of windows, for all components or by name.")
    )
    success: Groups = field(
        default=(),
        metadata=means(
            "Groups of patterns; a unit is finished when all of any group is there."
        ),
    )
    failure: Groups = field(default=(), metadata=means("The same for a unit that has failed."))


def read_sentinels(value: Any) -> Any:
    """What was written under ``sentinels``, before the model looks at its parts."""
    if isinstance(value, SentinelsConfig):
        return value
    if value is True:
        return {}
    known = SentinelsConfig.known_keys()
    if not isinstance(value, Mapping):
        raise Refused(f"a mapping of {listed(known)}, or true")
    for key in value:
        if key not in known:
            raise Refused(
                f"no more than {listed(known)}{nearest(str(key), known)}", key, (key,)
            )
    components, windows = value.get("components"), value.get("windows")
    for name, units in zip(_OF_UNITS, (components, windows), strict=True):
        _check_told_apart(name, units, value)
    if isinstance(windows, Mapping):
        named = _names(components or list(windows))
        for name in named:
            if name not in map(str, windows):
                raise Refused(f"windows of component {name!r} too", windows, ("windows",))
        return {**value, "components": list(named)}
    return value


def _check_told_apart(name: str, units: Any, value: Mapping[Any, Any]) -> None:
    """What is declared by units is not finished for all of them by the file of one."""
    place = f"{{{name}}}"
    if not units or not value.get("success") or place in str(value.get("directory", "")):
        return
    if not any(place in pattern for group in _groups(value["success"]) for pattern in group):
        raise Refused(
            f"{place} in a pattern, or in directory, since there are {name}s: else one file"
            " says that all of them are finished",
            value["success"],
            ("success",),
        )


Sentinels = Annotated[SentinelsConfig, Read(read_sentinels)]


def sentinels_of(value: Any) -> SentinelsConfig:
    """What Python gives in the place of ``sentinels``; Refused where that cannot be meant."""
    if isinstance(value, SentinelsConfig):
        return value
    from motoko.config.validation import validated_alone

    return validated_alone(SentinelsConfig, read_sentinels(value))
