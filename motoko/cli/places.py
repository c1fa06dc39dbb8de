"""Which workflow a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from motoko.errors import StudyNotFound
from motoko.paths import STUDY_FILE, WORKFLOW_FILE, WORKFLOW_STATE, is_study_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from motoko.workflow.workflow import Workflow

F = TypeVar("F", bound="Callable[..., Any]")


def directory_argument(function: F) -> F:
    """The optional argument DIR of a command."""
    return click.argument("directory", metavar="[DIR]", required=False)(function)


def find_directory(given: str | None) -> Path:
    """The workflow's directory: the one given, or the nearest upward that is one.

    StudyNotFound when there is none.
    """
    if given is not None:
        path = Path(given)
        _check_no_directory(path if path.name == WORKFLOW_FILE else path / WORKFLOW_FILE)
        if path.is_file() and (path.name == WORKFLOW_FILE or _is_study_file(path.absolute())):
            return path.parent.absolute()
        if (path / WORKFLOW_FILE).exists() or is_study_alone(path.absolute()):
            return path.absolute()
        if not path.exists():
            raise StudyNotFound(given, "no such directory")
        if not path.is_dir():
            why = f"is no {WORKFLOW_FILE}; name that file, or the directory of a workflow"
            raise StudyNotFound(given, why)
        why = f"no {WORKFLOW_FILE} in it; `motoko new DIR` makes a workflow to start from"
        raise StudyNotFound(given, why)
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / WORKFLOW_FILE).is_file():
            return directory
    _check_no_directory(here / WORKFLOW_FILE)
    for directory in (here, *here.parents):
        if (directory / STUDY_FILE).is_file():
            return directory
    raise StudyNotFound(
        str(here),
        f"no {WORKFLOW_FILE} here or in a directory above; name a workflow's directory, or"
        " make one with `motoko new DIR`",
    )


def _check_no_directory(file: Path) -> None:
    if file.is_dir():
        why = "is a directory, and has to be the file that names a workflow's studies"
        raise StudyNotFound(str(file), why)


def _is_study_file(path: Path) -> bool:
    """Whether it is the ``bd.yaml`` of a study that lies in no workflow."""
    return path.name == STUDY_FILE and not (path.parent.parent / WORKFLOW_FILE).exists()


def load_workflow(given: str | None) -> Workflow:
    """The workflow that a command is about. ConfigError for mistakes in its files."""
    from motoko.workflow.workflow import Workflow

    directory = find_directory(given)
    is_file = given is not None and Path(given).is_file()
    return Workflow(str(given if is_file else directory))


def load_to_look(given: str | None) -> Workflow:
    """The workflow that a command is about, for what its own directory tells.

    No mistake in its files keeps anybody from seeing or stopping what runs; `warn_of_mistakes`
    says them.
    """
    from motoko.workflow.workflow import Workflow

    try:
        place = find_directory(given)
    except StudyNotFound:
        place = Path(given or ".").absolute()
        if not (place / WORKFLOW_STATE).is_dir():
            raise
    is_file = given is not None and Path(given).is_file()
    return Workflow(str(given if is_file else place), may_be_wrong=True)


def warn_of_mistakes(workflow: Workflow) -> None:
    """Say on standard error what is wrong with the files of a workflow that may be."""
    for mistake in workflow.all_mistakes:
        click.echo(f"warning: {mistake}", err=True)


def study_names(workflow: Workflow, given: tuple[str, ...]) -> tuple[str, ...]:
    """Names of studies that were given by name or alias. UnknownTaskManager."""
    return tuple(dict.fromkeys(workflow.task_manager(name).study for name in given))
