"""Where a script or a command outside of runs stands: in which study, with which names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import motoko
from motoko.errors import JobSideError, StudyNotFound
from motoko.job.facts import find_run_dir, read_facts
from motoko.launch.environment import (
    before,
    database_host,
    make_names_dir,
    make_python_dir,
    names_dir,
)
from motoko.paths import STUDY_FILE, STUDY_STATE, WORKFLOW_FILE, private_directory
from motoko.store.address import parse_host

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

#: What scripts are told the place of a study's database by.
HOST = "BLACKDYNAMITE_HOST"


def find_study_dir(start: Path) -> Path | None:
    """The nearest directory upward that has ``.bd`` or ``bd.yaml``."""
    for directory in (start, *start.parents):
        if (directory / STUDY_STATE).is_dir() or (directory / STUDY_FILE).is_file():
            return directory
    return None


def load_study(directory: Path) -> tuple[Workflow, Study]:
    """The study in a directory, and the workflow that it belongs to, if only to itself."""
    from motoko.workflow.workflow import Workflow

    directory = directory.absolute()
    if not (directory / STUDY_FILE).is_file():
        raise StudyNotFound(str(directory), f"has no {STUDY_FILE}")
    if (directory.parent / WORKFLOW_FILE).is_file():
        workflow = Workflow(str(directory.parent))
        if directory.name not in workflow.task_managers:
            why = f"is none of the task_managers of {workflow.config_path}: add it there"
            raise StudyNotFound(str(directory), why)
        return workflow, workflow.task_managers[directory.name].base
    workflow = Workflow(str(directory / STUDY_FILE))
    [manager] = workflow.task_managers.values()
    return workflow, manager.base


def served_study(
    host: str, name: str | None, environment: Mapping[str, str]
) -> tuple[Workflow, Study]:
    """The study that is served at ``zeo://name:port``, and its workflow: the one that a script
    is executed for. StudyNotFound if it has none there, or not one of this name."""
    from motoko.workflow.workflow import Workflow

    file = environment.get("MOTOKO_WORKFLOW")
    if not file:
        allowed = "a script outside of runs names a study by its directory: zeo:///path/of/it"
        raise StudyNotFound(host, allowed)
    workflow = Workflow(file)
    name = name or environment.get("MOTOKO_STUDY")
    for manager in workflow.task_managers.values():
        study = manager.base
        if database_host(study) == host and name in (study.name, study.config.study, None):
            return workflow, study
    raise StudyNotFound(host, f"{file} has no study {name} there")


def default_study_dir(start: Path, environment: Mapping[str, str]) -> Path:
    """The study that is meant when none is named: the one around ``start``, else that of
    ``BLACKDYNAMITE_HOST``, else that of the run whose script asks. StudyNotFound if there is
    none."""
    found = find_study_dir(start)
    if found is not None:
        return found
    host = environment.get(HOST)
    place = parse_host(host) if host else None
    if isinstance(place, Path):
        return place
    if host and environment.get("MOTOKO_WORKFLOW"):
        return served_study(host, None, environment)[1].directory
    with suppress(JobSideError):  # a run's directory may lie elsewhere, and say whose it is
        given = read_facts(environment.get("MOTOKO_RUN_DIR") or find_run_dir(str(start)))
        if isinstance(given.get("study_dir"), str):
            return Path(given["study_dir"])
    raise StudyNotFound(
        str(start),
        f"no {STUDY_STATE} and no {STUDY_FILE} here or in a directory above; go into a study's"
        f" directory, or set {HOST}=zeo:///path/of/the/study",
    )


def environment_of(start: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables by which a program finds ``import BlackDynamite``, ``import motoko`` and
    ``canYouDigIt``, and the study around ``start`` if there is one; those that change."""
    mark = blake2b(str(Path(motoko.__file__).resolve()).encode(), digest_size=6).hexdigest()
    python_dir = private_directory() / mark / "python"
    names = names_dir(python_dir)
    make_python_dir(python_dir)
    make_names_dir(names)
    found = {
        "PYTHONPATH": before([str(names), str(python_dir)], inherited.get("PYTHONPATH")),
        "PATH": before([str(names / "bin")], inherited.get("PATH", os.defpath)),
    }
    directory = find_study_dir(start)
    if directory is not None and (directory / STUDY_FILE).is_file():
        workflow, study = load_study(directory)
        workflow.close()
        found[HOST] = database_host(study)
        found["BLACKDYNAMITE_STUDY"] = found["BLACKDYNAMITE_SCHEMA"] = study.config.study
    return found
