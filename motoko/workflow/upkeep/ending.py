"""Ending what executes, and putting runs back to where they began."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from motoko import daemon
from motoko.crashpoints import reached
from motoko.errors import DatabaseLost, UnknownField
from motoko.job.holders import end_holders, is_held
from motoko.job.outcome import read_outcome
from motoko.launch.cleaning import cleaning
from motoko.launch.executing import Executing, executing_in, find_below, find_executing
from motoko.launch.work import open_runs
from motoko.model import states
from motoko.study import files, moving
from motoko.study.archive import ARCHIVE, archive_of
from motoko.study.order import is_of_step, put_back
from motoko.workflow import control, making, whereabouts
from motoko.workflow.upkeep.queued import cancel_jobs

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

_GRACE_S = 5.0
#: The fact in which runs are whose processes are ended so that they become CREATED.
_ENDING = "ending"
_RUNS_A_COMMIT = 1000


def leave_alone(workflow: Workflow, studies: Sequence[str]) -> list[str]:
    """Let the launcher go on without some studies; what was stopped, in words."""
    office = control.launcher_office(workflow)
    owner = office.owner()
    if owner is None:
        return []
    served = owner.facts.get("studies", list(workflow.task_managers))
    rest = tuple(name for name in served if name not in studies)
    if len(rest) == len(served):
        return []
    daemon.stop(office)
    if rest:
        chosen = owner.facts.get("chosen", {})
        control.start_launcher(workflow, chosen.get("generator"), rest)
    gone = [name for name in served if name not in rest]
    return [f"launching runs of {', '.join(gone)}"]


def still_executing(workflow: Workflow, studies: Sequence[str]) -> list[Executing]:
    """The runs whose scripts go on, with or without a launcher.

    Of a study whose file has mistakes, those in the place where runs lie that no file names.
    """
    managers = [workflow.task_manager(n).base for n in studies or tuple(workflow.task_managers)]
    found = [one for study in managers for one in find_executing(study)]
    for name in () if studies else workflow.unread:
        for runs_dir in workflow.config.study_dir(name).glob("BD-*-runs"):
            found += find_below(runs_dir, name)
    return found


@dataclass
class Reset:
    """What `reset_active` did."""

    #: Runs that are CREATED again.
    n_runs: int
    #: Runs whose scripts were ended although they were recorded as over: their states stay.
    ended: list[Executing]
    #: Runs that still execute: on another host, or with processes that cannot be ended.
    left: list[Executing]
    #: Why further runs stay as they are, by their names: they may have a job.
    queued: dict[str, str] = field(default_factory=dict)
    #: Those that are CREATED and wait for a step of their pipeline, with their run names.
    awaiting: dict[str, str] = field(default_factory=dict)


def reset_active(
    workflow: Workflow,
    studies: Sequence[str],
    *,
    at_once: bool,
    command: str,
    leave_handed_on: bool = False,
) -> Reset:
    """End the local processes of all runs that execute, cancel the jobs of those that wait or
    execute here, and make these CREATED.

    So are, unless they are to be left, runs whose scripts have handed their work on to a job.
    The history of such a run has its attempt as CANCELLED, by this ``command``.
    Runs that execute on another host stay as they are, and so does one whose script has ended:
    the next launcher records how. MovedOrCopied before anything is ended, since what executes
    may be another workflow's.
    """
    whereabouts.check(workflow)
    managers = [workflow.task_manager(n).base for n in studies or tuple(workflow.task_managers)]
    found = {study: find_executing(study) for study in managers}
    here = [one for some in found.values() for one in some if one.is_here]
    if not _has_databases(workflow):
        _end(here, at_once=at_once)
        left = [one for study in managers for one in find_executing(study)]
        return Reset(
            0, [one for some in found.values() for one in some if one not in left], left
        )
    queued: dict[Study, dict[int, str]] = {}
    handed: dict[Study, set[int]] = {}
    with control.server_kept_as_it_was(workflow):
        try:
            control.ensure_served(workflow)
            for study, some in found.items():
                _note_ending(study, some)
                handed[study] = set() if leave_handed_on else _handed_on(study)
                queued[study] = _cancel_queued(workflow, study, some, handed[study])
        finally:  # whatever is wrong with databases
            _end(here, at_once=at_once)
        reached("reset.ended")
        reset = Reset(0, [], [one for study in managers for one in find_executing(study)])
        for study, some in found.items():
            ended = {one.run_id: one for one in some if one not in reset.left}
            with study.database.read() as tables:
                active = _active(tables)
                noted = _noted(tables, active)
            chosen = {
                r
                for r in active
                if r in ended
                or r in noted
                or r in handed[study]
                or not _has_begun(study, r, active[r])
            }
            chosen -= {one.run_id for one in reset.left if one.study == study.name}
            chosen -= queued[study].keys()
            reset.queued |= {f"{study.name}.{r}": why for r, why in queued[study].items()}
            rows = {r: active[r] for r in sorted(chosen)}
            over = {}
            for run_id, row in rows.items():
                if run_id in ended and ended[run_id].attempt == row["attempt"]:
                    over[run_id] = _ending(study, run_id, row, f"ended by `{command}`")
                elif run_id in handed[study]:
                    over[run_id] = _ending(
                        study, run_id, row, f"its job was cancelled by `{command}`"
                    )
                elif row.get("start_time") is not None:
                    gone = f"its processes were gone when `{command}` put its run back"
                    over[run_id] = _ending(study, run_id, row, gone)
            done = _back_to_created(study, rows, ended=over)
            reset.n_runs += len(done)
            reset.awaiting |= _awaiting(study, done)
            reset.ended += [one for run_id, one in ended.items() if run_id not in chosen]
            if noted:
                study.database.write(lambda tables: tables.set_fact(_ENDING, None))
    return reset


def _cancel_queued(
    workflow: Workflow, study: Study, executing: Sequence[Executing], handed_on: Collection[int]
) -> dict[int, str]:
    """Cancel the jobs of runs that are to be CREATED, so that these do not execute then; of
    those that may still have one, why."""
    with study.database.read() as tables:
        active = _active(tables)
    open_ones = {
        r: row for r, row in active.items() if r in handed_on or not _has_begun(study, r, row)
    }
    elsewhere = {one.run_id for one in executing if not one.is_here}
    return cancel_jobs(workflow, study, open_ones, elsewhere, awaited=handed_on)


def _handed_on(study: Study) -> set[int]:
    """The runs whose work goes on in a job that their script has named."""
    with study.database.read() as tables:
        return {
            run_id
            for run_id, row in _active(tables).items()
            for one in tables.attempts(run_id)
            if one["number"] == row.get("attempt")
            and "end_time" not in one
            and one.get("batch", {}).get("handed_on")
        }


def _note_ending(study: Study, executing: Sequence[Executing]) -> None:
    """Have the database know, before processes are ended, of which runs: who dies then is
    followed by the next call."""

    def note(tables: Tables) -> None:
        active = _active(tables)
        known = [one.run_id for one in executing if one.is_here and one.run_id in active]
        known += _noted(tables, active)
        marks = [[run_id, active[run_id].get("nonce")] for run_id in sorted(set(known))]
        tables.set_fact(_ENDING, marks)

    if executing:
        study.database.write(note)


def _noted(tables: Tables, active: Mapping[int, Mapping[str, Any]]) -> set[int]:
    """The runs of which that was noted, as far as their attempts are the same."""
    marks = tables.fact(_ENDING) or []
    return {i for i, nonce in marks if i in active and active[i].get("nonce") == nonce}


def _has_databases(workflow: Workflow) -> bool:
    try:
        return control.is_created(workflow)
    except DatabaseLost:
        return False


def _active(tables: Tables) -> dict[int, Mapping[str, Any]]:
    """Runs that are being executed, as far as was recorded."""
    ids = {run_id for state in states.ACTIVE for run_id in tables.in_state(state)}
    ids |= {r for r in open_runs(tables) if tables.run(r)["state"] != states.CANCELLED}
    return {run_id: tables.run(run_id) for run_id in sorted(ids)}


def _has_begun(study: Study, run_id: int, row: Mapping[str, Any]) -> bool:
    """Whether the attempt of a run that does not execute has ended, and how is to be read."""
    run_dir, nonce = str(study.run_dir(run_id)), str(row.get("nonce"))
    return read_outcome(run_dir, row.get("attempt", 0), nonce) is not None


def _ending(study: Study, run_id: int, row: Mapping[str, Any], cause: str) -> dict[str, Any]:
    """What the history of a run is to have of its attempt, which is over."""
    number, nonce = row["attempt"], row.get("nonce")
    facts: dict[str, Any] = {"nonce": nonce, "state": states.CANCELLED, "cause": cause}
    left = read_outcome(str(study.run_dir(run_id)), number, str(nonce))
    if left is None:
        return {**facts, "end_time": time.time()}
    process = {"pid": left.pid, "host": left.host, "start_time": left.begin}
    return {**facts, **process, "end_time": left.end, "exit_code": left.exit}


def _end(executing: Sequence[Executing], *, at_once: bool) -> None:
    """End all processes of attempts on this host, all together; some may be left."""
    left = list(executing)
    for number in (signal.SIGKILL,) if at_once else (signal.SIGTERM, signal.SIGKILL):
        for one in left:
            end_holders(one.run_dir, one.attempt, number)
        deadline = time.monotonic() + _GRACE_S
        while left and time.monotonic() < deadline:
            left = [one for one in left if is_held(one.run_dir, one.attempt)]
            if left:
                time.sleep(0.02)


def _back_to_created(
    study: Study,
    rows: Mapping[int, Mapping[str, Any]],
    manifest: Mapping[str, Any] | None = None,
    ended: Mapping[int, Mapping[str, Any]] = MappingProxyType({}),
    *,
    leave_packed: bool = False,
) -> list[int]:
    """Put runs back, unless they are not as they were seen any more; those that were.

    ``ended`` has what becomes of their attempts, for the history. With ``leave_packed``, what
    is packed away stays there, and is not for their next attempt.
    """
    changes: dict[str, Any] = {"has_finished": None}
    if manifest is not None:
        changes["files"] = manifest["key"]
    ids, done = list(rows), []
    for start in range(0, len(ids), _RUNS_A_COMMIT):
        some = ids[start : start + _RUNS_A_COMMIT]

        def reset(tables: Tables, some: list[int] = some) -> list[int]:
            same = [r for r in some if tables.has_run(r) and _is_same(tables.run(r), rows[r])]
            if manifest is not None:
                tables.set_manifest(manifest["key"], manifest)
            for run_id in same:
                if run_id in ended:
                    number = rows[run_id]["attempt"]
                    known = {a["number"]: a for a in tables.attempts(run_id)}.get(number, {})
                    tables.set_attempt(run_id, number, {**known, **ended[run_id]})
                is_left = leave_packed and archive_of(rows[run_id]) is not None
                packed = {ARCHIVE: None} if is_left else {}
                tables.update_run(run_id, {**changes, **put_back(rows[run_id]), **packed})
            return same

        done += study.database.write(reset)
    return done


def _is_queued(row: Mapping[str, Any]) -> bool:
    """Whether a run that its step has made already could begin before what that requires."""
    return is_of_step(row) and not states.awaits_step(row)


def _awaiting(study: Study, run_ids: Iterable[int]) -> dict[str, str]:
    """Those of the runs that wait for a step of their pipeline."""
    with study.database.read() as tables:
        found = sorted(set(run_ids).intersection(tables.awaiting_step()))
        return {f"{study.name}.{i}": str(tables.run(i)["run_name"]) for i in found}


def _is_same(row: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    return all(row.get(name) == seen.get(name) for name in ("state", "attempt", "nonce"))


@dataclass
class Cleaned:
    """What `clean` did."""

    n_runs: int
    n_active: int
    #: How many of the runs keep files that have changed since their creation.
    n_outdated: int
    backup: Path | None
    #: Studies that lack an entry which the constraints name.
    without: Sequence[str] = ()
    #: Those of the runs that wait for a step of their pipeline, with their run names.
    awaiting: dict[str, str] = field(default_factory=dict)
    #: Runs of the study at hand whose directories are to go.
    directories: Sequence[int] = ()


def clean(
    workflow: Workflow,
    studies: Sequence[str],
    constraints: list[str],
    *,
    keep_backup: bool,
    current_files: bool,
) -> Cleaned:
    """Put runs back to CREATED and their run directories into a dated backup.

    Of all studies, those are meant that have the entries which the constraints name. Runs that
    are being executed are left as they are. With ``current_files`` the runs get the
    study's files as they are now, instead of those they were created with.

    Directories that cannot be moved are an error before anything is changed (PermissionError).
    First the database says so, then directories are moved, and no launcher begins in one of
    them meanwhile. Ended in between, runs are CREATED and what they left is where it was: the
    next call moves it, unless a launcher has set it aside before.
    """
    cleaned = Cleaned(0, 0, 0, None)
    backup = making.new_backup(workflow)
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        chosen, cleaned.without = _constrained(workflow, studies, constraints)
        for study in chosen:
            with cleaning(study):
                _clean(
                    workflow,
                    study,
                    constraints,
                    cleaned,
                    keep_backup=keep_backup,
                    current_files=current_files,
                )
                reached("clean.created")
                for run_id in cleaned.directories:
                    if keep_backup:
                        making.move_into(backup, study.run_dir(run_id), workflow)
                        cleaned.backup = backup
                    else:
                        moving.remove(study.run_dir(run_id))
                    reached("clean.moved")
    return cleaned


def _constrained(
    workflow: Workflow, studies: Sequence[str], constraints: list[str]
) -> tuple[list[Study], list[str]]:
    """The studies that constraints are about, and the others, before anything is changed.

    A study that was named must have all that they name; ConstraintError otherwise.
    """
    found: list[Study] = []
    unknown: dict[str, UnknownField] = {}
    for name in studies or tuple(workflow.task_managers):
        study = workflow.task_manager(name).base
        with study.database.read() as tables:
            try:
                tables.parse(constraints)
            except UnknownField as error:
                error.add_note(f"in study {name}")
                unknown[name] = error
            else:
                found.append(study)
    if unknown and (studies or not found):
        raise next(iter(unknown.values()))
    return found, list(unknown)


def _clean(
    workflow: Workflow,
    study: Study,
    constraints: list[str],
    cleaned: Cleaned,
    *,
    keep_backup: bool,
    current_files: bool,
) -> None:
    """Put the runs of one study back, and say whose directories are to go."""
    # A client is told of others' commits before its own: what follows sees every claim.
    study.database.write(lambda tables: tables.set_fact("cleaned", time.time()))
    with study.database.read() as tables:
        ids = tables.select(tables.parse(constraints))
        rows = {run_id: tables.run(run_id) for run_id in ids}
        manifest = study.manifest()
        keys = {row.get("files") for row in rows.values()}
        other = {key for key in keys if files.differing(tables.manifest(key), manifest)}
    idle = {r: row for r, row in rows.items() if row["state"] not in states.ACTIVE}
    chosen = {r: row for r, row in idle.items() if executing_in(study, r) is None}
    present = [run_id for run_id in chosen if study.run_dir(run_id).exists()]
    making.check_dirs(workflow, study, present, are_kept=keep_backup)
    if current_files:
        over, new_files = chosen, manifest
    else:
        over = {
            r: row
            for r, row in chosen.items()
            if row["state"] != states.CREATED or archive_of(row) is not None or _is_queued(row)
        }
        new_files = None
        outdated = [r for r, row in chosen.items() if row.get("files") in other]
        cleaned.n_outdated += len(outdated)
    done = _back_to_created(study, over, new_files, leave_packed=True)
    changed = set(over).difference(done)
    cleaned.n_runs += len(done)
    cleaned.awaiting |= _awaiting(study, done)
    cleaned.n_active += len(ids) - len(chosen) + len(changed)
    cleaned.directories = [run_id for run_id in present if run_id not in changed]


def delete(workflow: Workflow, studies: Sequence[str]) -> list[str]:
    """Stop everything and remove databases, run directories and logs; what was removed.

    Refuses with RunsExecuting while scripts execute in what is to be removed.
    """
    making.stop_idle(workflow, studies)
    paths = making.state_paths(workflow, studies)
    making.set_aside(workflow, keep_backup=False, studies=studies)
    return [os.path.relpath(path, workflow.directory) for path in paths]
