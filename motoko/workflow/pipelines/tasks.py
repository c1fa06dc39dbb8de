"""The tasks of studies that the phases of a pipeline are done by."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from motoko.columns import AWAITS, BEHIND, MADE_BEHIND, REQUIRED, STEP
from motoko.config.retry import KEEP
from motoko.errors import RunNameMissing
from motoko.model import states
from motoko.model.policy import ENTRY as POLICY
from motoko.store.identity import SET_BY_HAND
from motoko.store.tables import Tables
from motoko.study.order import came_of
from motoko.study.study import Study, TaskPlace
from motoko.study.system_dirs import SENTINELS, SYSTEM_DIR, placed, stored
from motoko.systems import SimSystem
from motoko.workflow.pipelines import payloads
from motoko.workflow.pipelines.payloads import SYSTEM
from motoko.workflow.pipelines.plan import Doing, plan
from motoko.workflow.pipelines.redone import say_redone
from motoko.workflow.pipelines.there import tell_of_runs

if TYPE_CHECKING:
    from motoko.workflow.pipelines.written import Written
    from motoko.workflow.workflow import Workflow

#: Stands behind a run that was executed so often.
_NUMBER: Final = re.compile(r"#\d+")
#: Entries that hold as long as a pipeline says so: a task that is there gets them too.
_KEPT_UP: Final = (POLICY, SENTINELS, SYSTEM_DIR)


def made(
    workflow: Workflow,
    doing: Doing,
    system: SimSystem | None,
    required: str,
    name: str,
    put_back: Mapping[str | None, Collection[str]] = MappingProxyType({}),
) -> list[int]:
    """See to it that there are the tasks of a phase, behind what it requires; their runs.

    A task that is there was done behind something else when what it requires has changed: then
    there is another one, told from it by an entry. Runs that wait until the phase begins are
    let go, and done behind what there is now; ``put_back`` is what `put_back_behind` gives.
    """
    manager = doing.manager
    assert manager is not None
    if not workflow.run_name:
        raise RunNameMissing
    study = manager.base
    job, params = _task(workflow, doing, system)
    _take_former_place(workflow, study, job, params)
    tasks = _Tasks(study, job, params, required, str(workflow.run_name))
    again = tasks.to_be_done_again(put_back.get(None if system is None else system.name, ()))
    before = tasks.done_behind_others(again)
    params = {**params, (BEHIND if before else REQUIRED): required}
    last = study.ask(lambda tables: tables.last_run_id)
    tasks.take_over(again, params)
    ids = manager.create_tasks(job, params, event_name=doing.step.name)
    let_go = {run_id for run_id in ids if AWAITS in study.run_row(run_id)}
    for run_id in ids:
        if run_id <= last and (changes := _changes(study, study.run_row(run_id), params)):
            study.update_run(run_id, changes)
    if before and max(ids, default=0) > last:
        say_redone(
            workflow,
            f"{name} is done anew behind {required}, besides what there is",
            doing.step,
        )
    news = [run_id for run_id in ids if run_id > last or run_id in let_go]
    tell_of_runs(workflow, doing.step, study, news)
    return ids


def put_back_behind(workflow: Workflow, doing: Doing) -> dict[str | None, set[str]]:
    """By system: what runs of a step that were put back were done behind, where that tells them
    from others of the same task."""
    assert doing.manager is not None

    def behind(tables: Tables) -> dict[str | None, set[str]]:
        found: dict[str | None, set[str]] = {}
        for run_id in tables.awaiting_step(workflow.run_name):
            row = tables.run(run_id)
            if BEHIND in row and row[AWAITS] == doing.step.name:
                name = tables.job(row["job_id"]).get(SYSTEM)
                found.setdefault(name, set()).add(row[BEHIND])
        return found

    return doing.manager.base.ask(behind)


class _Tasks:
    """The tasks of one phase that are there, behind whatever, when it is begun."""

    def __init__(
        self,
        study: Study,
        job: Mapping[str, Any],
        params: Mapping[str, Any],
        required: str,
        run_name: str,
    ) -> None:
        self._study, self._job, self._params = study, job, params
        self._required, self._run_name = required, run_name
        #: Those that were made first, which nothing tells from others of the same task.
        self._first = self._known({})

    def _known(self, more: Mapping[str, Any]) -> dict[TaskPlace, int]:
        params = {**self._params, **more}
        return self._study.known_tasks(self._job, params, run_name=self._run_name)

    def to_be_done_again(self, put_back: Iterable[str]) -> dict[TaskPlace, int]:
        """Runs that were done, or are to be, behind what is no more: those that were put back,
        and those that nobody has begun to execute."""
        candidates = [(p, i) for p, i in self._first.items() if self._is_other(i)]
        for behind in sorted({*put_back} - {self._required}):
            candidates += self._known({BEHIND: behind}).items()
        created: dict[TaskPlace, list[tuple[bool, int]]] = {}
        for place, run_id in candidates:
            row = self._study.run_row(run_id)
            is_other = not _is_alike(came_of(row), self._required)
            if row["state"] == states.CREATED and (AWAITS in row or not is_other):
                created.setdefault(place, []).append((is_other, run_id))
        if not created:
            return {}
        there = {place: i for place, i in self._first.items() if not self._is_other(i)}
        there |= self._known({BEHIND: self._required})
        return {place: min(some)[1] for place, some in created.items() if place not in there}

    def done_behind_others(self, again: Mapping[TaskPlace, int]) -> list[int]:
        """Those of the first that stay what they are, and are not what is asked for."""
        left = self._first.items() - again.items()
        return [run_id for _, run_id in left if self._is_other(run_id)]

    def take_over(self, again: Mapping[TaskPlace, int], params: Mapping[str, Any]) -> None:
        """Let these, and what is as asked for already, be the tasks with these entries."""
        is_behind = BEHIND in params
        same = {p: i for p, i in self._first.items() if is_behind and not self._is_other(i)}
        for place, run_id in {**same, **again}.items():
            # What is written first is what the commit rests on.
            self._study.update_run(run_id, {REQUIRED: self._required})
            self._study.move_task(run_id, place, self._job, params, run_name=self._run_name)
            # Files that it was done with before are of what is no more, be it the first task.
            self._study.update_run(run_id, {BEHIND: self._required})

    def _is_other(self, run_id: int) -> bool:
        """Whether it was done behind something else; not if an earlier version has made it."""
        known = _first_behind(self._study.run_row(run_id), self._required)
        return bool(self._required) and known != self._required


def _first_behind(row: Mapping[str, Any], required: str) -> str:
    """What a task was done behind that was made first; this, if nobody knows."""
    return str(row.get(REQUIRED, row.get(MADE_BEHIND, required)))


def _is_alike(one: str | None, other: str) -> bool:
    """Whether what runs are behind differs at most in how often that was executed."""
    return one is not None and _NUMBER.sub("", one) == _NUMBER.sub("", other)


def found(
    workflow: Workflow, doing: Doing, system: SimSystem | None, required: str, tables: Tables
) -> list[int]:
    """The runs of a phase that are there, behind what it requires; `made` makes the rest."""
    assert doing.manager is not None
    job, params = _task(workflow, doing, system, tables)
    find = partial(
        doing.manager.base.find_tasks, run_name=str(workflow.run_name), tables=tables
    )
    ids = find(job, params)
    rows = [tables.run(run_id) for run_id in ids]
    others = {_first_behind(row, required) for row in rows if not states.awaits_step(row)}
    if required and others - {required}:
        ids = find(job, {**params, BEHIND: required})
    return ids


def _task(
    workflow: Workflow, doing: Doing, system: SimSystem | None, tables: Tables | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Job values and entries of the runs of a phase."""
    assert doing.manager is not None
    study = doing.manager.base
    job, given = payloads.filled(doing.payload, doing.step, system)
    job = {**({} if system is None else {SYSTEM: system.name}), **job}
    params = {**entries(workflow, doing, system), **study.schema.lower_names(given)}
    if doing.step.name == doing.manager.study:
        return job, params
    # The study may do other steps too. An earlier version did not tell these apart.
    find = partial(study.find_tasks, job, run_name=str(workflow.run_name), tables=tables)
    told = {**params, STEP: doing.step.name}
    former = [] if find(told) else find(params)
    row = study.run_row if tables is None else tables.run
    is_former = former and all(row(i).get("event_name") == doing.step.name for i in former)
    return job, params if is_former else told


def entries(workflow: Workflow, doing: Doing, system: SimSystem | None) -> dict[str, Any]:
    """What a pipeline gives to the runs of a phase by itself."""
    assert doing.manager is not None
    study = doing.manager.base
    own: dict[str, Any] = {}
    if system is not None:
        own[SYSTEM_DIR] = stored(system.root, study.directory, workflow.directory)
    if doing.policy != study.config.policy or doing.policy.last != KEEP:
        own[POLICY] = doing.policy.for_runs()  # all but the last of it is the launcher's
    if (files := doing.files(system)) is not None:
        own[SENTINELS] = files.entry(stored(files.root, study.directory, workflow.directory))
    return own


def bring_up_to_date(workflow: Workflow, written: Written) -> None:
    """Have runs that are not finished do as the pipeline in ``motoko.yaml`` says now, before
    any of them is tried again."""
    units = [None] if written.systems is None else written.systems
    systems = {system.name: system for system in written.systems or ()}
    doings = plan(workflow, written.pipeline, written.handlers, units, written.on_failure)
    for doing in doings.values():
        if doing.manager is not None:
            study = doing.manager.base
            study.database.write(partial(_bring_up_to_date, workflow, doing, systems, study))


def _bring_up_to_date(
    workflow: Workflow,
    doing: Doing,
    systems: Mapping[str, SimSystem],
    study: Study,
    tables: Tables,
) -> None:
    constraint = tables.parse(f"state != {states.FINISHED}")
    for run_id in tables.select(constraint.restricted_to(str(workflow.run_name))):
        row = tables.run(run_id)
        name = tables.job(row["job_id"]).get(SYSTEM) if systems else None
        if row.get("event_name") == doing.step.name and (name is None or name in systems):
            own = entries(workflow, doing, None if name is None else systems[name])
            if changes := _changes(study, row, own):
                tables.update_run(run_id, changes)


def _changes(study: Study, row: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run that is there is to be as its pipeline says; what somebody has set by hand
    stays."""
    wanted = {name: params.get(name) for name in _KEPT_UP}
    if REQUIRED in params:
        wanted[REQUIRED] = params[REQUIRED]
    if AWAITS in row and not {REQUIRED, BEHIND}.isdisjoint(params):
        wanted[AWAITS] = None
    return {
        name: value
        for name, value in wanted.items()
        if row.get(name) != value
        and name not in study.schema.run
        and name not in row.get(SET_BY_HAND, ())
    }


def _take_former_place(
    workflow: Workflow, study: Study, job: Mapping[str, Any], params: dict[str, Any]
) -> None:
    """Where a study declares it, the place of a system is part of what a task is: one from
    before places were told from the study's is still the same."""
    if SYSTEM_DIR not in study.schema.run or SYSTEM_DIR not in params:
        return
    name = str(workflow.run_name)
    former = {**params, SYSTEM_DIR: placed(params, study.directory)[SYSTEM_DIR]}
    if not study.find_tasks(job, params, run_name=name) and study.find_tasks(
        job, former, run_name=name
    ):
        params[SYSTEM_DIR] = former[SYSTEM_DIR]
