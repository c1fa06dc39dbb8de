"""Pipelines that are under way at the same time, and call one function for one system.

They do that one after the other: such calls would write the same files, and are one event.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

Begin = Callable[[], object]

#: The phases whose functions are being called, and await whatever is asked for in here.
CALLED: Final[ContextVar[frozenset[str]]] = ContextVar("called", default=frozenset())


class InTurn:
    """By phase, the calls that pipelines have offered; of each only the first one has begun."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Begin]] = {}
        self._begun: dict[str, Begin] = {}
        #: Phases whose line moves on; what is begun may be over at once.
        self._moving: set[str] = set()

    def __contains__(self, phase: object) -> bool:
        return phase in self._lines

    def add(self, phase: str, begin: Begin) -> None:
        """Begin a call when no other of its phase is begun, and not over: at once, or later."""
        self._lines.setdefault(phase, []).append(begin)
        self._move_on(phase)

    def has_begun(self, phase: str, begin: Begin) -> bool:
        """Whether it is this call's turn."""
        return self._begun.get(phase) is begin

    def remove(self, phase: str, begin: Begin) -> None:
        """A call is over, or nobody wants it any more: the next one begins."""
        line = self._lines.get(phase, [])
        if begin not in line:
            return
        line.remove(begin)
        if not line:
            del self._lines[phase]
        if self.has_begun(phase, begin):
            del self._begun[phase]
        self._move_on(phase)

    def _move_on(self, phase: str) -> None:
        if phase in self._moving:
            return
        self._moving.add(phase)
        try:
            while phase not in self._begun and (line := self._lines.get(phase)):
                self._begun[phase] = line[0]
                line[0]()
        finally:
            self._moving.discard(phase)
