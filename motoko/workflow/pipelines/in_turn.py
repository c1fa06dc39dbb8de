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
        #: The phases of whose calls a call is part.
        self._parts: dict[Begin, frozenset[str]] = {}
        #: Phases whose line moves on; what is begun may be over at once.
        self._moving: set[str] = set()

    def __contains__(self, phase: object) -> bool:
        return phase in self._lines

    def add(self, phase: str, begin: Begin, called_in: frozenset[str] = frozenset()) -> None:
        """Begin a call, which is part of those of ``called_in``, when no other of its phase is
        begun, and not over: at once, or later."""
        self._lines.setdefault(phase, []).append(begin)
        self._parts[begin] = called_in
        self._move_on(phase)

    def would_wait_for_ever(self, phase: str, called_in: frozenset[str]) -> bool:
        """Whether the call of a phase that is begun waits itself, through whatever others, for
        the end of one of those that another call of it would be part of."""
        seen: set[str] = set()
        todo = [phase]
        while todo:
            now = todo.pop()
            if now in seen or now not in self._begun:
                continue
            if now in called_in:
                return True
            seen.add(now)
            todo += [
                other
                for other, line in self._lines.items()
                for begin in line
                if now in self._parts[begin] and not self.has_begun(other, begin)
            ]
        return False

    def has_begun(self, phase: str, begin: Begin) -> bool:
        """Whether it is this call's turn."""
        return self._begun.get(phase) is begin

    def remove(self, phase: str, begin: Begin) -> None:
        """A call is over, or nobody wants it any more: the next one begins."""
        line = self._lines.get(phase, [])
        if begin not in line:
            return
        line.remove(begin)
        del self._parts[begin]
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
