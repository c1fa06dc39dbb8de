"""Server and launcher that import what they need while the command that starts them does so.

What is imported here is imported before them, hence little.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import click

from motoko.errors import StudyNotFound
from motoko.paths import STUDY_FILE, WORKFLOW_FILE, WORKFLOW_STATE

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
        "importlib.metadata",
    ),
}


def import_needed(arguments: Sequence[str]) -> None:
    """Import what a process needs that was started early, as which it was."""
    for name in _NEEDED.get(arguments[0], ()):
        import_module(name)


def start_side_by_side(given: str | None, *, launcher: bool = True) -> None:
    """Start server and launcher early that the present command will start for a workflow, as
    far as they do not run; those that it does not start end with it."""
    from motoko import daemon
    from motoko.cli.places import find_directory
    from motoko.workflow.places import launcher_office_in, server_office_in

    try:
        directory = find_directory(given)
    except StudyNotFound:  # the command says it
        return
    state_dir = directory / WORKFLOW_STATE
    is_workflow = (directory / WORKFLOW_FILE).exists()
    place = directory if is_workflow else directory / STUDY_FILE
    commands = []
    if server_office_in(state_dir).owner() is None:
        commands.append(daemon.python_command("server", "serve", str(state_dir)))
    if launcher and launcher_office_in(state_dir).owner() is None:
        commands.append(daemon.python_command("launcher", "serve", str(place)))
    click.get_current_context().with_resource(daemon.started_early(commands))


def start_side_by_side_with(arguments: Sequence[str]) -> None:
    """The same for a command that has its arguments as they were written."""
    from motoko.cli.own_options import names_directory

    if {"-h", "--help", "-d", "--detach"} & set(arguments):
        return
    is_named = bool(arguments) and arguments[0][:1] != "-" and names_directory(arguments[0])
    start_side_by_side(arguments[0] if is_named else None)
