"""What a phase is given: its payload, its system, and what came of the phases it requires.

By that a call of a function is known again, and a task of a study whether it was done behind
the same runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from motoko.errors import PipelineError, StepNotRunnable
from motoko.store.ranges import ranges
from motoko.systems import SimSystem
from motoko.workflow.pipelines.content import Content, WithoutContent
from motoko.workflow.pipelines.plan import Doing
from motoko.workflow.pipelines.progress import Phase, Progress
from motoko.workflow.resuming import flat

#: What a phase requires is told in so many characters, if it can be.
_LONGEST: Final = 120
_SHORT: Final = 12
_FILES: Final = ("topology", "coordinates", "protein")
_META: Final = ("ligand", "residue_name", "run_label", "source")


class Given:
    """What the phases of one pipeline are given. Nothing of it changes, whatever functions do
    with their payloads."""

    def __init__(
        self,
        directory: Path,
        plan: Mapping[str, Doing],
        systems: Iterable[SimSystem | None],
    ) -> None:
        """PipelineError when what a function is given cannot be told in another process."""
        self._content = Content(directory)
        self._plan = plan
        self._systems = [system for system in systems if system is not None]
        functions = [doing.step for doing in plan.values() if doing.handler is not None]
        self._payloads: dict[str, str] = {}
        self._facts: dict[str, str] = {}
        self._calls: dict[str, str] = {}
        for step in functions:
            try:
                self._payloads[step.name] = self._content.digest(step.payload)
            except WithoutContent as error:
                why = (
                    f"nobody can tell its payload in another process ({error}): give it plain"
                    " values, and make of them in the function what it works with"
                )
                raise StepNotRunnable(step.name, why) from None
        for system in self._systems if functions else ():
            try:
                self._facts[system.name] = self._content.digest(_facts(system))
            except WithoutContent as error:
                why = f"nobody can tell in another process what is known of it ({error})"
                raise PipelineError(f"system {system.name!r}: {why}") from None

    def parameters(self, *, has_steps: bool) -> dict[str, dict[str, Any]]:
        """What steps and systems are given by the user, each as places and values."""
        found: dict[str, dict[str, Any]] = {}
        for doing in self._plan.values() if has_steps else ():
            step, place = doing.step, f"pipeline.{doing.step.name}"
            found[place] = dict(flat(f"{place}.payload", self._content.shown(step.payload)))
            if step.requires:
                found[place][f"{place}.requires"] = sorted(step.requires)
        for system in self._systems:
            place = f"systems.{system.name}"
            if known := dict(flat(place, self._content.shown(_facts(system)))):
                found[place] = known
        return found

    def required(self, phase: Phase, progress: Progress) -> str:
        """What came of the phases that a phase requires: their runs, and calls of functions."""
        found = []
        for one in sorted(progress.required(phase), key=lambda one: one.step.name):
            manager = self._plan[one.step.name].manager
            if manager is None:
                found.append(f"{one.step.name}:{self.call(one, progress)[:_SHORT]}")
            elif one.run_ids:
                found.append(_runs(manager.study, one))
        text = ", ".join(found)
        if len(text) <= _LONGEST:
            return text
        return f"{text[: _LONGEST // 2]}... {self._content.digest(text)[:_SHORT]}"

    def forget(self, phases: Iterable[Phase]) -> None:
        """What these require is done again, and may be something else then."""
        for phase in phases:
            self._calls.pop(phase.name, None)

    def call(self, phase: Phase, progress: Progress) -> str:
        """What the function of a phase is given, as text that stands for all of it; asked when
        all that it requires is done."""
        if phase.name not in self._calls:
            system = "" if phase.system is None else self._facts[phase.system.name]
            required = self.required(phase, progress)
            given = [self._payloads[phase.step.name], system, required]
            self._calls[phase.name] = self._content.digest(given)
        return self._calls[phase.name]


def _runs(study: str, phase: Phase) -> str:
    """The runs of a phase; one that was executed again is told from what it was before."""
    by_number: dict[int, list[int]] = {}
    for run_id in phase.run_ids:
        by_number.setdefault(phase.n_times.get(run_id, 1), []).append(run_id)
    found = sorted((*ends, n) for n, ids in by_number.items() for ends in ranges(ids))
    return ", ".join(
        f"{study}.{first}{f'-{last}' * (last > first)}{f'#{n}' * (n > 1)}"
        for first, last, n in found
    )


def _facts(system: SimSystem) -> dict[str, Any]:
    """What is known of a system, but for where it lies."""
    meta = {name: getattr(system.meta, name) for name in _META} | dict(system.meta.extras)
    facts: dict[str, Any] = {name: getattr(system, name) for name in _FILES}
    facts |= {"ligands": list(system.ligands), "artifacts": dict(system.artifacts)}
    facts["meta"] = {name: value for name, value in meta.items() if value is not None}
    return {name: value for name, value in facts.items() if value not in (None, [], {})}
