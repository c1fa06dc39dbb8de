"""How far each phase of a pipeline is: a step, done for one system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from enum import StrEnum
from typing import Any, NamedTuple

from motoko.columns import AWAITS
from motoko.errors import FailedRun
from motoko.model import states
from motoko.phrases import counted
from motoko.pipeline import Pipeline, Step
from motoko.store.tables import Tables
from motoko.study.order import n_times
from motoko.study.study import Study
from motoko.study.waiting import DELETED, failed_run
from motoko.systems import SimSystem
from motoko.workflow.pipelines.plan import phase_name

#: So many phases of a step are told of.
_MOST_TOLD = 1000


class PhaseState(StrEnum):
    """How far a phase is. One that failed can go on when an action mends its runs, and one that
    is done waits or is begun again when somebody puts back its runs, or what it requires."""

    WAITING = "waiting"
    BEGUN = "begun"
    FAILED = "failed"
    DONE = "done"


class Hold(NamedTuple):
    """Of a system nothing else begins than what had ``begun`` before, until it is known what
    came of a step."""

    until: str
    begun: Set[str]


class Phase:
    """One step, done for one system."""

    def __init__(self, step: Step, system: SimSystem | None, row: int) -> None:
        self.step = step
        self.system = system
        #: Which of the systems it is.
        self.row = row
        self.name = phase_name(step, system)
        self.state = PhaseState.WAITING
        self.run_ids: tuple[int, ...] = ()
        #: By run that has ended well: how often it was executed until then.
        self.n_times: dict[int, int] = {}
        self._open: set[int] = set()
        self._ended: set[int] = set()
        self.failed: dict[int, FailedRun] = {}
        #: What its function raised, or what else made it fail.
        self.error: Exception | None = None
        #: Whether more than its runs decides on its end; `conclude` is called then.
        self.has_sequel = False
        #: Whether its runs are through, and that is still to be decided.
        self.is_in_sequel = False
        #: Whether what became of it since it was begun has been looked at.
        self.is_looked_at = False
        #: Whether it is done with other runs than before: some have been executed again.
        self.is_renewed = False
        #: Whether what it requires is done again since it was begun.
        self.is_outdated = False

    def __repr__(self) -> str:
        return f"Phase({self.name}, {self.state})"

    def begin(self, run_ids: Sequence[int] = ()) -> None:
        """It has these runs, of which nothing is known yet, or its function is called."""
        self._forget(run_ids)
        self.state = PhaseState.BEGUN

    def wait(self) -> None:
        """It is to be begun once more: somebody has put back its runs, or what it requires."""
        self._forget(())
        self.state = PhaseState.WAITING

    def _forget(self, run_ids: Sequence[int]) -> None:
        self.run_ids = tuple(run_ids)
        self._open, self._ended = set(run_ids), set()
        self.n_times.clear()
        self.failed.clear()
        self.error = None
        self.is_in_sequel = self.is_looked_at = self.is_renewed = self.is_outdated = False

    def look(self, study: Study, tables: Tables, run_id: int) -> bool:
        """Take over what became of one of its runs; whether that is any news."""
        if run_id not in self._open and run_id not in self._ended and run_id not in self.failed:
            return False  # it is begun with others by now
        row = tables.run(run_id) if tables.has_run(run_id) else None
        if row is not None and AWAITS in row:
            self.wait()
            return True
        number = 1 if row is None else n_times(tables, run_id)
        if run_id in self._ended and self._is_the_same(row, self.n_times[run_id] == number):
            return False
        for known in (self._open, self._ended):
            known.discard(run_id)
        self.failed.pop(run_id, None)
        if row is None:
            self.failed[run_id] = FailedRun(study.name, run_id, DELETED, "it was deleted")
        elif not states.has_ended(row):
            self._open.add(run_id)
        elif states.has_failed(row):
            self.failed[run_id] = failed_run(study, tables, run_id)
        else:
            self._ended.add(run_id)
            self.is_renewed |= self.n_times.get(run_id, number) != number
            self.n_times[run_id] = number
        self.is_in_sequel = self.has_sequel and not self._open and not self.failed
        if self.is_in_sequel:
            self.state = PhaseState.BEGUN
        else:
            self.conclude()
        return True

    @staticmethod
    def _is_the_same(row: Mapping[str, Any] | None, has_same_number: bool) -> bool:
        """Whether a run that had ended well is as it was; what is left of one that is deleted
        since then counts."""
        if row is None:
            return True
        return has_same_number and states.has_ended(row) and not states.has_failed(row)

    def conclude(self, error: Exception | None = None) -> None:
        """Say how far it is, given what is known of its runs, or what its function raised."""
        self.error = error
        self.is_in_sequel = False
        self.is_looked_at = True
        if self._open:
            self.state = PhaseState.BEGUN
        else:
            is_bad = bool(self.failed) or error is not None
            self.state = PhaseState.FAILED if is_bad else PhaseState.DONE

    @property
    def cause(self) -> str:
        """Why it failed, in words."""
        return "; ".join(map(str, self.failed.values())) or (
            "" if self.error is None else f"{type(self.error).__name__}: {self.error}"
        )


class Progress:
    """All phases of a pipeline, and which of them can begin."""

    def __init__(self, pipeline: Pipeline, systems: Sequence[SimSystem | None]) -> None:
        self.pipeline = pipeline
        self.systems = tuple(systems)
        self._dependents = pipeline.adjacency()
        self._phases = {
            step.name: [Phase(step, system, row) for row, system in enumerate(systems)]
            for step in pipeline
        }
        #: Systems that leave out what they have not begun.
        self._pruned: set[int] = set()
        #: By step: for which systems it is neither done nor left out.
        self._missing = {step.name: set(range(len(self.systems))) for step in pipeline}
        self._ready = {step.name: dict[int, Phase]() for step in pipeline}
        self._begun: set[Phase] = set()
        self._holds: dict[int, Hold] = {}
        #: By row: the steps that an earlier process had begun for a system that it left out.
        self._begun_before: dict[int, Set[str]] = {}
        for step in pipeline:
            self._find_ready(step)

    def __iter__(self) -> Iterator[Phase]:
        """All of them, step by step."""
        return (phase for phases in self._phases.values() for phase in phases)

    def ready(self, step: str) -> list[Phase]:
        """The phases of a step that can begin."""
        return list(self._ready[step].values())

    def phases(self, step: str) -> list[Phase]:
        """The phases of a step, by row."""
        return self._phases[step]

    def hold(self, holds: Mapping[int, Hold]) -> None:
        """Let systems, by row, begin nothing new for now; before anything has begun."""
        self._holds = dict(holds)
        self._begun_before = {row: hold.begun for row, hold in holds.items()}
        for row in holds:
            for step in self.pipeline:
                self._ready[step.name].pop(row, None)
                self._find_ready(step, row)

    def required(self, phase: Phase) -> list[Phase]:
        """The phases of the same system that a phase requires."""
        return [self._phases[name][phase.row] for name in phase.step.requires]

    def behind(self, phase: Phase) -> list[Phase]:
        """What a phase is done behind: what it requires, done for its system; at a barrier done
        for each system for which all of it is.

        That does not depend on when systems were left out: none of it is under way then, nor
        begins any more.
        """
        if not phase.step.barrier:
            return self.required(phase)
        columns = [self._phases[name] for name in phase.step.requires]
        return [
            one
            for of_system in zip(*columns, strict=True)
            if all(required.state is PhaseState.DONE for required in of_system)
            for one in of_system
        ]

    @property
    def has_begun(self) -> bool:
        """Whether a phase is begun, and not over."""
        return bool(self._begun)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is begun, nor can begin."""
        return not self._begun and not any(self._ready.values())

    @property
    def failed(self) -> list[Phase]:
        """The phases that failed."""
        return [phase for phase in self if phase.state is PhaseState.FAILED]

    @property
    def survivors(self) -> list[SimSystem | None]:
        """The systems for which every step is done."""
        missing: set[int] = set().union(self._pruned, *self._missing.values())
        return [system for row, system in enumerate(self.systems) if row not in missing]

    def note(self, phases: Iterable[Phase]) -> list[Phase]:
        """These phases are in another state than they were. Gives those that require what is
        done once more."""
        back: list[Phase] = []
        for phase in phases:
            if phase.is_outdated and phase.state in (PhaseState.DONE, PhaseState.FAILED):
                phase.wait()
                back.append(phase)
            missing = self._missing[phase.step.name]
            was_done = phase.row not in missing and phase.row not in self._pruned
            is_done = phase.state is PhaseState.DONE
            if was_done and (phase.is_renewed or not is_done):
                missing.add(phase.row)
                back += self._hold_dependents(phase)
            phase.is_renewed = False
            self._ready[phase.step.name].pop(phase.row, None)
            is_begun = phase.state is PhaseState.BEGUN
            (self._begun.add if is_begun else self._begun.discard)(phase)
            if is_done:
                missing.discard(phase.row)
                self._find_dependents(phase)
            elif phase.state is PhaseState.WAITING:
                self._find_ready(phase.step, phase.row)
            self._end_hold(phase)
            if phase.row in self._pruned:
                self._leave_out(phase.row)
        return back

    def _hold_dependents(self, phase: Phase) -> list[Phase]:
        """Let what requires a phase that is done no more wait for it; all of that."""
        back: list[Phase] = []
        for name in self._dependents[phase.step.name]:
            phases = self._phases[name]
            for one in phases if self.pipeline[name].barrier else [phases[phase.row]]:
                self._ready[name].pop(one.row, None)
                back.append(one)
                if one.state is PhaseState.BEGUN:
                    one.is_outdated = True
                elif one.state is not PhaseState.WAITING and one.row not in self._pruned:
                    was_done = one.state is PhaseState.DONE
                    one.wait()
                    if was_done:
                        self._missing[name].add(one.row)
                        back += self._hold_dependents(one)
        return back

    def is_due(self, phase: Phase) -> bool:
        """Whether all is done that a phase requires."""
        return not any(self._is_missing(phase, name) for name in phase.step.requires)

    def _end_hold(self, phase: Phase) -> None:
        hold = self._holds.get(phase.row)
        if hold is None or not phase.is_looked_at:
            return
        if phase.step.name == hold.until or phase.state is PhaseState.FAILED:
            del self._holds[phase.row]
            for step in self.pipeline:
                self._find_ready(step, phase.row)

    def prune(self, phase: Phase) -> bool:
        """Leave out all that the system of a phase has not begun; False if that was so."""
        if phase.row in self._pruned:
            return False
        self._pruned.add(phase.row)
        self._leave_out(phase.row)
        return True

    def _leave_out(self, row: int) -> None:
        """Wait no longer for what a system that is left out has not under way."""
        for step in self.pipeline:
            if self._is_under_way(step, row):
                self._find_ready(step, row)
            else:
                self._missing[step.name].discard(row)
                self._ready[step.name].pop(row, None)
        for step in self.pipeline:
            if step.barrier:
                self._find_ready(step)

    def _is_under_way(self, step: Step, row: int) -> bool:
        """Whether a phase has begun, and is not over; or had, and is still to be looked at."""
        phase = self._phases[step.name][row]
        if phase.state is not PhaseState.WAITING:
            return phase.state is PhaseState.BEGUN
        return step.name in self._begun_before.get(row, ()) and all(
            self._phases[name][row].state is PhaseState.DONE
            or self._is_under_way(self.pipeline[name], row)
            for name in step.requires
        )

    def told(self, steps: Iterable[str]) -> dict[str, str]:
        """How far steps are, and those of their phases that are not done, by name; may be asked
        in any thread."""
        found: dict[str, str] = {}
        for step in steps:
            found[step] = f"is {self.in_words(step)}"
            phases = [one for one in self._phases[step] if one.state is not PhaseState.DONE]
            found.update((one.name, self._sentence(one)) for one in phases[:_MOST_TOLD])
        return found

    def _sentence(self, phase: Phase) -> str:
        left_out = ", and its system is left out" if phase.row in self._pruned else ""
        if phase.state is PhaseState.FAILED:
            return f"has failed: {phase.cause}{left_out}"
        if phase.state is PhaseState.BEGUN:
            return "is called next"
        if left_out:
            of_system = (phases[phase.row] for phases in self._phases.values())
            bad = [one.name for one in of_system if one.state is PhaseState.FAILED]
            why = f"since {' and '.join(bad)} failed" if bad else "and was put back since"
            return f"is left out, {why}"
        names = [name for name in phase.step.requires if self._is_missing(phase, name)]
        if phase.step.barrier:
            return f"waits until {' and '.join(names)} is done for all systems"
        waits = [self._phases[name][phase.row] for name in names]
        return f"waits for {', '.join(f'{one.name} ({one.state})' for one in waits)}"

    def in_words(self, step: str) -> str:
        """How far a step is: for how many systems it is done, and what the others wait for."""
        counts = dict.fromkeys(PhaseState, 0)
        awaited: dict[str, int] = {}
        for phase in self._phases[step]:
            counts[phase.state] += phase.row not in self._pruned
            if phase.state is PhaseState.WAITING and phase.row not in self._pruned:
                for name in phase.step.requires:
                    if self._is_missing(phase, name):
                        awaited[name] = awaited.get(name, 0) + 1
        what = [f"{n} {state}" for state, n in counts.items() if n]
        what += [f"{counted(len(self._pruned), 'system')} left out"] if self._pruned else []
        text = ", ".join(what)
        for_what = " and ".join(f"{name} of {n}" for name, n in awaited.items())
        return f"{text} (missing: {for_what})" if awaited else text

    def _is_missing(self, phase: Phase, name: str) -> bool:
        missing = self._missing[name]
        return bool(missing) if phase.step.barrier else phase.row in missing

    def _find_dependents(self, phase: Phase) -> None:
        for name in self._dependents[phase.step.name]:
            step = self.pipeline[name]
            self._find_ready(step, None if step.barrier else phase.row)

    def _find_ready(self, step: Step, row: int | None = None) -> None:
        phases = self._phases[step.name]
        if step.barrier and any(self._missing[name] for name in step.requires):
            return
        for phase in phases if row is None else [phases[row]]:
            hold = self._holds.get(phase.row)
            if hold is not None and step.name not in hold.begun:
                continue
            if phase.state is PhaseState.WAITING and self._may_begin(phase):
                required = self.required(phase)
                if all(one.state is PhaseState.DONE for one in required):
                    self._ready[step.name][phase.row] = phase

    def _may_begin(self, phase: Phase) -> bool:
        """Whether its system is not left out, or had begun it before."""
        return phase.row not in self._pruned or self._is_under_way(phase.step, phase.row)
