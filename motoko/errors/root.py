"""The root of all errors, and of the values that they hold."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Tuple


class MotokoError(Exception):
    """Root of all errors of Motoko."""

    transient = False

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)

    def __str__(self) -> str:  # that of a KeyError puts quotes around it
        return " ".join(map(str, self.args))

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type, args: Tuple[Any, ...], facts: Any) -> BaseException:
    error: BaseException = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class Facts:
    """A frozen value of named facts; a dataclass would double what a job script imports."""

    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({shown})"
