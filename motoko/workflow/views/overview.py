"""What a workflow is doing, gathered from counters: processes, studies, failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motoko.errors import DatabaseUnavailable, MotokoError, RunNameNotFound, StudyNotFound
from motoko.model import states
from motoko.study.order import passed_over
from motoko.study.waiting import failed_run
from motoko.workflow import control, opening, reporter
from motoko.workflow.holding import held_since
from motoko.workflow.pipelines.failed import FailedCall, standing
from motoko.workflow.views.firing_log import Logged, logged
from motoko.workflow.views.troubles import standing_troubles, troubles

if TYPE_CHECKING:
    from motoko.daemon import Office, Owner
    from motoko.errors import FailedRun
    from motoko.store.tables import Tables
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

MOST_FAILED = 10
MOST_EVENTS = 20
#: So many of the runs that wait for a step are asked whether their pipeline has come to that.
_MOST_AWAITING = 1000


@dataclass
class StudyOverview:
    """Runs of one study by run name and state; or why nothing is known of them."""

    name: str
    directory: str
    #: Of a study whose file has mistakes nobody knows.
    runs_dir: str | None = None
    address: str | None = None
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Since when no run of it is to begin; None if nobody holds them.
    held: float | None = None
    #: By run name: CREATED runs that wait for a step of their pipeline, if there are any.
    awaiting: dict[str, int] = field(default_factory=dict)
    #: By run name that has come to its end: those of the first thousand of them that nobody
    #: has asked for.
    passed_over: dict[str, list[int]] = field(default_factory=dict)
    #: Names of files that are other than when its last run was made.
    changed_files: list[str] = field(default_factory=list)
    error: MotokoError | None = None

    @property
    def problem(self) -> str | None:
        """Why nothing is known of its runs."""
        if self.error is None:
            return None
        if self.is_broken:
            return str(self.error)
        return "no database yet; `motoko run` or `motoko create` makes it"

    @property
    def is_broken(self) -> bool:
        """Whether there is a database, which cannot be read."""
        return self.error is not None and not isinstance(self.error, StudyNotFound)

    @property
    def total(self) -> dict[str, int]:
        """Runs of all run names by state."""
        found: dict[str, int] = {}
        for counts in self.counts.values():
            for state, n_runs in counts.items():
                found[state] = found.get(state, 0) + n_runs
        return found


@dataclass
class Overview:
    """Everything that ``motoko info`` shows."""

    directory: str
    server: Owner | None
    launcher: Owner | None
    orchestrators: dict[str, Owner]
    studies: list[StudyOverview]
    run_names: dict[str, dict[str, Any]]
    variables: dict[str, Any]
    failed: list[FailedRun]
    n_failed: int
    #: Functions of pipelines, of the run names that are orchestrated or were last.
    failed_functions: list[FailedCall]
    #: The last firings, oldest first.
    events: list[Logged]
    #: By run name: since when it is stalled, and what each condition lacks.
    stalls: dict[str, Mapping[str, Any]]
    #: What keeps it from going on, in sentences.
    troubles: list[str]
    #: Whether the workflow's own file has some; they are among the troubles.
    has_mistakes: bool = False
    #: Why nothing is known of variables and firings, though there should be a database of them.
    error: MotokoError | None = None

    @property
    def is_cut_off(self) -> bool:
        """Whether a server did not answer, which may have come to its end meanwhile."""
        errors = [self.error, *(study.error for study in self.studies)]
        return any(isinstance(e, DatabaseUnavailable) and e.transient for e in errors)

    def as_json(self) -> dict[str, Any]:
        """The documented keys of ``motoko info --json``."""
        return {
            "directory": self.directory,
            "server": self.server and self.server.described(),
            "launcher": self.launcher and self.launcher.described(),
            "orchestrators": [o.described() for o in self.orchestrators.values()],
            "studies": [
                {
                    "study": study.name,
                    "directory": study.directory,
                    "runs_dir": study.runs_dir,
                    "address": study.address,
                    "run_names": study.counts,
                    "total": study.total,
                    "held": study.held,
                    "awaiting": study.awaiting,
                    "passed_over": study.passed_over,
                    "changed_files": study.changed_files,
                    "problem": study.problem,
                }
                for study in self.studies
            ],
            "run_names": [{"run_name": n, **facts} for n, facts in self.run_names.items()],
            "variables": self.variables,
            "events": [event.as_json() for event in self.events],
            "stalls": [{"run_name": name, **stall} for name, stall in self.stalls.items()],
            "troubles": self.troubles,
            "n_failed": self.n_failed,
            "failed": [failed_as_json(run) for run in self.failed],
            "failed_functions": [one._asdict() for one in self.failed_functions],
        }


def failed_as_json(run: FailedRun) -> dict[str, Any]:
    """A failed run as JSON has it."""
    return {"run": f"{run.study}.{run.run_id}", "state": run.state, "cause": run.cause}


def look(
    workflow: Workflow,
    studies: tuple[str, ...],
    run_name: str | None,
    most_events: int | None = MOST_EVENTS,
) -> Overview:
    """Gather what is to be known, from counters; databases that cannot be read are named.

    RunNameNotFound for a run name that nothing was begun under.
    """
    names = studies or tuple(workflow.task_managers)
    unread = () if studies else tuple(workflow.unread)
    office = control.server_office(workflow)
    overview = Overview(
        directory=str(workflow.directory),
        server=office.owner(),
        launcher=control.launcher_office(workflow).owner(),
        orchestrators=control.orchestrators(workflow),
        studies=[],
        run_names={},
        variables={},
        failed=[],
        n_failed=0,
        failed_functions=[],
        events=[],
        stalls={},
        troubles=[],
    )
    seen = set(overview.orchestrators)
    bases = [workflow.task_manager(name).base for name in names]
    # A server that is silent is waited for once.
    with ThreadPoolExecutor(max(1, len(bases))) as pool:
        problems = list(pool.map(lambda study: _open(study, office), bases))
    for name, study, problem in zip(names, bases, problems, strict=True):
        found = StudyOverview(
            name, str(study.directory), str(study.runs_dir), str(study.address)
        )
        overview.studies.append(found)
        try:
            if problem is not None:
                raise problem
            with study.database.read() as tables:
                seen.update(name for name, _, _ in tables.groups.counted())
                found.counts = _counts(tables, run_name)
                found.held = held_since(tables)
                awaiting = {name: tables.n_awaiting_step(name) for name in found.counts}
                found.awaiting = {name: n for name, n in awaiting.items() if n}
                idle = found.awaiting.keys() - overview.orchestrators.keys()
                found.passed_over = _passed_over(tables, idle)
                found.changed_files = changed_files(study, tables)
                _add_failed(overview, study, tables, run_name)
        except MotokoError as error:
            found.error = error
    for name in unread:
        directory = str(workflow.config.study_dir(name))
        overview.studies.append(StudyOverview(name, directory, error=workflow.unread[name]))
    if not overview.studies or not all(study.problem for study in overview.studies):
        _add_ledger(overview, workflow, run_name, most_events)
    known = in_order(seen, overview.run_names)
    if run_name is not None and run_name not in known and _is_complete(overview):
        raise RunNameNotFound(run_name, known)
    overview.has_mistakes = bool(workflow.mistakes)
    overview.troubles += map(str, workflow.mistakes)
    overview.stalls = stalls(workflow, overview.orchestrators)
    is_at_work = bool(overview.orchestrators or overview.launcher)
    overview.troubles += troubles(workflow) if is_at_work else standing_troubles(workflow)
    if overview.error is not None and str(overview.error) not in overview.troubles:
        overview.troubles.append(str(overview.error))
    return overview


def in_order(names: Iterable[str], began: Iterable[str]) -> list[str]:
    """Run names, the one that was begun last at the end; of others nobody knows when."""
    ordered = list(began)
    return [*sorted(set(names).difference(ordered)), *ordered]


def stalls(
    workflow: Workflow, orchestrators: Mapping[str, Owner]
) -> dict[str, Mapping[str, Any]]:
    """Which of the orchestrators say that nothing can happen any more, by run name."""
    here = [name for name, owner in orchestrators.items() if owner.is_here]
    reports = {name: reporter.ask(workflow.state_dir, name) for name in here}
    return {name: r["stall"] for name, r in reports.items() if r is not None and r["stall"]}


def _is_complete(overview: Overview) -> bool:
    """Whether all that is there could be read, so that what was not found is not there."""
    return bool(overview.run_names) and not any(s.is_broken for s in overview.studies)


def _open(study: Study, server: Office) -> MotokoError | None:
    try:
        opening.open_study(study, server)
    except MotokoError as error:
        return error
    return None


def changed_files(study: Study, tables: Tables) -> list[str]:
    """Files of the study that are other than when its last run was made."""
    last = tables.last_run_id
    if not tables.has_run(last):
        return []
    manifest = tables.manifest(tables.run(last).get("files")) or {}
    return study.versions.changed_since(manifest.get("code"))


def _counts(tables: Tables, run_name: str | None) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, state, n_runs in tables.groups.counted():
        if n_runs and run_name in (None, name):
            found.setdefault(name, {})[state] = n_runs
    return found


def _passed_over(tables: Tables, run_names: Iterable[str]) -> dict[str, list[int]]:
    first = {name: tables.awaiting_step(name)[:_MOST_AWAITING] for name in run_names}
    found = {name: passed_over(tables, ids) for name, ids in first.items()}
    return {name: ids for name, ids in found.items() if ids}


def _add_failed(overview: Overview, study: Study, tables: Tables, run_name: str | None) -> None:
    constraint = tables.parse(f"state = {states.FAILED}")
    if run_name is not None:
        constraint = constraint.restricted_to(run_name)
    n_failed = tables.count(constraint)
    overview.n_failed += n_failed
    if n_failed and len(overview.failed) < MOST_FAILED:
        latest = tables.select(constraint)[-(MOST_FAILED - len(overview.failed)) :]
        overview.failed += [failed_run(study, tables, run_id) for run_id in latest]


def _add_ledger(
    overview: Overview, workflow: Workflow, run_name: str | None, most_events: int | None
) -> None:
    try:
        opening.open_ledger(workflow)
        with workflow.vars.db.read() as ledger:
            overview.run_names = ledger.run_names()
            overview.variables = ledger.variables()
            orchestrated = overview.orchestrators
            overview.events = logged(ledger, orchestrated, run_name=run_name, last=most_events)
            present = [run_name] if run_name else [*orchestrated] or [*overview.run_names][-1:]
            overview.failed_functions = [one for n in present for one in standing(ledger, n)]
    except StudyNotFound:
        return  # nothing was begun yet
    except MotokoError as error:
        overview.error = error
