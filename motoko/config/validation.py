"""What checks files and builds their configuration, by pydantic, of the plain definitions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from motoko.config.document import Document
from motoko.config.models import FileConfig
from motoko.config.sections import Section
from motoko.config.values import Refused
from motoko.errors import Mistake

Kind = TypeVar("Kind", bound=Section)
Config = TypeVar("Config", bound=FileConfig)


_adapters: dict[type[Section], TypeAdapter[Any]] = {}


def adapter(kind: type[Section]) -> TypeAdapter[Any]:
    """What pydantic makes of a definition, once in a process."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def config_from(
    kind: type[Config],
    document: Document,
    file: Path,
    warnings: tuple[Mistake, ...],
    without: Collection[str] = (),
) -> Config:
    """What a file that was read says; pydantic's ValidationError says what is wrong.

    Keys that it shall do ``without`` have their defaults, or stand-ins.
    """
    present = kind.present(document.data)
    if without:
        present = {key: value for key, value in present.items() if key not in without}
        present = {**kind.stand_ins, **present}
    config: Config = adapter(kind).validate_python(kind.completed(present))
    return config.read_from(file, document.data, warnings, present)


def validated_alone(kind: type[Kind], given: Mapping[str, Any]) -> Kind:
    """A section that stands in no file; Refused, of the first that cannot be meant."""
    try:
        section: Kind = adapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        why = first.get("ctx", {}).get("error")
        if isinstance(why, Refused):
            at = (*first["loc"], *why.at)
            raise Refused(why.expected, why.value, at) from None
        raise Refused(first["msg"], first["input"], first["loc"]) from None
    return section
