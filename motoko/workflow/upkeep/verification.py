"""Checking a workflow's databases against themselves, each other and what lies on the disk.

Nothing is changed, so that it works on a copy that cannot be written too. What others do
meanwhile is no finding: directories are listed before the runs are read, and the workflow's
database is read before the studies'.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.errors import ArchiveDamaged, JobSideError, MotokoError
from motoko.job.facts import read_facts
from motoko.job.journal import list_journals
from motoko.job.layout import RUN_FILE
from motoko.job.outcome import read_failure, read_outcome
from motoko.job.token import read_token
from motoko.launch.work import open_runs
from motoko.model import states
from motoko.store import audit
from motoko.store.deletion import deleted_runs
from motoko.store.ranges import numbers
from motoko.store.rebuild import LOST_RUNS
from motoko.store.transaction_log import TransactionLog
from motoko.study.archive import archive_of, packed_facts
from motoko.study.files import content_digest
from motoko.study.packed import packed_runs
from motoko.study.presence import closed_runs
from motoko.study.study import Study
from motoko.workflow import control, making, opening, put_back
from motoko.workflow.places import served
from motoko.workflow.upkeep.findings import Report

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.workflow.workflow import Workflow

_REPAIR = "run `motoko repair`"
_AGAIN = "what lies in it is not checked: make it readable, and check again"
#: How long commits that others are just making may take to reach every study.
_UNDER_WAY_S = 5.0
_PAUSE_S = 0.05


def verify(workflow: Workflow) -> Report:
    """Check everything; reads every run, so that it takes seconds at a hundred thousand."""
    report = Report()
    if (unfinished := put_back.unfinished(workflow)) is not None:
        report.add("workflow", "databases are of two moments", str(unfinished))
    for file, _ in served(workflow):
        _check_file(report, file, os.path.relpath(file, workflow.directory))
    known = _check_ledger(report, workflow)
    for manager in workflow.task_managers.values():
        _Verification(report, workflow, manager.base, known.get(manager.study, set())).check()
    _check_commits(report, workflow)
    return report


# files


def _check_file(report: Report, file: Path, name: str) -> None:
    if not file.exists():
        report.add(
            name, "is not there", f"{_REPAIR}, or `motoko create` if there never was one"
        )
        return
    try:
        with TransactionLog(file) as log:
            while log.advance():
                pass
            behind = log.n_bytes_behind
            if behind and not log.is_under_way and not log.advance():
                what = f"is damaged at byte {log.end}: the {behind} bytes from there on are no"
                report.add(name, f"{what} complete transactions", _REPAIR)
            report.checked.append(f"{name}: {log.n_transactions} transactions")
    except MotokoError as error:
        report.add(name, "is no database, or its beginning is damaged", f"{_REPAIR} ({error})")


# the workflow's own database


def _check_ledger(report: Report, workflow: Workflow) -> dict[str, set[int]]:
    """Check variables and firings; the runs that firings were called for, by study."""
    known: dict[str, set[int]] = {}
    try:
        opening.open_ledger(workflow)
        with workflow.vars.db.read() as ledger:
            n_variables, firings = len(ledger.variables()), ledger.firings()
            names = ledger.run_names()
            for problem in audit.ledger_problems(ledger):
                report.add("workflow", problem, _REPAIR)
    except (MotokoError, ValueError, KeyError) as error:
        report.add("workflow", f"its database cannot be read: {error}", _REPAIR)
        return known
    for record in firings.values():
        for study, ids in {record["study"]: record["runs"], **record["created"]}.items():
            if study is not None:
                known.setdefault(study, set()).update(numbers(ids))
    counts = f"{n_variables} variables, {len(names)} run names, {len(firings)} firings"
    report.checked.append(f"workflow: {counts}")
    return known


def _check_commits(report: Report, workflow: Workflow) -> None:
    deadline = time.monotonic() + _UNDER_WAY_S
    try:
        while True:
            waiting = _waiting(workflow)
            is_alone = control.server_office(workflow).owner() is None
            if not waiting or is_alone or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_S)
    except (MotokoError, ValueError, KeyError):
        return  # a database that cannot be read was reported before
    report.checked.append("workflow: commits over several databases")
    for mark, studies in waiting.items():
        unknown = [study for study in studies if study not in workflow.task_managers]
        advice = "run `motoko server start`: whoever connects completes it"
        if unknown:
            advice = f"put {', '.join(unknown)} back into motoko.yaml"
        what = f"the commit {mark} has not reached {', '.join(studies)}"
        report.add("workflow", what, advice)


def _waiting(workflow: Workflow) -> dict[str, list[str]]:
    """The commits that were decided and have not reached some studies, with these."""
    with workflow.vars.db.read() as ledger:
        commits = ledger.commits()
    waiting: dict[str, list[str]] = {}
    for mark, parts in commits.items():
        for study in parts:
            manager = workflow.task_managers.get(study)
            if manager is not None:
                with manager.base.database.read() as tables:
                    if tables.has_applied(mark):
                        continue
            waiting.setdefault(mark, []).append(study)
    return waiting


# studies


class _Verification:
    """The check of one study."""

    def __init__(
        self, report: Report, workflow: Workflow, study: Study, known: set[int]
    ) -> None:
        """``known`` are runs that the workflow's database speaks of."""
        self._report = report
        self._workflow = workflow
        self._study = study
        self._known = known
        self._runs_launcher = control.launcher_office(workflow).owner() is not None
        self._deleted: set[int] = set()

    def check(self) -> None:
        """Check database, run directories and stored files."""
        study = self._study
        directories = study.run_dirs()
        try:
            opening.open_study(study, control.server_office(self._workflow))
            with study.database.read() as tables:
                problems = [*audit.structure(tables), *audit.problems(tables)]
                rows = {run_id: tables.run(run_id) for run_id in tables.run_ids()}
                attempts = {run_id: tables.attempts(run_id) for run_id in rows}
                generations = tables.generations
                executing = set(open_runs(tables))
                manifests = tables.manifests()
                n_jobs = len(list(tables.job_ids()))
                self._check_known(tables)
        except (MotokoError, ValueError, KeyError) as error:
            self._report.add(study.name, f"its database cannot be read: {error}", _REPAIR)
            return
        for problem in problems:
            self._report.add(study.name, problem, _REPAIR)
        what = f"{len(rows)} runs, {n_jobs} jobs, their indexes, groups and counters"
        self._report.checked.append(f"{study.name}: {what}")
        if (closed := closed_runs(study)) is None:
            self._check_directories(rows, attempts, directories, generations, executing)
        else:
            self._report.add(study.name, closed, _AGAIN)
        self._check_stored(manifests)

    def _check_known(self, tables: Tables) -> None:
        self._deleted = set(deleted_runs(tables))
        told = {*numbers(tables.fact(LOST_RUNS) or []), *self._deleted}
        lost = [r for r in self._known - told if not tables.has_run(r)]
        what = "firings speak of them, and the database has none"
        advice = f"{_REPAIR}; runs that were never launched are made again by the orchestrator"
        self._report.add_runs(self._study.name, lost, what, advice)

    def _check_directories(
        self,
        rows: Mapping[int, Mapping[str, Any]],
        attempts: Mapping[int, list[dict[str, Any]]],
        directories: Mapping[int, Path],
        generations: Collection[str],
        executing: set[int],
    ) -> None:
        kinds: dict[str, list[int]] = {kind: [] for kind in _KINDS}
        for run_id, row in rows.items():
            directory = directories.get(run_id)
            record = attempt_record(attempts[run_id], row)
            if directory is None:
                kind = self._kind_of_absent(run_id, row, record)
            else:
                kind = self._kind(run_id, row, record, directory, generations, executing)
            if kind is not None:
                kinds[kind].append(run_id)
        for run_id, directory in directories.items():
            if run_id not in rows:
                kinds[_kind_of_unknown(directory, generations)].append(run_id)
        self._report_packed(rows, directories, generations, kinds)
        self._report_set_aside(kinds)
        for kind, run_ids in kinds.items():
            self._report.add_runs(self._study.name, run_ids, *_KINDS[kind])
        live = " (what executes is the launcher's)" if self._runs_launcher else ""
        checked = f"{self._study.name}: {len(directories)} run directories{live}"
        self._report.checked.append(checked)
        if n_packed := sum(archive_of(row) is not None for row in rows.values()):
            self._report.checked.append(f"{self._study.name}: {n_packed} packed runs")

    def _report_packed(
        self,
        rows: Mapping[int, Mapping[str, Any]],
        directories: Mapping[int, Path],
        generations: Collection[str],
        kinds: dict[str, list[int]],
    ) -> None:
        """Say which runs only archives have; what cannot be read was said of those in it."""
        packed = packed_runs(self._study, generations, [])
        gone = {*kinds["missing"], *(r for r in packed if r not in rows)}
        gone -= {*self._deleted, *directories}
        nonces = {r: rows[r]["nonce"] for r in gone if r in rows}
        kinds["unnoted"] = [
            r for r in packed if r in gone and nonces.get(r) in (None, packed[r].facts["nonce"])
        ]
        kinds["missing"] = [r for r in kinds["missing"] if r not in kinds["unnoted"]]

    def _report_set_aside(self, kinds: dict[str, list[int]]) -> None:
        """Of directories that are gone, say which a command has moved, and to where."""
        places: dict[Path, list[int]] = {}
        for run_id in kinds["missing"]:
            found = making.find_set_aside(self._study.run_dir(run_id), self._workflow)
            if found is not None:
                places.setdefault(found.parent, []).append(run_id)
        for place, run_ids in places.items():
            advice = f"move it back from {place}, or compute the run again with `motoko clean`"
            what, _ = _KINDS["missing"]
            self._report.add_runs(self._study.name, run_ids, what, advice)
            kinds["missing"] = [r for r in kinds["missing"] if r not in run_ids]

    def _kind_of_absent(
        self, run_id: int, row: Mapping[str, Any], record: Mapping[str, Any]
    ) -> str | None:
        """What is wrong with a run that has no directory; None if nothing is."""
        archive, has_begun = archive_of(row), row.get("nonce") and "start_time" in record
        if archive is None:
            return "missing" if has_begun else None
        try:
            facts = packed_facts(self._study, run_id, archive)
        except ArchiveDamaged:
            return "unreadable"
        if not has_begun or facts.get("nonce", row["nonce"]) == row["nonce"]:
            return None
        return "ahead" if facts.get("attempt", 0) > row["attempt"] else "other"

    def _kind(
        self,
        run_id: int,
        row: Mapping[str, Any],
        record: Mapping[str, Any],
        directory: Path,
        generations: Collection[str],
        executing: set[int],
    ) -> str | None:
        """What is wrong with the directory of a run; None if nothing is."""
        try:
            facts = read_facts(directory)
        except JobSideError:
            is_over = "end_time" in record
            return (
                "damaged" if is_over and row.get("nonce") and "start_time" in record else None
            )
        token = read_token(directory, facts["attempt"])
        found = {facts.get("generation")}
        if token is not None and token.facts:
            found.add(token.facts.get("generation"))
        if not found.issubset(generations):
            return "foreign"
        if facts["nonce"] != row.get("nonce"):
            is_ahead = facts["attempt"] > row.get("attempt", 0)
            return "ahead" if is_ahead and not self._runs_launcher else None
        if run_id in executing:
            has_ended = read_outcome(directory, facts["attempt"], facts["nonce"]) is not None
            return "unrecorded" if has_ended and not self._runs_launcher else None
        if not self._runs_launcher and _has_unfolded(directory, facts, record):
            return "unfolded"
        if record.get("state") == states.FINISHED and read_failure(directory, facts["nonce"]):
            return "contradicted"
        is_over = row["state"] != states.CREATED
        return "packed" if is_over and archive_of(row) is not None else None

    def _check_stored(self, manifests: Mapping[str, Mapping[str, Any]]) -> None:
        entries = {e["hash"]: e for m in manifests.values() for e in m["files"]}
        for digest, entry in entries.items():
            file = self._study.files.path(digest)
            what = None
            if not file.exists():
                what = "is lost"
            elif content_digest(file) != digest:
                what = "is damaged: its content does not have its checksum"
            if what is not None:
                name = f"{entry['name']} as runs were created with it ({digest[:12]})"
                advice = (
                    f"{_REPAIR}; or give runs the present files: motoko clean --current-files"
                )
                self._report.add(self._study.name, f"{name} {what}", advice)
        self._report.checked.append(f"{self._study.name}: {len(entries)} stored files")


_KINDS = {
    "missing": (
        "the database has results, and the run directory is gone",
        "it was not moved by Motoko: get it back, or compute the run again with `motoko clean`",
    ),
    "unnoted": ("an archive has them, and the database does not say so", _REPAIR),
    "unreadable": (
        "the archive that they are packed in is gone, or cannot be read",
        "get the archive back, or compute the runs again with `motoko clean`",
    ),
    "other": (
        "its archive has another attempt than the database, and there is no directory",
        "get the directory back, or compute the run again with `motoko clean`",
    ),
    "packed": (
        "it is said to be packed, and its directory is there too",
        "`motoko archive` packs what is there, `motoko archive --unpack` leaves it there",
    ),
    "damaged": (
        f"the run directory has no readable {RUN_FILE}",
        "compute the run again with `motoko clean`, unless the database has all you need",
    ),
    "foreign": (
        "the run directory was made for another database than the present one",
        "move it away; the launcher does so itself before it uses the directory",
    ),
    "ahead": ("the run directory is of a later attempt than the database knows", _REPAIR),
    "unrecorded": (
        "ended, and the database does not know",
        "run `motoko launcher start`, or `motoko repair` while no launcher runs",
    ),
    "contradicted": (
        "the database says that it finished, and its sentinel FAILED that it did not",
        "look at what it left; `motoko runs retry` executes it again",
    ),
    "unfolded": ("journals say more than the database has taken in", _REPAIR),
    "unknown": ("there is a run directory, and the database has no such run", _REPAIR),
    "stray": (
        "there is a run directory of another database, and no such run in the present one",
        "move it away",
    ),
}


def attempt_record(attempts: list[dict[str, Any]], row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is recorded of the present attempt of a run."""
    for record in attempts:
        if record["number"] == row.get("attempt"):
            return record
    return {}


def _kind_of_unknown(directory: Path, generations: Collection[str]) -> str:
    try:
        is_ours = read_facts(directory).get("generation") in generations
        return "unknown" if is_ours else "stray"
    except JobSideError:
        return "stray"


def _has_unfolded(directory: Path, facts: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    folded = record.get("folded", {})
    return any(
        Path(journal).stat().st_size > folded.get(Path(journal).name, 0)
        for journal in list_journals(directory, facts["attempt"])
    )
