"""How the runs of each study of a workflow are executed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.launch.generator import Generator, find_generator, plain_name

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


def generators_of(
    workflow: Workflow, names: Iterable[str], chosen: str | None = None
) -> dict[str, str]:
    """The generator of each of these studies; ``chosen`` holds for all."""
    default = workflow.config.generator
    return {
        name: chosen or workflow.task_manager(name).base.config.generator or default
        for name in names
    }


def generator_named(workflow: Workflow, name: str) -> Generator:
    """A generator with the workflow's options for it. UnknownGenerator, ReservedOption."""
    return find_generator(name, workflow.config.options.get(plain_name(name), ()))


def check_generators(
    workflow: Workflow, names: Iterable[str], chosen: str | None = None
) -> dict[str, str]:
    """`generators_of`, once all of them, and their options, are known to be usable."""
    found = generators_of(workflow, names, chosen)
    for study, name in found.items():
        generator_named(workflow, name)
        config = workflow.task_manager(study).base.config
        find_generator(name, config.options.get(plain_name(name), ()))
    return found


def python_dir(workflow: Workflow) -> Path:
    """The directory through which scripts find the job side."""
    return workflow.state_dir / "python"
