"""Which file is meant by a directory, or by the name of a file."""

from __future__ import annotations

from pathlib import Path

from motoko.paths import STUDY_FILE, WORKFLOW_FILE

YAML_SUFFIXES = (".yaml", ".yml")


def file_in(directory: Path, name: str) -> Path:
    """The file of this name in a directory, or the one that was named itself."""
    path = Path(directory)
    if path.is_dir() and path.suffix not in YAML_SUFFIXES:
        return path / name
    return path if path.suffix in YAML_SUFFIXES or path.is_file() else path / name


def study_alone(file: Path) -> Path | None:
    """The ``bd.yaml`` that stands for a missing ``motoko.yaml``, or that was named itself."""
    if file.name == STUDY_FILE:
        return file
    study = file.with_name(STUDY_FILE)
    return (
        study if file.name == WORKFLOW_FILE and not file.exists() and study.exists() else None
    )
