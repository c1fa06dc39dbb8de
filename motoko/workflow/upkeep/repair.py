"""Rebuilding the databases of a workflow that are damaged, lost or behind.

A new file is made of what can be read of the old one (`salvage`, `rebuild`) and of what the
run directories say (`reconcile`), beside the old one, and takes its place at the end in one
step. If nothing was amiss, the old one stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.crashpoints import reached
from motoko.errors import AlreadyRunning, ForeignOwner, MotokoError, StudyNotFound
from motoko.launch.reconcile import Reconciled, generation_of, reconcile
from motoko.launch.stored_files import restore_stored
from motoko.paths import WORKFLOW_DATABASE
from motoko.phrases import counted
from motoko.store import audit, layout, rebuild
from motoko.store.decision import take_over
from motoko.store.deletion import deleted_runs
from motoko.store.ranges import numbers, ranges
from motoko.store.salvage import Salvage, salvage
from motoko.study.archive import archive_files
from motoko.study.study import Study
from motoko.workflow import control, making, put_back
from motoko.workflow.places import served
from motoko.workflow.upkeep.findings import runs_in_words
from motoko.workflow.upkeep.replacing import beside, present_file, put_in_place, set_aside

if TYPE_CHECKING:
    from motoko.store.database import Database
    from motoko.store.tables import Tables
    from motoko.workflow.workflow import Workflow

_SUFFIX = ".repaired"
_AGAIN = (
    "main, and actions whose condition still holds, make them again under other ids; for those"
    " of other actions, put what these fired for back into its state (`motoko runs update`)"
)


_WITHOUT = "which know nothing of what was changed in the database alone"

#: When a firing ended, if it did, and the runs that it changed.
_Change = tuple[float | None, set[int]]


@dataclass
class _Known:
    """What the workflow's database knows of studies, by their names."""

    #: Commits that have not reached every study, by mark.
    commits: Mapping[str, Any] = field(default_factory=dict)
    #: Runs that firings made.
    created: dict[str, set[int]] = field(default_factory=dict)
    changed: dict[str, list[_Change]] = field(default_factory=dict)


@dataclass
class Repaired:
    """What was done and what could not be done, a sentence each."""

    done: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    #: Where the databases as they were lie, if any was replaced.
    aside: Path | None = None


def repair(workflow: Workflow, names: Sequence[str] = ()) -> Repaired:
    """Rebuild what needs it of some studies, or of all and the workflow's own database.

    Raises AlreadyRunning while anything of the workflow runs, RestoreUnfinished for databases
    of two moments, and StudyNotFound when there is nothing to make a database of.
    """
    check_nothing_runs(workflow)
    put_back.check(workflow)
    _check_has_any(workflow, names)
    with alone(workflow):
        return rebuild_databases(workflow, names)


def _check_has_any(workflow: Workflow, names: Sequence[str]) -> None:
    studies = [workflow.task_manager(name).base for name in names or workflow.task_managers]
    has_any = any(
        present_file(s.database_file) or s.run_dirs() or archive_files(s) for s in studies
    )
    if not has_any and present_file(workflow.state_dir / WORKFLOW_DATABASE) is None:
        raise StudyNotFound(str(workflow.directory), layout.NO_DATABASE)


def rebuild_databases(
    workflow: Workflow, names: Sequence[str] = (), *, with_new: bool = True
) -> Repaired:
    """The same, inside of `alone`. Runs that only a directory knows of are brought back, unless
    told otherwise by ``with_new``."""
    studies = [workflow.task_manager(name).base for name in names or workflow.task_managers]
    return _Repair(workflow, with_new).run(studies, with_ledger=not names)


@contextmanager
def alone(workflow: Workflow) -> Iterator[None]:
    """Inside the block nobody else serves the databases; AlreadyRunning if somebody does."""
    office = control.server_office(workflow)
    office.take({"files": [str(one.file) for one in served(workflow)]})
    try:
        yield
    finally:
        workflow.close()
        office.leave()


def check_nothing_runs(workflow: Workflow) -> None:
    """AlreadyRunning while an orchestrator, the launcher or the server runs; ForeignOwner if
    that is on another host, where alone it can be stopped."""
    running = control.orchestrators(workflow)
    offices = [control.orchestrator_office(workflow, name) for name in running]
    offices += [control.launcher_office(workflow), control.server_office(workflow)]
    for office in offices:
        owner = office.owner()
        if owner is not None and not owner.is_here:
            raise ForeignOwner(office.what, str(owner))
        if owner is not None:
            raise AlreadyRunning(office.what, str(owner), "motoko kill")


class _Repair:
    def __init__(self, workflow: Workflow, with_new: bool) -> None:
        self._workflow = workflow
        self._with_new = with_new
        self._result = Repaired()
        self._aside = making.new_backup(workflow)
        #: Studies of which the result says which runs are lost.
        self._told: list[Study] = []

    def run(self, studies: Sequence[Study], *, with_ledger: bool) -> Repaired:
        """Repair them all."""
        ledger_file = self._workflow.state_dir / WORKFLOW_DATABASE
        if with_ledger:
            self._repair_ledger(ledger_file)
        known = self._read_ledger(ledger_file)
        for study in studies:
            if not study.is_served_here:
                why = f"its database is served at {study.address}: repair it there"
                self._result.undone.append(f"{study.name}: {why}")
                continue
            self._repair_study(study, known)
        reached("repair.stored")
        for study in self._told:
            _set_fact(study, rebuild.UNTOLD_RUNS, None)
        return self._result

    # the workflow's own database

    def _repair_ledger(self, file: Path) -> None:
        present = present_file(file)
        found = None if present is None else salvage(present, layout.WORKFLOW)
        database = self._workflow.vars.db
        if found is not None and found.is_whole and not _problems(database, file):
            return
        new = _fresh(file)
        database.open_file(new, is_writable=True)
        database.initialise(layout.WORKFLOW, {"path": str(self._workflow.directory)})
        if found is not None:
            database.write(lambda view: rebuild.fill_ledger(view, found))
        self._replace(database, file, new)
        if found is None:
            self._result.done.append("workflow: made an empty database")
            self._result.undone.append(
                "workflow: variables, run names and firings are lost; go on with"
                " `motoko run --run_name NAME` and the options of that run name (actions fire"
                " again, also those that fire once)"
            )
            return
        self._result.done.append(f"workflow: made a new database; {_salvaged(found)}")
        if not found.is_whole:
            self._result.undone.append(
                "workflow: the latest changes of variables and firings may be missing"
            )

    def _read_ledger(self, file: Path) -> _Known:
        """What the workflow's database knows of studies."""
        known = _Known()
        if not file.exists():
            return known
        database = self._workflow.vars.db
        try:
            database.open_file(file)
            with database.read() as ledger:
                known.commits = ledger.commits()
                for record in ledger.firings().values():
                    for study, ids in record["created"].items():
                        known.created.setdefault(study, set()).update(numbers(ids))
                    for study, ids in record["updated"].items():
                        change = record["ended"], set(numbers(ids))
                        known.changed.setdefault(study, []).append(change)
        except (MotokoError, ValueError, KeyError) as error:
            why = f"its database cannot be read ({error}): run `motoko repair` without studies"
            self._result.undone.append(f"workflow: {why}")
            return _Known()
        finally:
            database.close()
        return known

    # studies

    def _repair_study(self, study: Study, known: _Known) -> None:
        file, database = study.database_file, study.database
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        present = present_file(file)
        found = None if present is None else salvage(present, layout.STUDY)
        is_sound = found is not None and found.is_whole and not _problems(database, file)
        new = _fresh(file)
        database.open_file(new, is_writable=True)
        facts = {"schema": study.schema.to_json(), "study": study.config.study}
        database.initialise(layout.STUDY, facts)
        filled = database.write(lambda tables: _fill(study, tables, found))
        reconciled = reconcile(study, filled.without_job, with_new=self._with_new)
        parts = {m: p[study.name] for m, p in known.commits.items() if study.name in p}
        taken = database.write(lambda tables: take_over(tables, parts))
        without_files = database.write(lambda tables: _let_go_of_files(tables, study))
        with database.read() as tables:
            manifests = tables.manifests()
            kept_back = [i for i in filled.without_job if not tables.has_run(i)]
        is_kept = is_sound and not reconciled.is_changed and not taken.n_commits
        if is_kept:
            database.close()
            _remove(new)
            lost = [] if found is None else [*numbers(found.fact(rebuild.UNTOLD_RUNS) or [])]
            self._tell_lost(study, lost)
        else:
            created = known.created.get(study.name, set())
            lost = database.write(lambda tables: _note_lost(tables, created))
            with database.read() as tables:
                changed = known.changed.get(study.name, [])
                damaged = None if is_sound else found
                older = _not_brought_back(tables, changed, reconciled.restored, damaged)
            self._tell_lost(study, lost)
            self._replace(database, file, new)
            self._tell(study, found, reconciled, older)
        self._tell_rest(study, reconciled, [*filled.without_task, *reconciled.without_task])
        if reconciled.newer:
            _set_fact(study, layout.LEFT_BEHIND, max(reconciled.newer))
        for what in taken.problems:
            self._result.undone.append(f"{study.name}: {what}")
        if without_files:
            why = "their files are lost; `motoko clean --current-files` gives them others"
            self._undone_runs(study, without_files, why)
        if kept_back:
            self._undone_runs(study, kept_back, "their parameters are lost, and so are they")
        names, missing = restore_stored(study, manifests)
        if names:
            self._result.done.append(f"{study.name}: stored again {', '.join(names)}")
        for name in missing:
            why = f"no copy was found of {name} as runs were created with it"
            advice = "`motoko clean --current-files` gives them the present one"
            self._result.undone.append(f"{study.name}: {why}; {advice}")

    def _tell(
        self, study: Study, found: Salvage | None, reconciled: Reconciled, older: list[int]
    ) -> None:
        with_salvage = "nothing of the old one could be read"
        if found is not None:
            with_salvage = _salvaged(found)
        self._result.done.append(f"{study.name}: made a new database; {with_salvage}")
        in_place = reconciled.restored - reconciled.packed
        for run_ids, where in (
            (in_place, "their directories"),
            (reconciled.packed, "archives"),
        ):
            if run_ids:
                words = f"{study.name}: {runs_in_words(sorted(run_ids))}"
                self._result.done.append(f"{words}: back from {where}, {_WITHOUT}")
        updated = sorted(reconciled.updated - reconciled.restored)
        if updated:
            words = runs_in_words(updated)
            self._result.done.append(f"{study.name}: {words}: brought up to their directories")
        if older:
            why = "actions had changed them (a state, an entry), which no directory tells"
            advice = "see `motoko info --events`, `motoko runs update`"
            self._undone_runs(study, older, f"{why}; what is there now may be older: {advice}")

    def _tell_lost(self, study: Study, lost: list[int]) -> None:
        """Say which runs are lost, and let actions make them again.

        Before the database has its place: whoever comes after a crash then does it again. The
        database keeps in mind that it is to be said, until all is done.
        """
        if lost:
            self._told.append(study)
            n_lost = f"{counted(len(lost), 'id')} {'is' if len(lost) == 1 else 'are'} missing: "
            why = f"no directory, also in no archive, so never launched, or deleted; {_AGAIN}"
            self._undone_runs(study, lost, why, n_lost)
            self._let_fire_again(study, lost)

    def _tell_rest(self, study: Study, reconciled: Reconciled, without_task: list[int]) -> None:
        if without_task:
            why = "which task they are is not known, so that the same task will be a new run"
            self._undone_runs(study, without_task, why)
        if reconciled.newer:
            why = "they were made since the backup; `motoko repair` takes them over, and then"
            why += " actions that look whether they are there do not make them again"
            self._undone_runs(study, reconciled.newer, why)
        if reconciled.foreign:
            why = "their directories were made for another database and are left alone"
            self._undone_runs(study, reconciled.foreign, why)
        for problem in reconciled.problems:
            self._result.undone.append(f"{study.name}: {problem}")

    def _undone_runs(
        self, study: Study, run_ids: Sequence[int], why: str, before: str = ""
    ) -> None:
        self._result.undone.append(f"{study.name}: {before}{runs_in_words(run_ids)}: {why}")

    def _let_fire_again(self, study: Study, lost: Sequence[int]) -> None:
        file = self._workflow.state_dir / WORKFLOW_DATABASE
        if not file.exists():
            return
        database = self._workflow.vars.db
        try:
            database.open_file(file, is_writable=True)
            gone = [(first, last) for first, last in ranges(lost)]
            n_firings = database.write(
                lambda ledger: rebuild.forget_firings_of(ledger, study.name, gone)
            )
        except MotokoError as error:
            what = f"actions that fire once may not make lost runs again: {error}"
            self._result.undone.append(f"{study.name}: {what}")
            return
        finally:
            database.close()
        if n_firings:
            what = f"{n_firings} firings of actions that fire once made runs that are lost"
            self._result.done.append(f"{study.name}: {what}: they may fire again")

    def _replace(self, database: Database[Any], file: Path, new: Path) -> None:
        """Put the new file in the place of the old one, and that one aside."""
        database.close()
        if file.exists():
            set_aside(file, self._aside, self._workflow)
        reached("repair.aside")
        put_in_place(new, file, self._aside, self._workflow)
        reached("repair.replaced")
        if self._aside.exists():
            self._result.aside = self._aside
        _remove(new)


def _set_fact(study: Study, name: str, value: Any) -> None:
    """Store a fact in the database that is there now."""
    study.database.open_file(study.database_file, is_writable=True)
    study.database.write(lambda tables: tables.set_fact(name, value))
    study.database.close()


def _fill(study: Study, tables: Tables, found: Salvage | None) -> rebuild.Filled:
    filled = rebuild.Filled() if found is None else rebuild.fill_study(tables, found)
    if found is None or found.fact("generation") is None:
        generation = generation_of(study)
        if generation is not None:
            tables.set_fact("generation", generation)
    return filled


def _present_files(study: Study) -> Mapping[str, Any] | None:
    try:
        return study.manifest()
    except MotokoError:
        return None  # a file of the study is missing


def _let_go_of_files(tables: Tables, study: Study) -> list[int]:
    """Runs whose files nobody knows any more, unless they are those of now."""
    unknown = []
    known = tables.manifests()
    for run_id in list(tables.run_ids()):
        key = tables.run(run_id).get("files")
        if key is None or key in known:
            continue
        present = _present_files(study)
        if present is not None and present["key"] == key:
            tables.set_manifest(key, present)
        else:
            tables.update_run(run_id, {"files": None})
            unknown.append(run_id)
    return unknown


def _note_lost(tables: Tables, known: set[int]) -> list[int]:
    """Keep in the database which runs are lost; those of which that was not known before."""
    last = max([tables.last_run_id, *known])
    if last:
        tables.trees["last"]["run"] = last
    before = set(numbers(tables.fact(rebuild.LOST_RUNS) or []))
    missing = rebuild.missing_runs(tables)
    if missing:
        tables.set_fact(rebuild.LOST_RUNS, ranges(missing))
        tables.set_fact(layout.HAS_DELETED, True)
    gone = before.union(deleted_runs(tables)).difference(
        numbers(tables.fact(rebuild.UNTOLD_RUNS) or [])
    )
    lost = [run_id for run_id in missing if run_id not in gone]
    tables.set_fact(rebuild.UNTOLD_RUNS, ranges(lost) or None)
    return lost


def _not_brought_back(
    tables: Tables, changes: Sequence[_Change], restored: set[int], found: Salvage | None
) -> list[int]:
    """Runs that firings had changed after all began that is known of them here; ``found`` is
    what was salvaged of a damaged database."""
    older: set[int] = set()
    for ended, run_ids in changes:
        concerned = run_ids & restored
        if found is not None and (found.n_objects_lost or (ended or inf) > found.last):
            concerned = run_ids
        for run_id in filter(tables.has_run, concerned):
            if (ended or inf) > tables.run(run_id).get("start_time", 0.0):
                older.add(run_id)
    return sorted(older)


def _problems(database: Database[Any], file: Path) -> list[str]:
    """What a database that can be read contradicts itself in."""
    try:
        layout.check_not_cut(file)
        database.open_file(file)
        with database.read() as view:
            if hasattr(view, "runs_of"):
                return [*audit.structure(view), *audit.problems(view)]
            return audit.ledger_problems(view)
    except Exception as error:  # whatever damaged bytes are taken for
        return [str(error)]
    finally:
        database.close()


def _salvaged(found: Salvage) -> str:
    n_runs = len(found.trees.get("runs", ()))
    kept = counted(n_runs, "run") if "runs" in found.trees else "all"
    if found.is_whole:
        return f"{kept} of the old one could be read"
    damage = [counted(found.n_bytes_lost, "byte")] if found.n_bytes_lost else []
    damage += [counted(found.n_objects_lost, "object")] if found.n_objects_lost else []
    for name, n in found.unreadable.items():
        damage.append(f"{n} {'entry' if n == 1 else 'entries'} of {name}")
    return f"of the old one {', '.join(damage)} could not be read, {kept} could"


def _fresh(file: Path) -> Path:
    """The name of the new file, with nothing there."""
    new = Path(f"{file}{_SUFFIX}")
    _remove(new)
    return new


def _remove(file: Path) -> None:
    for path in [file, *beside(file)]:
        with suppress(FileNotFoundError):
            path.unlink()
