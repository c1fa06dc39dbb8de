"""An order of steps: what has to be done before what.

::

    Pipeline([Step("prepare"), Step("run", requires=["prepare"]), Step("analyse", ["run"])])

Steps are kept in topological order; where that leaves a choice, the one declared first comes
first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, Self

from motoko.errors import CyclicSteps, DuplicateStep, UnknownStep


@dataclass(frozen=True)
class Step:
    """One step: its name, the names of those it requires, and what it is given to work with.

    ``task`` is the task manager whose study does it, if it has not the name of the step. With
    a ``barrier`` it waits until what it requires is done for all systems, otherwise each
    system goes on by itself. ``sentinels`` are the files that say of a system that nothing is
    left to be done, or that it failed: a mapping as in ``bd.yaml``. Steps compare by all of
    that; payload and sentinels have no part in the hash, since they may have none.
    """

    name: str
    requires: tuple[str, ...] = ()
    payload: Any = field(default=None, hash=False)
    task: str | None = field(default=None, kw_only=True)
    barrier: bool = field(default=False, kw_only=True)
    sentinels: Any = field(default=None, hash=False, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.requires, str):
            names = f"requires=[{self.requires!r}]"
            raise TypeError(f"step {self.name!r}: requires takes several names: {names}")
        object.__setattr__(self, "requires", tuple(dict.fromkeys(self.requires)))

    @property
    def params(self) -> Any:
        """The payload."""
        return self.payload

    def replace(self, **changes: Any) -> Self:
        """Another step with these changes."""
        return dataclasses.replace(self, **changes)


class Pipeline:
    """Steps that form no cycle. Iterating gives them in topological order.

    Raises DuplicateStep, UnknownStep for a prerequisite that is no step, or CyclicSteps, which
    shows the cycle; all of them are ValueErrors.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        declared = tuple(steps)
        self._steps = {step.name: step for step in declared}
        seen: set[str] = set()
        for step in declared:
            if step.name in seen:
                raise DuplicateStep(step.name)
            seen.add(step.name)
            for name in step.requires:
                if name not in self._steps:
                    raise UnknownStep(name, self._steps, step.name)
        self._order = _ordered(self._steps, self.adjacency())

    def __iter__(self) -> Iterator[Step]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, name: object) -> bool:
        return name in self._steps

    def __getitem__(self, name: str) -> Step:
        if name not in self._steps:
            raise UnknownStep(name, self._steps)
        return self._steps[name]

    def __repr__(self) -> str:
        return f"Pipeline({list(self._steps.values())!r})"

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in topological order."""
        return self._order

    def describe(self) -> list[dict[str, Any]]:
        """All steps in topological order, as data that JSON can hold.

        Each has ``name``, ``requires`` and ``payload_type``, the name of a type or None.
        """
        return [
            {
                "name": step.name,
                "requires": list(step.requires),
                "payload_type": None if step.payload is None else type(step.payload).__name__,
            }
            for step in self._order
        ]

    def adjacency(self) -> dict[str, list[str]]:
        """Every step, as declared, with the names of those that require it."""
        found: dict[str, list[str]] = {name: [] for name in self._steps}
        for step in self._steps.values():
            for name in step.requires:
                found[name].append(step.name)
        return found

    def dependencies(self, name: str) -> tuple[str, ...]:
        """What a step requires, as declared. UnknownStep, a KeyError."""
        return self[name].requires

    def to_mermaid(self) -> str:
        """The steps as a flowchart in the language of Mermaid."""
        marks = {step.name: f"s{i}" for i, step in enumerate(self._order)}
        lines = ["flowchart TD"]
        lines += [f'    {mark}["{_label(name)}"]' for name, mark in marks.items()]
        for step in self._order:
            lines += [f"    {marks[name]} --> {marks[step.name]}" for name in step.requires]
        return "\n".join(lines) + "\n"


def _ordered(
    steps: Mapping[str, Step], adjacency: Mapping[str, Sequence[str]]
) -> tuple[Step, ...]:
    """Topological order: at each place the first as declared of those that can stand there."""
    places = {name: place for place, name in enumerate(steps)}
    names = list(steps)
    n_awaited = {name: len(step.requires) for name, step in steps.items()}
    ready = [places[name] for name, n in n_awaited.items() if n == 0]
    heapify(ready)
    order = []
    while ready:
        name = names[heappop(ready)]
        order.append(steps[name])
        for dependent in adjacency[name]:
            n_awaited[dependent] -= 1
            if n_awaited[dependent] == 0:
                heappush(ready, places[dependent])
    if len(order) < len(steps):
        raise CyclicSteps(_cycle(steps, {name for name, n in n_awaited.items() if n}))
    return tuple(order)


def _cycle(steps: Mapping[str, Step], stuck: set[str]) -> list[str]:
    """A cycle among steps each of which requires another of them."""
    name = next(name for name in steps if name in stuck)
    path: dict[str, None] = {}
    while name not in path:
        path[name] = None
        name = next(required for required in steps[name].requires if required in stuck)
    passed = list(path)
    return [*passed[passed.index(name) :], name]


def _label(name: str) -> str:
    escaped = name.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return " ".join(escaped.replace(">", "&gt;").split())
