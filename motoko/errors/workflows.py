"""Errors of configurations, studies, launching, workflows and job scripts."""

from __future__ import annotations

import reprlib

from motoko.errors.root import Facts, MotokoError
from motoko.phrases import BRINGS_IT_BACK, listed, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Optional, Sequence, Tuple


class Mistake(Facts):
    """One mistake in a configuration file; ``line`` counts from 1, 0 when it is unknown."""

    file: str
    line: int
    key: str
    found: str
    allowed: str

    def __init__(self, file: str, line: int, key: str, found: str, allowed: str) -> None:
        super().__init__(file=file, line=line, key=key, found=found, allowed=allowed)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        return f"{place}:{key} {self.found}; {self.allowed}"


class ConfigError(MotokoError, ValueError):
    """All mistakes found in the configuration, together."""

    mistakes: Tuple[Mistake, ...]

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(m) for m in mistakes), mistakes=tuple(mistakes))


class StudyError(MotokoError):
    """Something is wrong with one study or what it holds."""


class StudyNotFound(StudyError, LookupError):
    """No study, or no database of one, where it was looked for."""

    def __init__(self, directory: str, why: str) -> None:
        super().__init__(f"{directory}: {why}", directory=directory, why=why)


class StudyExists(StudyError, FileExistsError):
    """A database stands where a new one was to be made."""

    def __init__(self, directory: str, why: str = "a database is here already") -> None:
        super().__init__(f"{directory}: {why}", directory=directory, why=why)


class ArchiveDamaged(StudyError, ValueError):
    """An archive of run directories that cannot be read."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(f"{file}: {why}", file=file, why=why)


class ForeignDatabase(StudyError, ValueError):
    """A database that this version of Motoko did not write and will not touch."""

    def __init__(self, directory: str, why: str) -> None:
        super().__init__(f"{directory}: {why}", directory=directory, why=why)


class DatabaseLost(StudyError, LookupError):
    """A database that was there is gone, or empty, and what belongs to it is left."""

    def __init__(self, file: str, why: str, n_runs: int = 0) -> None:
        super().__init__(f"{file}: {why}; {BRINGS_IT_BACK}", file=file, why=why, n_runs=n_runs)


class RestoreUnfinished(StudyError, RuntimeError):
    """A backup was put back by half: some databases are of it, others are not."""

    directory: str
    source: str

    def __init__(self, directory: str, source: str) -> None:
        from shlex import quote  # job scripts load this module, and need none of that

        again = f"`motoko backup {quote(directory)} --restore {quote(source)}` completes it"
        message = f"{directory}: a backup was put back by half, and nothing starts: {again}"
        super().__init__(message, directory=directory, source=source)


class JobNotFound(StudyError, LookupError):
    """No job of that id."""

    def __init__(self, study: str, job_id: object) -> None:
        super().__init__(f"study {study!r} has no job {job_id}", study=study, job_id=job_id)


class RunNotFound(StudyError, LookupError):
    """No run of that id."""

    def __init__(self, study: str, run_id: object) -> None:
        super().__init__(f"study {study!r} has no run {run_id}", study=study, run_id=run_id)


class NoRunMatches(StudyError, LookupError):
    """What was asked for holds for no run."""

    def __init__(self, asked: Iterable[str]) -> None:
        asked = tuple(asked)
        super().__init__(f"no run matches {'; '.join(asked)}: nothing is done", asked=asked)


class EntryNotFound(StudyError, AttributeError, KeyError):
    """A run or a job has no entry of that name."""

    def __init__(self, of: str, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        message = f"{of} has no entry {name!r}{nearest(name, known)} (it has: {listed(known)})"
        super().__init__(message, of=of, known=known)
        self.name = name


class SchemaError(StudyError, ValueError):
    """A value that the study's ``bd.yaml`` does not allow."""

    def __init__(self, study: str, key: str, found: str, allowed: str) -> None:
        message = f"study {study!r}, {key!r}: {found}; {allowed}"
        super().__init__(message, study=study, key=key, found=found, allowed=allowed)


class SchemaChanged(SchemaError):
    """``bd.yaml`` lost, renamed or retyped a parameter that stored jobs have."""


class ConstraintError(StudyError, ValueError):
    """A constraint that cannot be understood; ``position`` counts characters from 0."""

    def __init__(self, text: str, position: int, why: str) -> None:
        place = f"\n  {text}\n  {' ' * position}^" if text.strip() else ""
        message = f"{why}{place}"
        super().__init__(message, text=text, position=position, why=why)


class UnknownField(ConstraintError):
    """A constraint names an entry that neither runs nor jobs have."""

    def __init__(self, text: str, position: int, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        why = f"unknown name {name!r}{nearest(name, known)} (known: {listed(known)})"
        super().__init__(text, position, why)
        self.name = name
        self.known = known


class AmbiguousField(ConstraintError):
    """A constraint names an entry that runs and jobs both have."""

    def __init__(self, text: str, position: int, name: str) -> None:
        why = f"both runs and jobs have {name!r}: write runs.{name} or jobs.{name}"
        super().__init__(text, position, why)
        self.name = name


class InvalidTransition(StudyError, ValueError):
    """A run may not go from the one state to the other."""

    def __init__(self, run: str, before: str, after: str, allowed: Iterable[str]) -> None:
        allowed = tuple(allowed)
        message = (
            f"run {run} cannot go from {before} to {after} (from {before}: {listed(allowed)})"
        )
        super().__init__(message, run=run, before=before, after=after, allowed=allowed)


class DatabaseUnavailable(StudyError, ConnectionError):
    """The database server of a study does not answer; it may be back in a moment."""

    transient = True
    why: str

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"database {address}: {why}", address=address, why=why)


class DatabaseFailed(DatabaseUnavailable):
    """The server answers that it cannot read or write a database; waiting does not help."""

    transient = False


class DatabaseClosed(DatabaseUnavailable):
    """The file of a database may not be read by this user."""

    transient = False

    def __init__(self, file: str, mode: int) -> None:
        why = f"is not readable for you (mode {mode:03o}); its owner says `chmod u+rw {file}`"
        super().__init__(file, why)


class NoSpaceLeft(DatabaseUnavailable):
    """The disk of a database is full; nothing is lost meanwhile."""

    def __init__(self, address: str) -> None:
        super().__init__(address, "no space is left on its disk; free some, nothing is lost")


class ConflictsExhausted(StudyError, RuntimeError):
    """A piece of work met conflicting changes at each of its attempts."""

    def __init__(self, what: str, n_attempts: int) -> None:
        message = f"{what}: gave up after {n_attempts} attempts, each undone by other changes"
        super().__init__(message, what=what, n_attempts=n_attempts)


class SessionConflict(StudyError, RuntimeError):
    """What a session read or wrote was changed meanwhile by somebody else."""

    transient = True

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was changed by another session meanwhile", what=what)


class TasksRenumbered(StudyError, RuntimeError):
    """A session is committed, but its tasks have other ids than those it was given."""

    def __init__(self, study: str) -> None:
        message = f"all is committed; tasks in {study!r} have other ids now: select them anew"
        super().__init__(message, study=study)


class MarkerUnset(StudyError, ValueError):
    """A file asks for an entry that has no value."""

    def __init__(self, file: str, line: int, marker: str, known: Iterable[str]) -> None:
        known = tuple(known)
        message = (
            f"{file}:{line}: marker {marker!r} has no value"
            f"{nearest(marker, known)} (with a value: {listed(known)})"
        )
        super().__init__(message, file=file, line=line, marker=marker, known=known)


class MarkerUnsafe(StudyError, ValueError):
    """A script has a marker where its value could be more than text."""

    def __init__(self, file: str, line: int, marker: str, value: str, why: str) -> None:
        written = f"__BLACKDYNAMITE__{marker}__"
        message = (
            f"{file}:{line}: the value of {marker!r}, {reprlib.repr(value)}, cannot stand where"
            f" {written} stands as nothing but text ({why}); give it to a variable in a line"
            f' near the top, {marker}={written}, and write "${marker}" here'
        )
        super().__init__(message, file=file, line=line, marker=marker, value=value)


class LaunchError(MotokoError):
    """A run could not be turned into a process or a batch job."""


class UnknownGenerator(LaunchError, LookupError):
    """No generator of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        message = f"unknown generator {name!r}{nearest(name, known)} (known: {listed(known)})"
        super().__init__(message, name=name, known=known)


class SubmissionFailed(LaunchError, RuntimeError):
    """The system refused to take a run; ``transient`` when it may take it later."""

    def __init__(self, run: str, why: str, transient: bool) -> None:
        super().__init__(f"run {run}: {why}", run=run, why=why)
        self.transient = transient


class ReservedOption(LaunchError, ValueError):
    """An option of a batch system that Motoko needs itself."""

    def __init__(self, where: str, option: str, purpose: str) -> None:
        message = f"{where}: {option!r} is Motoko's own: {purpose}; leave it out"
        super().__init__(message, where=where, option=option, purpose=purpose)


class SchedulerOutputError(LaunchError, ValueError):
    """A batch system answered with something that was not expected."""

    def __init__(self, command: str, output: str) -> None:
        message = f"cannot read the answer of {command!r}: {output!r}"
        super().__init__(message, command=command, output=output)


class WorkflowError(MotokoError):
    """Something is wrong with a workflow or what it was asked to do."""


class OrchestratorNotLoadable(WorkflowError, ImportError):
    """The orchestrator function cannot be had from its file."""

    file: str
    line: int
    why: str

    def __init__(self, file: str, line: int, function: str, why: str) -> None:
        place = f"{file}:{line}" if line else file
        message = f"{place}: cannot load orchestrator {function!r}: {why}"
        super().__init__(message, file=file, line=line, function=function, why=why)


class RunNameMissing(WorkflowError, RuntimeError):
    """Tasks need a run name."""

    def __init__(self) -> None:
        super().__init__(
            "no run name is set: pass --run_name NAME, or set workflow.run_name first"
        )


class RunNameNotFound(WorkflowError, LookupError):
    """Nothing was ever begun under a run name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        shown = ", ".join(known[-10:]) or "none"
        message = f"there is no run name {name!r}{nearest(name, known)} (the last: {shown})"
        super().__init__(message, name=name, known=known)


class ParametersChanged(WorkflowError, ValueError):
    """A run name would go on with other parameters than it was begun with.

    ``changes`` are triples: what is different, the old value and the new one, in words.
    """

    changes: Tuple[Tuple[str, str, str], ...]

    def __init__(
        self, run_name: str, changes: Sequence[Tuple[str, str, str]], most_shown: int = 10
    ) -> None:
        n_shown = len(changes) if len(changes) <= most_shown else max(1, most_shown - 1)
        width = max(len(place) for place, _, _ in changes[:n_shown])
        lines = [f"run name {run_name!r} was begun with other parameters (old -> new):"]
        lines += [f"  {p:{width}}  {old} -> {new}" for p, old, new in changes[:n_shown]]
        if n_shown < len(changes):
            lines.append(f"  and {len(changes) - n_shown} more")
        lines.append(
            "take another run name, or go on with the new ones: --accept-changes, or in Python"
            " workflow.accepts_changes = True"
        )
        super().__init__("\n".join(lines), run_name=run_name, changes=tuple(changes))


class UnknownTaskManager(WorkflowError, AttributeError):
    """A workflow has no task manager, alias or attribute of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        message = (
            f"the workflow has no task manager or attribute {name!r}{nearest(name, known)}"
            f" (task managers and aliases: {listed(known)})"
        )
        super().__init__(message, known=known)
        self.name = name


class EventNotFound(WorkflowError, LookupError):
    """No action of this event is registered, and none has fired."""

    def __init__(
        self, event: str, run_name: str, known: Iterable[str], *, is_running: bool
    ) -> None:
        known = tuple(known)
        there = f"there are: {', '.join(known)}" if known else "there are none"
        what = f"no event {event!r}{nearest(event, known)} ({there})"
        if not is_running:
            what = (
                f"no event {event!r} that has fired ({there}), and no orchestrator runs, which"
                " alone knows of others"
            )
        super().__init__(
            f"run name {run_name!r} has {what}",
            event=event,
            run_name=run_name,
            known=known,
            is_running=is_running,
        )


class ConditionError(WorkflowError, TypeError):
    """An event's condition has a form, or gave a value, that cannot be used."""

    def __init__(self, event: str, why: str) -> None:
        super().__init__(f"condition of event {event!r}: {why}", event=event, why=why)


class ActionFailed(WorkflowError, RuntimeError):
    """An action, a condition or ``main`` raised; its exception is the cause of this one."""

    def __init__(self, event: str, study: Optional[str], error: BaseException) -> None:
        where = f" ({study})" if study else ""
        message = f"{event}{where} raised {type(error).__name__}: {error}"
        super().__init__(message, event=event, study=study, error=error)


class FailedRun(Facts):
    """Why one run counts as failed, what its policy makes of that, and the phase of a pipeline
    that it is part of."""

    study: str
    run_id: int
    state: str
    cause: str
    policy: str
    phase: str

    def __init__(
        self,
        study: str,
        run_id: int,
        state: str,
        cause: str,
        policy: str = "keep",
        phase: str = "",
    ) -> None:
        facts = {"study": study, "run_id": run_id, "state": state, "cause": cause}
        super().__init__(**facts, policy=policy, phase=phase)

    def of_phase(self, phase: str) -> FailedRun:
        """The same, as part of a phase: a step and a system."""
        return FailedRun(**{**self.__dict__, "phase": phase})

    def __str__(self) -> str:
        where = f"{self.phase}: " if self.phase else ""
        return f"{where}{self.study}.{self.run_id} {self.state}: {self.cause}"


class RunsFailed(WorkflowError, RuntimeError):
    """Runs that somebody waited for ended badly."""

    failed: Tuple[FailedRun, ...]
    #: How many have failed meanwhile, with those that nobody waited for.
    n_in_all: int

    def __init__(self, failed: Sequence[FailedRun]) -> None:
        shown = [str(run) for run in failed[:10]]
        if len(failed) > 10:
            shown.append(f"and {len(failed) - 10} more")
        word = "run" if len(failed) == 1 else "runs"
        message = f"{len(failed)} {word} failed: " + "; ".join(shown)
        super().__init__(message, failed=tuple(failed))
        self.n_in_all = len(failed)


class PhaseFailed(WorkflowError, RuntimeError):
    """A phase of a pipeline, a step for one system, failed apart from its runs."""

    phase: str
    cause: str

    def __init__(self, phase: str, cause: str) -> None:
        super().__init__(f"{phase} failed: {cause}", phase=phase, cause=cause)


class JobSideError(MotokoError, RuntimeError):
    """A job script asked for its run outside of one, or its run directory is damaged."""
