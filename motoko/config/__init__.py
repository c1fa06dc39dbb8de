"""``motoko.yaml`` and ``bd.yaml``, parsed once and passed inside as frozen values.

Every mistake in a file is reported with file, line, key path, what was found and what is
allowed, all of them together in one ConfigError. What is only odd is in ``.warnings``.

What checks files, and says what is wrong, is imported when a file is checked.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.config.fields import GENERATORS
from motoko.config.files import file_in, study_alone
from motoko.config.keeping import keep, recalled
from motoko.config.models import (
    FieldConfig,
    FileConfig,
    StudyConfig,
    TaskManagerConfig,
    WorkflowConfig,
)
from motoko.config.values import TYPES, UNSET, Unset
from motoko.config.walltime import parse_walltime
from motoko.errors import Mistake
from motoko.paths import STUDY_DATABASE, STUDY_FILE, STUDY_STATE, WORKFLOW_FILE

if TYPE_CHECKING:
    from motoko.config.checks import WORKFLOW_ATTRIBUTES
    from motoko.config.examination import Examined, examine_study, examine_workflow
    from motoko.config.schemas import study_schema, workflow_schema

_CHECKING = {
    "WORKFLOW_ATTRIBUTES": "checks",
    "Examined": "examination",
    "examine_study": "examination",
    "examine_workflow": "examination",
    "study_schema": "schemas",
    "workflow_schema": "schemas",
}


def __getattr__(name: str) -> object:
    if name not in _CHECKING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_CHECKING[name]}"), name)
    globals()[name] = value
    return value


def read_workflow(directory: Path) -> WorkflowConfig:
    """Read ``motoko.yaml`` of a workflow's directory, or that file itself.

    Raises ConfigError with every mistake in it.
    """
    if (kept := _recalled_workflow(directory)) is not None:
        return kept
    from motoko.config.examination import examine_workflow

    config = examine_workflow(directory).without_mistakes()
    keep(config)
    return config


def read_study(directory: Path) -> StudyConfig:
    """Read ``bd.yaml`` of a study's directory, or that file itself.

    Raises ConfigError with every mistake in it.
    """
    if (kept := recalled(StudyConfig, file_in(directory, STUDY_FILE))) is not None:
        return kept
    from motoko.config.examination import examine_study

    config = examine_study(directory).without_mistakes()
    keep(config)
    return config


def glimpse_workflow(directory: Path) -> tuple[WorkflowConfig, tuple[Mistake, ...]]:
    """What can be told of a workflow's file with mistakes, and these.

    Of one that does not say which studies there are, those are meant that have databases.
    """
    if (kept := _recalled_workflow(directory)) is not None:
        return kept, ()
    from motoko.config.examination import examine_workflow

    found = examine_workflow(directory)
    if found.sound is not None:
        keep(found.sound)
    if found.config is not None and "task_managers" not in found.wrong:
        return found.config, found.mistakes
    file = file_in(directory, WORKFLOW_FILE)
    made = sorted(file.parent.glob(f"*/{STUDY_STATE}/{STUDY_DATABASE}"))
    names = (database.parents[1].name for database in made)
    return WorkflowConfig.of_studies(file, names), found.mistakes


def _recalled_workflow(directory: Path) -> WorkflowConfig | None:
    file = file_in(directory, WORKFLOW_FILE)
    if (alone := study_alone(file)) is None:
        return recalled(WorkflowConfig, file)
    study = recalled(StudyConfig, alone)
    return None if study is None else WorkflowConfig.of_study(study)


__all__ = [
    "GENERATORS",
    "TYPES",
    "UNSET",
    "WORKFLOW_ATTRIBUTES",
    "Examined",
    "FieldConfig",
    "FileConfig",
    "StudyConfig",
    "TaskManagerConfig",
    "Unset",
    "WorkflowConfig",
    "examine_study",
    "examine_workflow",
    "glimpse_workflow",
    "keep",
    "parse_walltime",
    "read_study",
    "read_workflow",
    "study_schema",
    "workflow_schema",
]
