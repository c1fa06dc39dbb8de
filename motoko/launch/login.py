"""Login nodes: hosts of a batch system on which nobody should execute much."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

from motoko.launch.own_job import batch_generators, system_of

#: So many cores are used there.
N_CORES = 2


def login_system(
    environment: Mapping[str, str], find: Callable[[str], object] = shutil.which
) -> str | None:
    """The batch system that this host hands jobs to, outside of any job; None for another."""
    if system_of(environment) is not None:
        return None
    for generator in batch_generators():
        commands = generator.required_commands()
        if commands and all(map(find, commands)):
            return generator.name
    return None


def login_words(system: str) -> str:
    """That only few runs execute at once, and what changes that."""
    return (
        f"this is a login node of {system} as far as can be told: {N_CORES} runs execute here"
        f" at a time; `generator: {system}` makes jobs of them, max_concurrent sets another"
        " limit"
    )
