"""What both files are defined with: plain classes, and marks that say how a key is read.

The marks are what pydantic asks when it builds what checks a file (`motoko.config.validation`);
whoever only uses what was read does without it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar


class Read:
    """In an annotation: what makes a value of what stands in the file, and is refused there;
    and what an editor is told of it, unless the type says so."""

    def __init__(
        self, read: Callable[[Any], Any], schema: Mapping[str, Any] | None = None
    ) -> None:
        self.read = read
        self.schema = schema

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return dict(handler(core) if self.schema is None else self.schema)


class Fit:
    """In an annotation: what makes the value fit those of the keys before it, or refuses it."""

    def __init__(self, fit: Callable[[Any, Mapping[str, Any]], Any]) -> None:
        self.fit = fit

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.with_info_after_validator_function(
            lambda value, info: self.fit(value, info.data), handler(source)
        )


class Section:
    """A mapping of known keys; unknown ones are kept. Its classes are frozen dataclasses."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "allow"}

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """The keys that mean something to Motoko, in the order of the reference."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        schema = handler(core)
        described = handler.resolve_ref_schema(schema)
        described["description"] = inspect.cleandoc(cls.__doc__ or "")
        described["additionalProperties"] = cls.__pydantic_config__["extra"] != "forbid"
        return dict(schema)


class Strict(Section):
    """A mapping that orchestrators do not read keys of their own from."""

    __pydantic_config__ = {"extra": "forbid"}


def means(description: str, **more: Any) -> dict[str, Any]:
    """What is told of a key: to editors, and in the reference."""
    return {"description": description, **more}
