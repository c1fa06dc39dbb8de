"""Server and launcher that import what they need while the command that starts them does so.

What is imported here is imported before them, hence little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from motoko.errors import StudyNotFound
from motoko.paths import STUDY_FILE, WORKFLOW_FILE, WORKFLOW_STATE
from motoko.starter import read_word, word_pipe

if TYPE_CHECKING:
    from motoko.daemon import Early

#: What the processes import that are started in the background, by their commands.
_NEEDED = {
    "server": ("motoko.cli.commands.server", "motoko.workflow.holding_files"),
    "launcher": (
        "motoko.cli.commands.launcher",
        "motoko.workflow.workflow",
        "motoko.workflow.serving",
        "motoko.launch.launcher",
        "motoko.launch.choice",
        "motoko.launch.bash",
        "motoko.launch.dask",
        "motoko.launch.pbs",
        "motoko.launch.sge",
        "motoko.launch.slurm",
        "importlib.metadata",  # for generators of other packages
    ),
}


def told_arguments() -> list[str] | None:
    """The arguments of this process, if it was started early, once it is told them; until then
    it imports what it needs. None for any other."""
    pipe = word_pipe()
    if pipe is None:
        return None
    known = sys.argv[1:]
    for name in _NEEDED[known[0]]:
        with suppress(Exception):  # which whoever imports it when it is needed says
            import_module(name)
    return [*known, *read_word(pipe)]


def start_side_by_side(given: str | None, *, launcher: bool = True) -> Early | None:
    """Start server and launcher early that the present command will start for a workflow, as
    far as they do not run; those that it does not start end with it."""
    from motoko import daemon
    from motoko.cli.places import find_directory
    from motoko.workflow.places import launcher_office_in, server_office_in

    commands = []
    try:
        directory = find_directory(given)
        state_dir = directory / WORKFLOW_STATE
        is_workflow = (directory / WORKFLOW_FILE).exists()
        place = directory if is_workflow else directory / STUDY_FILE
        if server_office_in(state_dir).owner() is None:
            commands.append(daemon.python_command("server", "serve", str(state_dir)))
        if launcher and launcher_office_in(state_dir).owner() is None:
            commands.append(daemon.python_command("launcher", "serve", str(place)))
    except (StudyNotFound, OSError):  # the command says it
        return None
    return click.get_current_context().with_resource(daemon.Early(*commands))


def start_beside(arguments: Sequence[str]) -> Early | None:
    """The same for a command of whose arguments nobody knows yet which are options of the
    workflow's own: of their words the first one that can be it is taken for the workflow."""
    if {"-h", "--help"} & set(arguments):
        return None
    words = (word for word in arguments if word[:1] != "-" and _may_be_workflow(Path(word)))
    return start_side_by_side(next(words, None))


def _may_be_workflow(path: Path) -> bool:
    names = (WORKFLOW_FILE, STUDY_FILE)
    # Other than Path's, this raises nothing, whatever the word is.
    return path.name in names or any(os.path.exists(path / name) for name in names)  # noqa: PTH110
