"""What all mappings in the files have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of known keys; unknown ones are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """The keys that mean something to Motoko, in the order of the reference."""
        return tuple(cls.model_fields)
