"""What all mappings in the files have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of known keys; unknown ones are kept."""

    # What checks is built when a file is read, and only for the mapping that a file is: those
    # inside are part of that.
    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="allow", protected_namespaces=()
    )

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """The keys that mean something to Motoko, in the order of the reference."""
        return tuple(cls.model_fields)
