"""How a job ended; and kinds of things, to which everybody may add their own."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class RunStatus(StrEnum):
    """How a job ended."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


class _Members(type):
    """What a kind is as a collection: its members, in the order in which they were named."""

    __members__: dict[str, Any]

    def __iter__(cls) -> Iterator[Any]:
        return iter(dict.fromkeys(cls.__members__.values()))

    def __len__(cls) -> int:
        return len(set(cls.__members__.values()))

    def __contains__(cls, value: object) -> bool:
        return value in cls.__members__.values()


class OpenKind(str, metaclass=_Members):
    """A string of a kind that has named members, and any other value too.

    A subclass has the members of its base and adds its own::

        class MyRobot(RobotKind):
            ATLAS = "atlas"

    ``MyRobot.ATLAS`` is a RobotKind, and equals ``RobotKind("atlas")``, which is what a program
    gets that reads the value and does not know the class.
    """

    __members__: ClassVar[dict[str, Any]] = {}
    __slots__ = ()

    def __init_subclass__(cls) -> None:
        inherited = cls.__members__
        own = {
            name: str.__new__(cls, value)
            for name, value in vars(cls).items()
            if isinstance(value, str) and not name.startswith("_")
        }
        cls.__members__ = {**inherited, **own}
        for name, member in own.items():
            setattr(cls, name, member)

    def __new__(cls, value: str) -> Self:
        """The member of this value if there is one, else a value without a name."""
        if not isinstance(value, str) or not value:
            raise ValueError(f"{value!r} is no {cls.__name__}: expected text")
        for member in cls.__members__.values():
            if member == value and isinstance(member, cls):
                return member
        return str.__new__(cls, value)

    @property
    def value(self) -> str:
        """The plain text."""
        return str.__str__(self)

    @property
    def name(self) -> str | None:
        """The name of the member; None for a value that has none."""
        names = (name for name, member in type(self).__members__.items() if member == self)
        return next(names, None)

    def __repr__(self) -> str:
        shown = f".{self.name}" if self.name else ""
        return f"<{type(self).__name__}{shown}: {self.value!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.value,)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def made(value: Any) -> OpenKind:
            return value if isinstance(value, cls) else cls(value)

        return core_schema.no_info_plain_validator_function(
            made,
            serialization=core_schema.plain_serializer_function_ser_schema(str.__str__),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "minLength": 1}


class MotionFormatKind(OpenKind):
    """The format of a motion file."""

    BVH = "bvh"
    FBX = "fbx"
    C3D = "c3d"
    CSV = "csv"
    NPZ = "npz"


class RobotKind(OpenKind):
    """A robot. The members are yours to name."""
