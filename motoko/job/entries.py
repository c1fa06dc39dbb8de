"""Named values with the manners of an object and of a mapping."""

from __future__ import annotations

from motoko.errors import EntryNotFound, SchemaError
from motoko.job.values import TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, ItemsView, Iterator, KeysView, List


class Entries:
    """Values by name, read as ``it.x`` or ``it["x"]``, in upper or lower case.

    A declared entry that is not set is None.

    Where an entry and a method have the same name, the attribute is the method.
    """

    def __init__(
        self, study: str, title: str, entries: Dict[str, Any], declared: Dict[str, str]
    ) -> None:
        self._study = study
        self._title = title
        self._entries = {name.lower(): value for name, value in entries.items()}
        self._declared = {name.lower(): kind for name, kind in declared.items()}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        try:
            return self._entries[str(name).lower()]
        except KeyError:
            if str(name).lower() in self._declared:
                return None
            raise EntryNotFound(self._title, str(name), self._entries) from None

    def __contains__(self, name: object) -> bool:
        return str(name).lower() in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._entries.keys()

    def items(self) -> ItemsView[str, Any]:
        """Names with their values."""
        return self._entries.items()

    @property
    def entries(self) -> Dict[str, Any]:
        """All values by name; a copy."""
        return dict(self._entries)

    @property
    def types(self) -> Dict[str, type]:
        """The type of each entry: the declared one, else that of its value."""
        return {
            name: TYPES.get(self._declared.get(name, ""), type(value))
            for name, value in self._entries.items()
        }

    def __dir__(self) -> List[str]:
        return sorted({*super().__dir__(), *self._entries})

    def __repr__(self) -> str:
        return f"<{self._title}>"

    def __str__(self) -> str:
        width = max(map(len, self._entries), default=0)
        lines = [f"  {name:{width}}  {value}" for name, value in self._entries.items()]
        return "\n".join([self._title, *lines])


class Job(Entries):
    """The point of the parameter space that a run computes; it cannot be changed."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self[name] = value
        super().__setattr__(name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        found = f"a parameter of {self._title} cannot be changed"
        raise SchemaError(self._study, str(name), found, "set an entry of the run instead")
