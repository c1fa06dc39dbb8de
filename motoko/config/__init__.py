"""``motoko.yaml`` and ``bd.yaml``, parsed once and passed inside as frozen models.

Every mistake in a file is reported with file, line, key path, what was found and what is
allowed, all of them together in one ConfigError. What is only odd is in ``.warnings``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from motoko.config.checks import (
    WORKFLOW_ATTRIBUTES,
    study_mistakes,
    study_warnings,
    translated,
    workflow_mistakes,
    workflow_warnings,
)
from motoko.config.document import Document, read_document
from motoko.config.fields import GENERATORS
from motoko.config.models import (
    FieldConfig,
    FileConfig,
    StudyConfig,
    TaskManagerConfig,
    WorkflowConfig,
)
from motoko.config.schemas import study_schema, workflow_schema
from motoko.config.values import TYPES, UNSET, Unset
from motoko.config.walltime import parse_walltime
from motoko.errors import ConfigError, Mistake
from motoko.paths import STUDY_FILE, WORKFLOW_FILE

_YAML_SUFFIXES = (".yaml", ".yml")

Config = TypeVar("Config", bound=FileConfig)


def read_workflow(directory: Path) -> WorkflowConfig:
    """Read ``motoko.yaml`` of a workflow's directory, or that file itself.

    Raises ConfigError with every mistake in it.
    """
    file = _file_in(directory, WORKFLOW_FILE)
    advice = "expected a workflow's directory; `motoko new DIR` makes one"
    return _read(WorkflowConfig, file, advice, workflow_mistakes, workflow_warnings)


def read_study(directory: Path) -> StudyConfig:
    """Read ``bd.yaml`` of a study's directory, or that file itself.

    Raises ConfigError with every mistake in it.
    """
    file = _file_in(directory, STUDY_FILE)
    advice = "expected a study's directory; its bd.yaml names the study and its parameters"
    return _read(StudyConfig, file, advice, study_mistakes, study_warnings)


def _file_in(directory: Path, name: str) -> Path:
    path = Path(directory)
    if path.is_dir() and path.suffix not in _YAML_SUFFIXES:
        return path / name
    return path if path.suffix in _YAML_SUFFIXES or path.is_file() else path / name


def _read(
    kind: type[Config],
    file: Path,
    advice: str,
    check: Callable[[Document], Iterable[Mistake]],
    warn: Callable[[Document], Iterable[Mistake]],
) -> Config:
    document = read_document(file, advice)
    mistakes = [*document.mistakes, *check(document)]
    try:
        config = kind.from_document(document, file, tuple(warn(document)))
    except ValidationError as error:
        mistakes += translated(document, error)
    if mistakes:
        unique = dict.fromkeys(mistakes)
        raise ConfigError(sorted(unique, key=lambda mistake: (mistake.line, mistake.key)))
    return config


__all__ = [
    "GENERATORS",
    "TYPES",
    "UNSET",
    "WORKFLOW_ATTRIBUTES",
    "FieldConfig",
    "FileConfig",
    "StudyConfig",
    "TaskManagerConfig",
    "Unset",
    "WorkflowConfig",
    "parse_walltime",
    "read_study",
    "read_workflow",
    "study_schema",
    "workflow_schema",
]
