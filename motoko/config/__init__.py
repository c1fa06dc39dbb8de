"""``motoko.yaml`` and ``bd.yaml``, parsed once and passed inside as frozen models.

Every mistake in a file is reported with file, line, key path, what was found and what is
allowed, all of them together in one ConfigError. What is only odd is in ``.warnings``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

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
from motoko.paths import STUDY_DATABASE, STUDY_FILE, STUDY_STATE, WORKFLOW_FILE

_YAML_SUFFIXES = (".yaml", ".yml")

Config = TypeVar("Config", bound=FileConfig)


@dataclass(frozen=True)
class Examined(Generic[Config]):
    """All that can be told of one file, right or wrong.

    The config of a file with mistakes has stand-ins for its keys that are ``wrong``; there is
    none of a file that cannot be read at all.
    """

    config: Config | None
    mistakes: tuple[Mistake, ...]
    wrong: frozenset[str] = frozenset()
    warnings: tuple[Mistake, ...] = ()

    @property
    def sound(self) -> Config | None:
        """The config, if there is no mistake in the file."""
        return None if self.mistakes else self.config


def examine_workflow(directory: Path) -> Examined[WorkflowConfig]:
    """Look at ``motoko.yaml`` of a workflow's directory, or at that file itself.

    A directory that has only ``bd.yaml`` is a workflow of that one study.
    """
    file = _file_in(directory, WORKFLOW_FILE)
    if (alone := _study_alone(file)) is not None:
        study = examine_study(alone)
        config = None if study.config is None else WorkflowConfig.of_study(study.config)
        return Examined(config, study.mistakes, frozenset(), study.warnings)
    advice = "expected a workflow's directory; `motoko new DIR` makes one"
    return _examine(WorkflowConfig, file, advice, workflow_mistakes, workflow_warnings)


def examine_study(directory: Path) -> Examined[StudyConfig]:
    """Look at ``bd.yaml`` of a study's directory, or at that file itself."""
    file = _file_in(directory, STUDY_FILE)
    advice = "expected a study's directory; its bd.yaml names the study and its parameters"
    if directory.is_file() and directory.suffix not in _YAML_SUFFIXES:
        return Examined(None, (Mistake(str(directory), 0, "", "is a file", advice),))
    return _examine(StudyConfig, file, advice, study_mistakes, study_warnings)


def read_workflow(directory: Path) -> WorkflowConfig:
    """Read ``motoko.yaml`` of a workflow's directory, or that file itself.

    Raises ConfigError with every mistake in it.
    """
    return _sound(examine_workflow(directory))


def read_study(directory: Path) -> StudyConfig:
    """Read ``bd.yaml`` of a study's directory, or that file itself.

    Raises ConfigError with every mistake in it.
    """
    return _sound(examine_study(directory))


def glimpse_workflow(directory: Path) -> tuple[WorkflowConfig, tuple[Mistake, ...]]:
    """What can be told of a workflow's file with mistakes, and these.

    Of one that does not say which studies there are, those are meant that have databases.
    """
    found = examine_workflow(directory)
    if found.config is not None and "task_managers" not in found.wrong:
        return found.config, found.mistakes
    file = _file_in(directory, WORKFLOW_FILE)
    made = sorted(file.parent.glob(f"*/{STUDY_STATE}/{STUDY_DATABASE}"))
    names = (database.parents[1].name for database in made)
    return WorkflowConfig.of_studies(file, names), found.mistakes


def _file_in(directory: Path, name: str) -> Path:
    path = Path(directory)
    if path.is_dir() and path.suffix not in _YAML_SUFFIXES:
        return path / name
    return path if path.suffix in _YAML_SUFFIXES or path.is_file() else path / name


def _study_alone(file: Path) -> Path | None:
    """The ``bd.yaml`` that stands for a missing ``motoko.yaml``, or that was named itself."""
    if file.name == STUDY_FILE:
        return file
    study = file.with_name(STUDY_FILE)
    return (
        study if file.name == WORKFLOW_FILE and not file.exists() and study.exists() else None
    )


def _sound(examined: Examined[Config]) -> Config:
    if examined.sound is None:
        raise ConfigError(examined.mistakes)
    return examined.sound


def _examine(
    kind: type[Config],
    file: Path,
    advice: str,
    check: Callable[[Document], Iterable[Mistake]],
    warn: Callable[[Document], Iterable[Mistake]],
) -> Examined[Config]:
    try:
        document = read_document(file, advice)
    except ConfigError as error:
        return Examined(None, error.mistakes)
    mistakes = [*document.mistakes, *check(document)]
    warnings = tuple(warn(document))
    wrong: frozenset[str] = frozenset()
    try:
        config = kind.from_document(document, file, warnings)
    except ValidationError as error:
        mistakes += translated(document, error, kind.known_keys())
        wrong = frozenset(str(problem["loc"][0]) for problem in error.errors())
        config = kind.from_document(document, file, warnings, without=wrong)
    found = sorted(dict.fromkeys(mistakes), key=lambda mistake: (mistake.line, mistake.key))
    keys = {mistake.key for mistake in found}
    odd = tuple(warning for warning in warnings if warning.key not in keys)
    return Examined(config, tuple(found), wrong, odd)


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
    "parse_walltime",
    "read_study",
    "read_workflow",
    "study_schema",
    "workflow_schema",
]
