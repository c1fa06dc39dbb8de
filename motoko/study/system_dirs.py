"""Where the systems lie that runs work on, in the words that their entries have for it.

What lies in the workflow's directory is told from the study's, so that a copy works on its own
systems, and one that was moved on those it has. Such a place begins with ``./``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

#: The entry of a run that names the directory of the system it works on.
SYSTEM_DIR: Final = "system_dir"
#: The entry of a run that names the files which speak of it, and in that their directory.
SENTINELS: Final = "sentinels"
ROOT: Final = "root"
_RELATIVE: Final = f".{os.sep}"


def stored(place: Path, study_dir: Path, workflow_dir: Path) -> str:
    """How a place is kept in the entries of runs of a study."""
    path, top = os.path.abspath(place), os.path.abspath(workflow_dir)
    for one in (path, str(study_dir)):
        if os.path.commonpath([os.path.abspath(one), top]) != top:
            return path
    return f"{_RELATIVE}{os.path.relpath(path, study_dir)}"


def found(text: str, study_dir: Path) -> str:
    """Where that is now. Links are followed by whoever goes there: the way up is in words."""
    if not text.startswith(_RELATIVE):
        return text
    return os.path.normpath(study_dir / text)


def shown(study_dir: Path) -> Mapping[str, Callable[[Any], Any]]:
    """The entries of runs that are such places, each with what tells where it is now."""

    def show(value: Any) -> Any:
        return found(value, study_dir) if isinstance(value, str) else value

    return {SYSTEM_DIR: show}


def placed(row: Mapping[str, Any], study_dir: Path) -> Mapping[str, Any]:
    """The entries of a run with its places as they are now."""
    changes: dict[str, Any] = {}
    system_dir, sentinels = row.get(SYSTEM_DIR), row.get(SENTINELS)
    if isinstance(system_dir, str):
        changes[SYSTEM_DIR] = found(system_dir, study_dir)
    if isinstance(sentinels, Mapping) and isinstance(sentinels.get(ROOT), str):
        changes[SENTINELS] = {**sentinels, ROOT: found(sentinels[ROOT], study_dir)}
    return {**row, **changes} if changes else row
