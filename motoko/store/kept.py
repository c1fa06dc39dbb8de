"""Values that are kept because they may be asked for again, so many at most."""

from __future__ import annotations

from typing import TypeVar

V = TypeVar("V")

#: The part that goes when there is no room: one of so many.
_PARTS = 8


class Kept(dict[int, V]):
    """Values by number. Reading is that of a mapping; `keep` adds.

    What goes for others is spread evenly over the numbers: whoever asks for more than there is
    room for, in order and again and again, still finds most of them.
    """

    def __init__(self, most: int) -> None:
        """``most`` are kept at once."""
        super().__init__()
        self._most = most
        self._going = 0

    def keep(self, number: int, value: V) -> None:
        """Add a value, or replace it."""
        while len(self) >= self._most and number not in self:
            for other in list(self):  # another thread may add some
                if other % _PARTS == self._going:
                    self.pop(other, None)
            self._going = (self._going + 1) % _PARTS
        self[number] = value
