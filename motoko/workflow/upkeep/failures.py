"""Forgetting what failures have left in directories, so that work there begins afresh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.job.layout import FAILED
from motoko.job.windows import clear_failures
from motoko.launch.cleaning import cleaning
from motoko.launch.executing import executing_in
from motoko.paths import WORKFLOW_STATE
from motoko.study.system_dirs import SYSTEM_DIR, found
from motoko.workflow import control
from motoko.workflow.pipelines.written import written_systems

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow


@dataclass
class Cleared:
    """What `clear` did."""

    #: The files that were removed.
    files: list[str] = field(default_factory=list)
    #: Runs whose directories were left as they are, since they execute.
    executing: list[str] = field(default_factory=list)
    #: Directories of systems that were left as they are, since they lie in other workflows.
    elsewhere: list[str] = field(default_factory=list)


def clear(
    workflow: Workflow,
    studies: Sequence[str] = (),
    constraints: Sequence[str] = (),
    run_name: str | None = None,
) -> Cleared:
    """Remove sentinels of failures, counters of attempts and records of progress, and nothing
    else, from the directories of runs and of the systems that they work on.

    Without a choice of studies or runs, these are also the systems that a pipeline is declared
    for. The runs stay in their states, and the history of their attempts stays. A system is
    left alone as long as any of its runs executes.
    """
    cleared = Cleared()
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        places = {} if studies or constraints else _declared(workflow)
        busy: set[Path] = set()
        for name in studies or tuple(workflow.task_managers):
            study = workflow.task_manager(name).base
            with cleaning(study):
                for run_id, system_dir in _chosen(study, constraints, run_name):
                    executes = executing_in(study, run_id) is not None
                    if system_dir is not None:
                        places[system_dir] = None
                        busy |= {system_dir} if executes else set()
                    if executes:
                        cleared.executing.append(f"{study.name}.{run_id}")
                    else:
                        _clear_run(study, run_id, cleared)
        declared = _declared(workflow)
        for place in places:
            if place not in declared and _is_in_another(workflow, place):
                cleared.elsewhere.append(str(place))
            elif place not in busy:
                cleared.files += clear_failures(place)
    return cleared


def _is_in_another(workflow: Workflow, place: Path) -> bool:
    """Whether a directory lies in another workflow: one that this was copied from may have told
    runs so."""
    inside = (one for one in place.parents if (one / WORKFLOW_STATE).is_dir())
    return next(inside, workflow.directory) != workflow.directory


def _declared(workflow: Workflow) -> dict[Path, None]:
    """The directories of the systems that a pipeline is declared for, also without any run."""
    systems = written_systems(workflow.config) or ()
    return dict.fromkeys(Path(system.root).absolute() for system in systems)


def _clear_run(study: Study, run_id: int, cleared: Cleared) -> None:
    """Clear the directory of a run that does not execute.

    The sentinel may be all that says so: then it stays.
    """
    kept = [FAILED] if executing_in(study, run_id, without=(FAILED,)) is not None else []
    cleared.files += clear_failures(study.run_dir(run_id), keep=kept)


def _chosen(
    study: Study, constraints: Sequence[str], run_name: str | None
) -> Iterator[tuple[int, Path | None]]:
    """The runs that are meant, and the directories of their systems."""
    with study.database.read() as tables:
        constraint = tables.parse(list(constraints))
        if run_name is not None:
            constraint = constraint.restricted_to(run_name)
        has_systems = SYSTEM_DIR in tables.entries or SYSTEM_DIR in study.schema.run
        for run_id in tables.select(constraint):
            system_dir = tables.run(run_id).get(SYSTEM_DIR) if has_systems else None
            place = None if system_dir is None else found(str(system_dir), study.directory)
            yield run_id, None if place is None else study.directory / place
