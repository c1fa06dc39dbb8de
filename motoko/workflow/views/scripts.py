"""The script that a batch system is given for one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motoko.launch.preview import script_of
from motoko.study.records import split_run_name
from motoko.workflow import generators

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


def script(workflow: Workflow, name: str) -> str:
    """That of the run ``study.id``, as it was submitted or would be.

    RunNotFound, UnknownTaskManager, WorkflowError; LaunchError when there is none.
    """
    manager, run_id = split_run_name(name)
    study = workflow.task_manager(manager).base
    with study.database.read() as tables:
        row = {**tables.run(run_id), "id": run_id}
    kind = generators.generators_of(workflow, [manager])[manager]
    generator = generators.generator_named(workflow, kind)
    return script_of(study, generator, row, generators.python_dir(workflow))
