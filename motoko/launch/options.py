"""Options of a batch system as studies write them: ``[nodes=1, time=00:10:00, exclusive]``.

The text before ``=`` says which option it is; a later list stands above an earlier one. Dashes
in front mean nothing. Some options have a list as their value (``l=h_vmem=4G``): there, the
name within counts too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from motoko.errors import ReservedOption


@dataclass(frozen=True)
class Dialect:
    """How one batch system names its options."""

    #: Options that Motoko needs itself, and what for.
    reserved: Mapping[str, str]
    #: The long name for each other name.
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: Options that are a list of named values.
    lists: frozenset[str] = frozenset()

    def key(self, option: str) -> str:
        """Which option this is."""
        name, value = split(option)
        name = self.aliases.get(name, name)
        if name in self.lists:
            inner = (value or "").partition("=")[0].strip()
            return f"{name}={self.aliases.get(f'{name}={inner}', inner)}"
        return name

    def check(self, options: Iterable[str], where: str) -> None:
        """Raise ReservedOption for one that is Motoko's own."""
        for option in options:
            name = split(option)[0]
            purpose = self.reserved.get(self.aliases.get(name, name))
            if purpose is not None:
                raise ReservedOption(where, option, purpose)

    def merged(self, *lists: Sequence[str]) -> tuple[str, ...]:
        """All options, where the same one is given more than once the last."""
        found: dict[str, str] = {}
        for options in lists:
            for option in options:
                found[self.key(option)] = option
        return tuple(found.values())

    def value(self, options: Sequence[str], key: str) -> str | None:
        """What the last of the options says that is this one, or has it in its list
        (``l=h_vmem=4G,h_rt=60``); None if none does."""
        for option in reversed(options):
            name, value = split(option)
            name = self.aliases.get(name, name)
            if name == key:
                return value
            if name in self.lists and value is not None:
                for part in reversed(value.split(",")):
                    inner, _, given = part.partition("=")
                    if f"{name}={inner.strip()}" == key:
                        return given.strip()
        return None


def split(option: str) -> tuple[str, str | None]:
    """The name of an option, without dashes, and its value; None for one without."""
    text = option.strip()
    n_dashes = len(text) - len(text.lstrip("-"))
    text = text[n_dashes:]
    name, sign, value = text.partition("=")
    if not sign or (n_dashes == 1 and " " in name):
        name, sign, value = text.partition(" ")
    return name.strip(), value.strip() if sign else None
