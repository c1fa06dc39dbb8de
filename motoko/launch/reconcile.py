"""A study's database brought up to what its run directories say, without changing these.

Run directories say what a launcher was told at the start of an attempt (`rundir`), and what its
script and its end have left. They do not say what somebody changed in the database by himself
after the start, and nothing of runs that were never launched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from motoko.errors import JobSideError, StudyError
from motoko.job import layout, outcome
from motoko.job.facts import read_facts
from motoko.job.journal import list_journals
from motoko.job.phases import Look
from motoko.launch.adoption import Fate, examine
from motoko.launch.attempt import Attempt
from motoko.launch.sentinels import SAID_FINISHED, Sentinels, sentinels
from motoko.model import policy, states
from motoko.store.codec import decode
from motoko.store.deletion import deleted_runs
from motoko.store.rebuild import insert_job, insert_run
from motoko.store.tables import Tables
from motoko.study.archive import ARCHIVE, archive_of, own_entries
from motoko.study.packed import PackedRun, latest_generation, looked_into, packed_runs
from motoko.study.study import Study
from motoko.study.system_dirs import placed

_RUNS_A_COMMIT = 1000
#: What the run's file says of a run besides its entries.
_NO_ENTRIES = ("id", "run_path", "exec")


@dataclass
class Reconciled:
    """What became of runs, by id; sentences for directories that could not be used."""

    #: Runs that the database did not have.
    restored: set[int] = field(default_factory=set)
    #: Runs of which it knew less than the directory.
    updated: set[int] = field(default_factory=set)
    #: Of the restored ones, those of which is not known which task they are.
    without_task: set[int] = field(default_factory=set)
    #: Runs that the database does not have, and that it was not to be given.
    newer: list[int] = field(default_factory=list)
    #: Of the restored ones, those that are packed away.
    packed: set[int] = field(default_factory=set)
    #: Directories that were made for another database.
    foreign: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        """Whether the database was changed."""
        return bool(self.restored or self.updated)


class Left(Attempt):
    """An attempt as its directory tells of it, in which nothing is written."""

    def write_files(self) -> None:
        """Leave the directory as it is."""
        self._leaving.drop()

    def take_ending(self, declared: Sentinels | None) -> None:
        """Find out from its files how it ended, if it did; OSError if they cannot be read.

        What a launcher has found then, its sentinel says. Only without that are the files asked
        which are ``declared`` to speak of its work: others may have changed them since.
        """
        finding = examine(self)
        failure = outcome.read_failure(self.run_dir, self.nonce)
        finished = _time_of(Path(self.run_dir, layout.FINISHED))
        self.files = declared
        if failure is not None:
            self.files = _Told(states.FAILED)
        elif finished is not None:
            self.files = _Told(states.FINISHED)
        if finding.started is not None:
            self.begin(finding.pid, finding.started, finding.host, finding.age_s)
        if finding.fate is Fate.ENDED:
            assert finding.outcome is not None
            self.end(finding.outcome.exit, finding.outcome.end)
        elif failure is not None and failure.get("end") is not None:
            self.end(None, float(failure["end"]))
        elif finding.fate is not Fate.UNSTARTED:
            self.fold()  # the launcher will find out the rest
        elif finished is not None:
            self.is_found_finished(finished)
        if failure is not None and self.state == states.FAILED:
            self._failure = failure.get("class") or self._failure
            self._cause = failure.get("cause") or self._cause


class _Told(Sentinels):
    """What the files that speak of a run said when somebody asked them last."""

    def __init__(self, state: str) -> None:
        self._state = state

    def look(self) -> Look:
        """What they said."""
        return Look(self._state, {}, {("", ""): [self._state]})

    def is_finished_else_fresh(self, warn: Callable[[str], object]) -> bool:
        """Whether nothing was left to be done."""
        if self._state == states.FINISHED:
            warn(SAID_FINISHED)
        return self._state == states.FINISHED

    def conclude(self) -> None:
        """That was done then."""


def _time_of(sentinel: Path) -> float | None:
    try:
        return sentinel.stat().st_mtime
    except FileNotFoundError:
        return None


def generation_of(study: Study) -> str | None:
    """The database that the latest of the run directories was made for, packed ones too."""
    latest = latest_generation(study)
    for directory in study.run_dirs().values():
        try:
            facts = read_facts(directory)
        except JobSideError:
            continue
        made = Path(layout.run_file(directory)).stat().st_mtime
        latest = max(latest, (made, str(facts.get("generation") or "")))
    return latest[1] or None


def reconcile(
    study: Study, without_job: Mapping[int, Mapping[str, Any]], *, with_new: bool = True
) -> Reconciled:
    """Give the database, which nobody else uses, what the run directories know better.

    ``without_job`` are runs that were salvaged without their jobs: a directory has it. Other
    runs that the database does not have are left out, unless ``with_new``.
    """
    found = Reconciled()
    directories = list(study.run_dirs().items())
    for start in range(0, len(directories), _RUNS_A_COMMIT):
        some = directories[start : start + _RUNS_A_COMMIT]

        def take(tables: Tables, some: list[tuple[int, Path]] = some) -> None:
            for run_id, directory in some:
                taking = _Taking(study, tables, found, run_id, directory)
                try:
                    taking.take(without_job.get(run_id), with_new)
                except (JobSideError, StudyError, ValueError, KeyError, TypeError) as error:
                    found.problems.append(f"run {run_id}: {error}")
                except OSError as error:
                    found.problems.append(f"run {run_id}: {directory}: {error.strerror}")

        study.database.write(take)
    _reconcile_packed(study, without_job, found, with_new=with_new)
    return found


def _reconcile_packed(
    study: Study,
    without_job: Mapping[int, Mapping[str, Any]],
    found: Reconciled,
    *,
    with_new: bool,
) -> None:
    """Take in what archives know better of runs that have no directory; those that were deleted
    are in them still, and stay deleted."""
    with study.database.read() as tables:
        packed = packed_runs(study, tables.generations, found.problems)
        gone = {*deleted_runs(tables), *study.run_dirs()}
        left = [p for r, p in packed.items() if r not in gone and not _is_known(tables, p)]

    def take(tables: Tables, some: list[PackedRun]) -> None:
        for one in some:
            try:
                salvaged = without_job.get(one.run_id)
                _take_packed(study, tables, found, one, salvaged, with_new=with_new)
            except (JobSideError, StudyError, ValueError, KeyError, TypeError) as error:
                found.problems.append(f"run {one.run_id}: {error}")
            except OSError as error:
                found.problems.append(f"run {one.run_id}: {one.archive}: {error.strerror}")

    for start in range(0, len(left), _RUNS_A_COMMIT):
        study.database.write(partial(take, some=left[start : start + _RUNS_A_COMMIT]))


def _is_known(tables: Tables, one: PackedRun) -> bool:
    """Whether the database knows all that an archive could say of a run."""
    if not tables.has_run(one.run_id):
        return False
    row = tables.run(one.run_id)
    if row.get("nonce") == one.facts["nonce"]:
        return "end_time" in row and archive_of(row) == one.archive
    return bool(row.get("attempt", 0) >= one.facts["attempt"])


def _take_packed(
    study: Study,
    tables: Tables,
    found: Reconciled,
    one: PackedRun,
    salvaged: Mapping[str, Any] | None,
    *,
    with_new: bool,
) -> None:
    run_id, is_new = one.run_id, not tables.has_run(one.run_id)
    row: Mapping[str, Any] = {} if is_new else tables.run(run_id)
    if row.get("nonce") != one.facts["nonce"] or "end_time" not in row:
        with looked_into(study, one) as directory:
            _Taking(study, tables, found, run_id, directory).take(salvaged, with_new)
    if not tables.has_run(run_id):
        return
    if tables.run(run_id).get("nonce") == one.facts["nonce"]:
        tables.update_run(run_id, {ARCHIVE: one.archive}, is_decided=True)
        found.updated.add(run_id)
    if is_new:
        found.packed.add(run_id)


class _Taking:
    """One run directory, and the run in the tables."""

    def __init__(
        self, study: Study, tables: Tables, found: Reconciled, run_id: int, directory: Path
    ) -> None:
        self._study = study
        self._tables = tables
        self._found = found
        self._run_id = run_id
        self._directory = directory

    def take(self, salvaged: Mapping[str, Any] | None, with_new: bool) -> None:
        """Bring the run up to what its directory says."""
        tables, run_id = self._tables, self._run_id
        facts = read_facts(self._directory)
        if facts.get("generation") not in tables.generations:
            self._found.foreign.append(run_id)
            return
        if facts["run_id"] != run_id:
            raise ValueError(f"{self._directory} is the directory of run {facts['run_id']}")
        manifest = facts.get("rebuild", {}).get("files")
        if manifest is not None:
            tables.set_manifest(manifest["key"], manifest)
        if not tables.has_run(run_id):
            if salvaged is None and not with_new:
                self._found.newer.append(run_id)
                return
            self._restore(facts, salvaged)
        if facts["attempt"] > tables.run(run_id).get("attempt", 0):
            self._check_same(tables.run(run_id), facts)
            self._begin(facts)
        for path in sorted(self._directory.glob("attempt-*")):
            self._take_earlier(path)
        if facts["nonce"] == tables.run(run_id).get("nonce"):
            self._take_present()

    def _check_same(self, row: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        stored = {k: v for k, v in self._tables.job(row["job_id"]).items() if k != "id"}
        is_same = row["run_name"] == facts["run"]["run_name"] and stored == self._job(facts)
        if not (is_same and self._is_same_task(row, facts)):
            raise ValueError(
                f"{self._directory} belongs to another job, run name or entries than the run"
                " that the database has under this id; move one of them away"
            )

    def _is_same_task(self, row: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
        """Whether a run that the database knows no attempt of was created with the entries that
        the directory was made for; others may have got its id since a backup."""
        told = facts.get("rebuild", {}).get("task", "")
        known = self._tables.task_mark(self._run_id).hex()
        return bool(row.get("attempt")) or not told or told == known

    def _job(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        values = {**facts["job"], **_exact(facts, "job")}
        return self._tables.schema.convert_job(values)

    def _row(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The run as it was when the attempt began."""
        told = own_entries({**facts["run"], **_exact(facts, "run")})
        row = {name: value for name, value in told.items() if name not in _NO_ENTRIES}
        row.update(state=states.SUBMITTED, attempt=facts["attempt"], nonce=facts["nonce"])
        manifest = facts.get("rebuild", {}).get("files")
        if manifest is not None:
            row["files"] = manifest["key"]
        return row

    def _restore(self, facts: Mapping[str, Any], salvaged: Mapping[str, Any] | None) -> None:
        """Put in a run that the database has lost."""
        values = self._job(facts)
        row = self._row(facts)
        if salvaged is not None and salvaged.get("attempt", 0) >= facts["attempt"]:
            row = dict(salvaged)
        row["job_id"] = insert_job(self._tables, facts["job_id"], values)
        mark = bytes.fromhex(facts.get("rebuild", {}).get("task", ""))
        if not insert_run(self._tables, self._run_id, row, mark):
            self._found.without_task.add(self._run_id)
        self._found.restored.add(self._run_id)

    def _begin(self, facts: Mapping[str, Any]) -> None:
        """Let the run enter an attempt that the database does not know of."""
        row = self._row(facts)
        row["job_id"] = self._tables.run(self._run_id)["job_id"]
        if self._tables.run(self._run_id)["state"] != states.CREATED:
            self._tables.update_run(self._run_id, {"state": states.CREATED})
        self._tables.update_run(
            self._run_id, {"last_step": None, "last_step_time": None, **row}
        )
        if self._tables.quantities(self._run_id):
            self._tables.set_quantities(self._run_id, {})
        self._found.updated.add(self._run_id)

    def _take_present(self) -> None:
        tables, run_id = self._tables, self._run_id
        row = tables.run(run_id)
        records = tables.attempts(run_id)
        known = next((a for a in records if a["number"] == row["attempt"]), {})
        if self._is_complete(row, known):
            return
        # What is kept of the run may be older than what is kept of the attempt.
        attempt = self._left(row, known if "end_time" in row else {}, self._directory)
        attempt.take_ending(self._declared(attempt))
        if not attempt.has_news:
            return
        before = tables.raw_run(run_id), tables.attempts(run_id)
        attempt.take_record().apply(tables)
        if (tables.raw_run(run_id), tables.attempts(run_id)) != before:
            self._found.updated.add(run_id)

    def _is_complete(self, row: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
        """Whether the database has all that the directory could say."""
        if "end_time" not in row or not _has_ended(known, self._directory, row["nonce"]):
            return False
        steps = [step for step, _ in self._tables.quantities(self._run_id).values()]
        folded = known.get("folded", {})
        journals = map(Path, list_journals(self._directory, row["attempt"]))
        return max(steps, default=None) == row.get("last_step") and all(
            journal.stat().st_size <= folded.get(journal.name, 0) for journal in journals
        )

    def _take_earlier(self, directory: Path) -> None:
        """Record an earlier attempt, of which the database knows nothing."""
        try:
            facts = read_facts(directory)
        except JobSideError:
            return  # nothing of Motoko's, or half moved
        records = {record["number"]: record for record in self._tables.attempts(self._run_id)}
        known = records.get(facts["attempt"], {})
        is_ours = facts.get("generation") in self._tables.generations
        is_named_so = directory.name == f"attempt-{facts['attempt']}"
        if not (is_ours and is_named_so) or _has_ended(known, directory, facts["nonce"]):
            return
        row = {**self._row(facts), "id": self._run_id, "job_id": facts["job_id"]}
        attempt = self._left(row, {}, directory)
        attempt.take_ending(None)  # the files speak of a later one
        told = attempt.known
        again = attempt.policy.again
        if again.budget(told.get("class")) and "end_time" in told:
            told["retry_at"] = told["end_time"]  # there was a next one, so it had been worth it
        self._tables.set_attempt(self._run_id, facts["attempt"], told)
        self._found.updated.add(self._run_id)

    def _declared(self, attempt: Left) -> Sentinels | None:
        """The files that speak of the work of an attempt."""
        row = placed(attempt.row, self._study.directory)
        job = self._tables.job(row["job_id"])
        config = self._study.config.sentinels
        return sentinels(config, attempt.title, attempt.run_dir, row, job)

    def _left(self, row: Mapping[str, Any], known: Mapping[str, Any], directory: Path) -> Left:
        config = self._study.config
        return Left(
            self._tables.schema,
            row,
            {},
            str(directory),
            manifest=self._tables.manifest(row.get("files")),
            completion=config.completion,
            default_walltime=config.walltime,
            known=known,
            policy=policy.of_run(row, config.policy),
            resources={"walltime": config.walltime, "mem": config.mem},
        )


def _has_ended(known: Mapping[str, Any], directory: Path, nonce: str) -> bool:
    """Whether the end of an attempt is recorded, with its exit code if there is one."""
    if "end_time" not in known:
        return False
    if "exit_code" in known:
        return True
    return outcome.read_outcome(directory, known["number"], nonce) is None


def _exact(facts: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The values that the plain JSON of the run's file does not have as they were."""
    text = facts.get("rebuild", {}).get(kind)
    if text is None:
        return {}
    values: dict[str, Any] = decode(text.encode("utf-8", "surrogatepass"))
    return values
