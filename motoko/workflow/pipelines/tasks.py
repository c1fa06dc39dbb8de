"""The tasks of studies that the phases of a pipeline are done by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from motoko.columns import BEHIND
from motoko.config.retry import KEEP
from motoko.errors import RunNameMissing
from motoko.model import states
from motoko.model.policy import ENTRY as POLICY
from motoko.store.identity import SET_BY_HAND
from motoko.store.tables import Tables
from motoko.study.study import Study
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

#: The entry of a run that says what came of the phases that its phase requires.
REQUIRED: Final = "required_runs"
#: Entries that hold as long as a pipeline says so: a task that is there gets them too.
_KEPT_UP: Final = (POLICY, SENTINELS, SYSTEM_DIR)


def made(
    workflow: Workflow, doing: Doing, system: SimSystem | None, required: str, name: str
) -> list[int]:
    """See to it that there are the tasks of a phase, behind what it requires; their runs.

    A task that is there was done behind something else when what it requires has changed: then
    there is another one, told from it by an entry.
    """
    manager = doing.manager
    assert manager is not None
    if not workflow.run_name:
        raise RunNameMissing
    study = manager.base
    job, params = _task(workflow, doing, system)
    _take_former_place(workflow, study, job, params)
    before: list[int] = []
    if required:
        before = study.find_tasks(job, params, run_name=workflow.run_name)
        others = {study.run_row(i).get(REQUIRED, required) for i in before} - {required}
        params |= {BEHIND: required} if others else {REQUIRED: required}
        before = before if others else []
    last = study.ask(lambda tables: tables.last_run_id)
    ids = manager.create_tasks(job, params, event_name=doing.step.name)
    for run_id in ids:
        if run_id <= last and (changes := _changes(study, study.run_row(run_id), params)):
            study.update_run(run_id, changes)
    if before and max(ids, default=0) > last:
        say_redone(
            workflow,
            f"{name} is done anew behind {required}, besides what there is",
            doing.step,
        )
    tell_of_runs(workflow, doing.step, study, [run_id for run_id in ids if run_id > last])
    return ids


def found(
    workflow: Workflow, doing: Doing, system: SimSystem | None, required: str, tables: Tables
) -> list[int]:
    """The runs of a phase that are there, behind what it requires; `made` makes the rest."""
    assert doing.manager is not None
    job, params = _task(workflow, doing, system)
    find = partial(
        doing.manager.base.find_tasks, run_name=str(workflow.run_name), tables=tables
    )
    ids = find(job, params)
    if {tables.run(i).get(REQUIRED, required) for i in ids} - {required}:
        ids = find(job, {**params, BEHIND: required})
    return ids


def _task(
    workflow: Workflow, doing: Doing, system: SimSystem | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Job values and entries of the runs of a phase."""
    assert doing.manager is not None
    schema = doing.manager.base.schema
    job, given = payloads.filled(doing.payload, doing.step, system)
    own = {} if system is None else {SYSTEM: system.name}
    return {**own, **job}, {**entries(workflow, doing, system), **schema.lower_names(given)}


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
