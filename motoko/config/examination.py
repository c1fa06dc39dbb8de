"""All that can be found out about ``motoko.yaml`` and ``bd.yaml``, right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from motoko.config.checks import (
    study_mistakes,
    study_warnings,
    translated,
    workflow_mistakes,
    workflow_warnings,
)
from motoko.config.document import Document, read_document
from motoko.config.files import YAML_SUFFIXES, file_in, study_alone
from motoko.config.models import FileConfig, StudyConfig, WorkflowConfig
from motoko.config.validation import config_from
from motoko.errors import ConfigError, Mistake
from motoko.paths import STUDY_FILE, WORKFLOW_FILE

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

    def without_mistakes(self) -> Config:
        """The config; ConfigError with every mistake in the file."""
        if self.sound is None:
            raise ConfigError(self.mistakes)
        return self.sound


def examine_workflow(directory: Path) -> Examined[WorkflowConfig]:
    """Look at ``motoko.yaml`` of a workflow's directory, or at that file itself.

    A directory that has only ``bd.yaml`` is a workflow of that one study.
    """
    file = file_in(directory, WORKFLOW_FILE)
    if (alone := study_alone(file)) is not None:
        study = examine_study(alone)
        config = None if study.config is None else WorkflowConfig.of_study(study.config)
        return Examined(config, study.mistakes, frozenset(), study.warnings)
    advice = "expected a workflow's directory; `motoko new DIR` makes one"
    return _examine(WorkflowConfig, file, advice, workflow_mistakes, workflow_warnings)


def examine_study(directory: Path) -> Examined[StudyConfig]:
    """Look at ``bd.yaml`` of a study's directory, or at that file itself."""
    file = file_in(directory, STUDY_FILE)
    advice = "expected a study's directory; its bd.yaml names the study and its parameters"
    if directory.is_file() and directory.suffix not in YAML_SUFFIXES:
        return Examined(None, (Mistake(str(directory), 0, "", "is a file", advice),))
    return _examine(StudyConfig, file, advice, study_mistakes, study_warnings)


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
        config = config_from(kind, document, file, warnings)
    except ValidationError as error:
        mistakes += translated(document, error, kind.known_keys())
        wrong = frozenset(str(problem["loc"][0]) for problem in error.errors())
        config = config_from(kind, document, file, warnings, without=wrong)
    found = sorted(dict.fromkeys(mistakes), key=lambda mistake: (mistake.line, mistake.key))
    keys = {mistake.key for mistake in found}
    if not found:
        vars(config)["_content"] = document.content
    odd = tuple(warning for warning in warnings if warning.key not in keys)
    return Examined(config, tuple(found), wrong, odd)
