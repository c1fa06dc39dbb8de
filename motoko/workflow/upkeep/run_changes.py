"""Changing runs that are there: trying them again, cancelling, correcting, deleting them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.columns import AWAITS, BEHIND, MADE_BEHIND, PASSED_OVER, REQUIRED, UNDECLARED
from motoko.crashpoints import reached
from motoko.durable import replace_file
from motoko.errors import ConfigError
from motoko.job.holders import find_holders
from motoko.job.outcome import read_outcome
from motoko.launch.cleaning import cleaning
from motoko.launch.executing import executing_in
from motoko.launch.work import open_runs
from motoko.model import states
from motoko.store.codec import is_same
from motoko.store.deletion import delete_runs
from motoko.store.identity import SET_BY_HAND, identity_of, remember_before
from motoko.store.ranges import numbers
from motoko.store.tables import TaskIdentity
from motoko.study import moving
from motoko.study.archive import ARCHIVE, archive_of, own_entries
from motoko.study.files import differing
from motoko.study.order import came_of, put_back, waiting_in_words
from motoko.study.origin import origin_entry
from motoko.workflow import control, making
from motoko.workflow.history import record_end
from motoko.workflow.upkeep.changes import RUNS_A_COMMIT, Changes, in_batches
from motoko.workflow.upkeep.queued import cancel_jobs
from motoko.workflow.upkeep.run_values import RETRIED_AS, RETRY_OF, Values
from motoko.workflow.views import troubles

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

#: Entries of a run that another run does not take over.
_OF_ONE_RUN = frozenset(
    {
        "id",
        "job_id",
        "state",
        "create_time",
        "start_time",
        "end_time",
        "attempt",
        "nonce",
        "has_finished",
        "last_step",
        "last_step_time",
        REQUIRED,
        BEHIND,
        MADE_BEHIND,
        AWAITS,
        PASSED_OVER,
        SET_BY_HAND,
    }
)


# trying again


@dataclass(frozen=True)
class Retry:
    """How runs are tried again."""

    #: By study: the new values.
    values: Mapping[str, Values] = field(default_factory=dict)
    #: Whether they get the study's files of now.
    has_current_files: bool = False
    #: Whether what they left is moved into a backup.
    is_dir_cleaned: bool = False
    #: Whether runs of a pipeline wait until their steps begin once more.
    is_in_order: bool = True


def retry(workflow: Workflow, chosen: Mapping[Study, Sequence[int]], how: Retry) -> Changes:
    """Make runs CREATED again, with new values where some are given.

    Runs that steps of a pipeline have made wait until that step begins once more. With another
    value of a job it is another task: the run stays, and a new one is made (or
    found, if there is such a task) and linked to it. Runs that are being executed are left.
    """
    _end_what_was_said(workflow, chosen)
    changes = Changes()
    backup = making.new_backup(workflow)
    for study, ids in chosen.items():
        values = how.values.get(study.name, Values({}, {}))
        manifest = study.manifest() if how.has_current_files else None
        cleans = how.is_dir_cleaned and not values.job
        again = _Retrying(workflow, study, values, manifest, how.is_in_order, cleans=cleans)
        if not cleans:
            in_batches(study, ids, again, changes)
        else:
            with cleaning(study):
                making.check_dirs(workflow, study, ids)
                in_batches(study, ids, again, changes)
                reached("retry.created")
                moved = _again(study, ids, changes)
                _move_dirs(workflow, study, moved, backup, changes)
        again_ids = _again(study, ids, changes)
        if again_ids and manifest is None:
            changes.outdated += _with_older_files(study, again_ids)
    return changes


def _again(study: Study, ids: Sequence[int], changes: Changes) -> list[int]:
    done = set(changes.done).difference(changes.made)
    return [run_id for run_id in ids if f"{study.name}.{run_id}" in done]


def _with_older_files(study: Study, ids: Sequence[int]) -> list[str]:
    """Those of the runs that were created with other files than the study has now."""
    try:
        present = study.manifest()
    except ConfigError:
        return []  # a file is missing, which is said when a run is made
    with study.database.read() as tables:
        keys = {run_id: tables.run(run_id).get("files") for run_id in ids}
        other = {k for k in set(keys.values()) if differing(tables.manifest(k), present)}
    return [f"{study.name}.{run_id}" for run_id, key in keys.items() if key in other]


def retry_failed(workflow: Workflow, run_name: str) -> Changes:
    """Make all FAILED runs of a run name CREATED again. The databases are open."""
    chosen: dict[Study, list[int]] = {}
    for manager in workflow.task_managers.values():
        with manager.base.database.read() as tables:
            constraint = tables.parse(f"state = {states.FAILED}").restricted_to(run_name)
            chosen[manager.base] = tables.select(constraint)
    return retry(workflow, chosen, Retry())


def _end_what_was_said(workflow: Workflow, chosen: Mapping[Study, Sequence[int]]) -> None:
    """Runs are put back: an end that was said of their run names comes before that."""
    names: set[str] = set()
    for study, ids in chosen.items():
        with study.database.read() as tables:
            names.update(tables.run(run_id)["run_name"] for run_id in ids)
    for name in sorted(names):
        record_end(workflow.vars.db, name)
        reached("retry.said")


@dataclass
class _Retrying:
    """One run after the other, in a transaction."""

    workflow: Workflow
    study: Study
    values: Values
    manifest: Mapping[str, Any] | None
    is_in_order: bool
    #: Whether directories are moved away then, also one that an earlier call has left.
    cleans: bool

    def __call__(self, tables: Tables, run_id: int, changes: Changes) -> None:
        row = tables.run(run_id)
        name = f"{self.study.name}.{run_id}"
        entries = dict(self.values.run)
        if self.manifest is not None:
            tables.set_manifest(self.manifest["key"], self.manifest)
            entries["files"] = self.manifest["key"]
        if self.values.job:
            made, is_news = self._other_job(tables, row, entries)
            if not is_news:
                state = tables.run(made)["state"]
                changes.left[name] = f"has become {self.study.name}.{made}, which is {state}"
                return
            if made != run_id:
                changes.made[name] = f"{self.study.name}.{made}"
                changes.note_waiting(changes.made[name], tables.run(made))
                tables.update_run(run_id, {RETRIED_AS: made})
                changes.done.append(name)
                return
        if why := _why_not_idle(self.workflow, self.study, row, will_end=not self.cleans):
            changes.left[name] = why
            return
        is_packed = archive_of(row) is not None
        has_left = self.cleans and (is_packed or self.study.run_dir(run_id).exists())
        changed = put_back(row, is_in_order=self.is_in_order)
        is_let_go = AWAITS in row and not self.is_in_order
        if row["state"] == states.CREATED and not (entries or has_left or is_let_go):
            waits = f", and waits {text}" if (text := waiting_in_words(row)) else ""
            changes.left[name] = f"is CREATED already{waits}"
            return
        by_hand = remember_before(row, entries)
        if self.cleans and is_packed:
            entries[ARCHIVE] = None  # what it left stays there, and is not for the next attempt
        tables.update_run(run_id, {**entries, **by_hand, **changed})
        changes.done.append(name)
        changes.note_waiting(name, tables.run(run_id))

    def _other_job(
        self, tables: Tables, row: Mapping[str, Any], entries: Mapping[str, Any]
    ) -> tuple[int, bool]:
        """The run of the same task on a job with other values, and whether this changes it."""
        schema, config = tables.schema, self.study.config
        job = {k: v for k, v in tables.job(row["job_id"]).items() if k != "id"}
        point = schema.convert_job({**job, **self.values.job})
        defaults = [f.name for f in schema.run.values() if f.has_default]
        usual = {*UNDECLARED, *defaults, *config.run_params, *config.run_space}
        before = identity_of(tables, row["id"], usual)
        by_hand = {n: row[n] for n in row.get(SET_BY_HAND, ()) if n in row}
        now = {**by_hand, **entries}
        chosen = {n: v for n, v in now.items() if n in schema.run or n in UNDECLARED}
        identity = TaskIdentity(
            before.run_name,
            int(now.get("nproc", before.nproc)),
            str(now.get("machine_name", before.machine_name)),
            tuple(sorted({**dict(before.declared), **chosen}.items())),
        )
        of_task = {*_OF_ONE_RUN, *TaskIdentity._fields, *schema.run, RETRIED_AS}
        of_task.add(origin_entry(tables) or RETRIED_AS)
        other = {n: v for n, v in {**own_entries(row), **entries}.items() if n not in of_task}
        if (behind := came_of(row)) is not None:  # for a step that asks for it some day
            other[MADE_BEHIND] = behind
        [made] = tables.create_tasks([point], identity, {**other, RETRY_OF: row["id"]})
        if is_bad := states.is_bad(tables.run(made)["state"]):
            again = put_back(tables.run(made), is_in_order=self.is_in_order)
            tables.update_run(made, {**entries, **again})
        return made, is_bad or made != row.get(RETRIED_AS)


# cancelling, updating


def cancel(workflow: Workflow, chosen: Mapping[Study, Sequence[int]]) -> Changes:
    """Make runs CANCELLED that wait, execute or are in a state of the user's own; the launcher
    ends what executes, and without one their jobs are cancelled here. A run that has ended
    badly, or has finished once, stays as it is."""
    changes = Changes()
    is_alone = control.launcher_office(workflow).owner() is None
    for study, ids in chosen.items():

        def one(tables: Tables, run_id: int, changes: Changes, study: Study = study) -> None:
            row = tables.run(run_id)
            state, has_finished = row["state"], row.get("has_finished")
            is_over = has_finished or state in (states.CANCELLED, states.FAILED)
            if not is_over and states.is_allowed(state, states.CANCELLED):
                tables.update_run(run_id, {"state": states.CANCELLED})
                changes.done.append(f"{study.name}.{run_id}")
                if is_alone and row.get("nonce") and executing_in(study, run_id) is not None:
                    changes.going_on.append(f"{study.name}.{run_id}")
            else:
                then = ", and has finished" if has_finished and state != states.FINISHED else ""
                changes.left[f"{study.name}.{run_id}"] = f"is {state}{then}"

        in_batches(study, ids, one, changes)
        if is_alone:
            _cancel_jobs(workflow, study, changes)
    return changes


def _cancel_jobs(workflow: Workflow, study: Study, changes: Changes) -> None:
    """Cancel the jobs of runs that are CANCELLED now, as far as no other run has them too."""
    with study.database.read() as tables:
        open_ones = {run_id: tables.run(run_id) for run_id in open_runs(tables)}
    now = {r for r in open_ones if open_ones[r]["state"] == states.CANCELLED}
    left = cancel_jobs(workflow, study, open_ones, open_ones.keys() - now) if now else {}
    names = [f"{study.name}.{run_id}" for run_id in left]
    changes.going_on += [name for name in names if name not in changes.going_on]


def update(
    workflow: Workflow, chosen: Mapping[Study, Sequence[int]], values: Mapping[str, Values]
) -> Changes:
    """Set entries of runs. InvalidTransition for a state that may not follow."""
    of_state = {s: i for s, i in chosen.items() if "state" in values[s.name].run}
    _end_what_was_said(workflow, of_state)
    changes = Changes()
    for study, ids in chosen.items():
        entries = values[study.name].run

        def one(
            tables: Tables,
            run_id: int,
            changes: Changes,
            study: Study = study,
            entries: Mapping[str, Any] = entries,
        ) -> None:
            row = tables.run(run_id)
            again = put_back(row) if entries.get("state") == states.CREATED else {}
            tables.update_run(run_id, {**entries, **remember_before(row, entries), **again})
            changes.done.append(f"{study.name}.{run_id}")
            changes.note_waiting(changes.done[-1], tables.run(run_id))

        in_batches(study, ids, one, changes, most=len(ids) or 1)
    return changes


# deleting


def to_delete(workflow: Workflow, chosen: Mapping[Study, Sequence[int]]) -> Changes:
    """What `delete` would do."""
    changes = Changes()
    firing = _in_open_firings(workflow)
    for study, ids in chosen.items():
        with study.database.read() as tables:
            _deletable(workflow, study, tables, ids, firing, changes)
    return changes


def delete(
    workflow: Workflow, chosen: Mapping[Study, Sequence[int]], *, keeps_files: bool
) -> Changes:
    """Remove runs from the databases; their directories go into a dated backup.

    What was known of them is kept beside, as JSON, before anything is removed. Runs that
    execute, and those of an action that is being called, are left. Their ids are never given
    again.
    """
    changes = Changes()
    backup = making.new_backup(workflow)
    firing = _in_open_firings(workflow)
    for study, ids in chosen.items():
        rows: list[dict[str, Any]] = []
        with cleaning(study):
            file = _free(backup / study.name / "deleted-runs.json")
            making.check_dirs(workflow, study, ids, are_kept=keeps_files)
            with study.database.read() as tables:
                may = _deletable(workflow, study, tables, ids, firing, Changes())
                described = [_known(tables, run_id) for run_id in may] if keeps_files else []
            if described:
                _write_down(file, described)
                reached("delete.described")
            deleted: list[int] = []
            for start in range(0, len(ids), RUNS_A_COMMIT):
                some = ids[start : start + RUNS_A_COMMIT]

                def remove(
                    tables: Tables, some: Sequence[int] = some, study: Study = study
                ) -> tuple[list[int], list[dict[str, Any]], Changes]:
                    now = Changes()
                    may = _deletable(workflow, study, tables, some, firing, now)
                    known = [_known(tables, run_id) for run_id in may]
                    delete_runs(tables, may)
                    return may, known, now

                gone, known, now = study.database.write(remove)
                reached("delete.removed")
                deleted += gone
                rows += known
                changes.done += now.done
                changes.left |= now.left
            if not keeps_files:
                for run_id in deleted:
                    moving.remove(study.run_dir(run_id))
                    reached("delete.moved")
                continue
            if not is_same(rows, described):  # others have changed some meanwhile
                _write_down(file, rows)
            if rows:
                changes.backup = backup
            _move_dirs(workflow, study, deleted, backup, changes)
    return changes


def _deletable(
    workflow: Workflow,
    study: Study,
    tables: Tables,
    ids: Iterable[int],
    firing: Mapping[tuple[str, int], str],
    changes: Changes,
) -> list[int]:
    return [i for i in ids if _may_delete(workflow, study, tables, i, firing, changes)]


def _may_delete(
    workflow: Workflow,
    study: Study,
    tables: Tables,
    run_id: int,
    firing: Mapping[tuple[str, int], str],
    changes: Changes,
) -> bool:
    name = f"{study.name}.{run_id}"
    if not tables.has_run(run_id):
        changes.left[name] = "is not there any more"
        return False
    why = _why_not_idle(workflow, study, tables.run(run_id))
    event = firing.get((study.name, run_id))
    if event is not None:
        why = why or f"belongs to the open firing {event}"
    if why:
        changes.left[name] = why
        return False
    changes.done.append(name)
    return True


def _in_open_firings(workflow: Workflow) -> dict[tuple[str, int], str]:
    with workflow.vars.db.read() as ledger:
        names = list(ledger.run_names())
        records = [r for name in names for r in ledger.open_firings(name).values()]
    return {
        (record["study"], run_id): record["event"]
        for record in records
        if record["study"] is not None
        for run_id in numbers(record["runs"])
    }


def _known(tables: Tables, run_id: int) -> dict[str, Any]:
    row = tables.run(run_id)
    return {
        "run": {k: v for k, v in row.items() if k != "nonce"},
        "job": dict(tables.job(row["job_id"])),
        "attempts": tables.attempts(run_id),
        "quantities": tables.quantities(run_id),
    }


def _free(file: Path) -> Path:
    """This file, or another one where a command of the same second has written it."""
    found, n = file, 1
    while found.exists():
        n += 1
        found = file.with_stem(f"{file.stem}-{n}")
    return found


def _write_down(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {"deleted": time.time(), "runs": rows}
    replace_file(file, [json.dumps(said, default=repr, indent=1).encode() + b"\n"])


# shared


def _why_not_idle(
    workflow: Workflow, study: Study, row: Mapping[str, Any], *, will_end: bool = False
) -> str:
    """Why a run cannot be begun anew or removed now; empty if it can.

    What its script has left in the background is no reason with ``will_end``: a launcher ends
    it before the next attempt.
    """
    if row["state"] in states.ACTIVE:
        return f"is {row['state']}: cancel it first"
    if (found := executing_in(study, row["id"])) is None:
        return ""
    ends, is_ending = "cancel it first", row["state"] == states.CANCELLED
    if read_outcome(found.run_dir, found.attempt, found.nonce) is not None:
        if will_end and found.is_here:
            return ""
        pids = " ".join(map(str, find_holders(found.run_dir, found.attempt)))
        ends = f"its script has ended, and left something; `kill {pids}` there ends that"
    elif is_ending:
        is_alone = control.launcher_office(workflow).owner() is None
        ends = troubles.unended(workflow) if is_alone else "the launcher ends it first"
    return f"{'is CANCELLED and ' * is_ending}still executes on {found.host}: {ends}"


def _move_dirs(
    workflow: Workflow, study: Study, ids: Iterable[int], backup: Path, changes: Changes
) -> None:
    for run_id in ids:
        if study.run_dir(run_id).exists():
            making.move_into(backup, study.run_dir(run_id), workflow)
            reached("delete.moved")
            changes.backup = backup
