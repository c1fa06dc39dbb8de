"""What a phase is given: its payload, its system, and what came of the phases it requires; of a
function also which one it is, what it binds, and the options that it takes.

By that a call of a function is known again, and a task of a study whether it was done behind
the same runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from motoko.errors import PipelineError, StepNotRunnable
from motoko.store.ranges import ranges
from motoko.systems import SimSystem
from motoko.workflow.actions import accepted
from motoko.workflow.pipelines.content import Content, WithoutContent
from motoko.workflow.pipelines.plan import Doing
from motoko.workflow.pipelines.progress import Phase, Progress
from motoko.workflow.resuming import flat

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

#: What every function is offered; the rest are options of the orchestrator.
OFFERED: Final = frozenset({"workflow", "system", "step", "params", "attempts", "runs"})
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
        workflow: Workflow,
        plan: Mapping[str, Doing],
        systems: Iterable[SimSystem | None],
    ) -> None:
        """PipelineError when what a function is given cannot be told in another process."""
        assert workflow.asked_steps is not None
        self._bindings = workflow.asked_steps.bindings
        managers = workflow.task_managers.items()
        self._handles: list[tuple[object, str]] = [(one, name) for name, one in managers]
        self._handles += [(workflow, "its workflow"), (workflow.vars, "its variables")]
        self._workflow = workflow
        self._content = self._content_with(self._bindings.meet)
        self._plan = plan
        self._systems = [system for system in systems if system is not None]
        functions = [doing for doing in plan.values() if doing.handler is not None]
        #: By step: what its function is given for every system.
        self._of_steps = {doing.step.name: self._of_step(doing) for doing in functions}
        self._facts: dict[str, str] = {}
        self._calls: dict[str, str] = {}
        #: By step that is a barrier: what came of all systems.
        self._at_barriers: dict[str, str] = {}
        #: What functions bind that may change, while they are at work.
        self._at_work: list[Any] = []
        for system in self._systems if functions else ():
            try:
                self._facts[system.name] = self._content.digest(_facts(system))
            except WithoutContent as error:
                why = f"nobody can tell in another process what is known of it ({error})"
                raise PipelineError(f"system {system.name!r}: {why}") from None

    def _content_with(self, meet: Callable[[Any, Callable[[], bytes]], bytes]) -> Content:
        return Content(self._workflow.directory, self._handles, meet)

    def _of_step(self, doing: Doing) -> list[str]:
        """Payload, function, and the options that it takes, as texts that stand for them."""
        step, function, content = doing.step, doing.handler, self._content
        assert function is not None
        options = accepted(function, self._workflow.params)
        options = {name: value for name, value in options.items() if name not in OFFERED}

        def told(what: str, value: Any, tell: Callable[[Any], str], instead: str) -> str:
            try:
                return tell(value)
            except WithoutContent as error:
                why = f"nobody can tell {what} in another process ({error}): {instead}"
                raise StepNotRunnable(step.name, why) from None

        plain = "give it plain values, and make of them in the function what it works with"
        made = "have the function make it, or its module"
        return [
            told("its payload", step.payload, content.digest, plain),
            told("what its function binds", function, content.of_function, made),
            told("the options that its function takes", options, content.digest, plain),
        ]

    def begin(self) -> None:
        """Functions are called from now on: what these make of what they bind has no part in
        which they are."""

        def meet(value: Any, content: Callable[[], bytes]) -> bytes:
            self._at_work.append(value)
            return self._bindings.meet(value, content)

        self._look_at_functions(self._content_with(meet))
        self._bindings.begin(self._at_work)

    def end(self) -> None:
        """They are called no more."""
        contents: dict[int, bytes] = {}

        def meet(value: Any, content: Callable[[], bytes]) -> bytes:
            contents[id(value)] = content()
            return self._bindings.meet(value, content)

        self._look_at_functions(self._content_with(meet))
        self._bindings.end(self._at_work, contents)
        self._at_work.clear()

    def _look_at_functions(self, content: Content) -> None:
        for doing in self._plan.values():
            if doing.handler is not None:
                with suppress(WithoutContent, RuntimeError):  # others change it meanwhile
                    content.of_function(doing.handler)

    def parameters(self, *, has_steps: bool) -> dict[str, dict[str, Any]]:
        """What steps and systems are given by the user, each as places and values; of steps
        that are compared as a whole, ``has_steps`` being false, what their functions are."""
        found: dict[str, dict[str, Any]] = {}
        for doing in self._plan.values():
            step, place = doing.step, f"pipeline.{doing.step.name}"
            facts: dict[str, Any] = {}
            if has_steps:
                facts |= flat(f"{place}.payload", self._content.shown(step.payload))
            if has_steps and step.requires:
                facts[f"{place}.requires"] = sorted(step.requires)
            if doing.handler is not None:
                facts[f"{place}.function"] = self._content.title(doing.handler)
                for name, value in self._content.bindings(doing.handler).items():
                    facts |= flat(f"{place}.function.{name}", value)
            if facts:
                found[place] = facts
        for system in self._systems:
            place = f"systems.{system.name}"
            if known := dict(flat(place, self._content.shown(_facts(system)))):
                found[place] = known
        return found

    def required(self, phase: Phase, progress: Progress) -> str:
        """What came of the phases that a phase requires, for all systems if it is a barrier:
        their runs, and calls of functions."""
        if not phase.step.barrier:
            return self._required(phase, progress)
        if phase.step.name not in self._at_barriers:
            self._at_barriers[phase.step.name] = self._required(phase, progress)
        return self._at_barriers[phase.step.name]

    def _required(self, phase: Phase, progress: Progress) -> str:
        found = []
        for one in sorted(progress.behind(phase), key=lambda one: (one.step.name, one.name)):
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
        """What these require is done again, and may be something else by now."""
        for phase in phases:
            self._calls.pop(phase.name, None)
            self._at_barriers.pop(phase.step.name, None)

    def values(self, phase: Phase) -> dict[str, Any]:
        """What the function of a phase is given, as texts by what they stand for, but for what
        came of the phases that it requires."""
        names = ("payload", "function", "options")
        values: dict[str, Any] = dict(zip(names, self._of_steps[phase.step.name], strict=True))
        values["system"] = "" if phase.system is None else self._facts[phase.system.name]
        return values

    def call(self, phase: Phase, progress: Progress) -> str:
        """What the function of a phase is given, as text that stands for all of it; asked when
        all that it requires is done."""
        if phase.name not in self._calls:
            system = "" if phase.system is None else self._facts[phase.system.name]
            required = self.required(phase, progress)
            given = [*self._of_steps[phase.step.name], system, required]
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
