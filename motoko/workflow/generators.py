"""How the runs of each study of a workflow are executed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.launch.generator import Generator, find_generator, plain_name
from motoko.store.address import socket_address

if TYPE_CHECKING:
    from motoko.launch.launcher import LauncherSettings
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


def launcher_settings(workflow: Workflow, generators: Mapping[str, str]) -> LauncherSettings:
    """What a launcher of these studies is told, but for its office."""
    from motoko.launch.launcher import LauncherSettings

    return LauncherSettings(
        generators={
            workflow.task_manager(name).base.name: kind for name, kind in generators.items()
        },
        options=workflow.config.options,
        max_concurrent=workflow.config.max_concurrent,
        max_submitted=workflow.config.max_submitted,
        knock=socket_address(workflow.state_dir, "knock.sock"),
        python_dir=python_dir(workflow),
    )


def room_of(settings: LauncherSettings) -> dict[str, Any]:
    """The cores for runs as processes, and in words why these are not all that there are."""
    from motoko.launch.launcher import usable_cores
    from motoko.launch.login import login_system, login_words
    from motoko.launch.slots import available_cores

    facts: dict[str, Any] = {"cores": usable_cores(settings)}
    if facts["cores"] < available_cores() and "bash" in settings.generators.values():
        facts["limited"] = login_words(str(login_system(settings.environment)))
    return facts
