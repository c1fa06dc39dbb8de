"""Stored input files that were lost or damaged, found again where a copy lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from motoko.crashpoints import reached
from motoko.study.files import content_digest
from motoko.study.study import Study


def restore_stored(
    study: Study, manifests: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    """Store again what runs were created with, from the study's present files and from run
    directories; names of the files that were found, and of those that were not."""
    found, lost = [], []
    entries = {e["hash"]: e for m in manifests.values() for e in m["files"]}
    for digest, entry in entries.items():
        stored = study.files.path(digest)
        if stored.exists() and content_digest(stored) == digest:
            continue
        copy = next((c for c in _copies(study, entry) if content_digest(c) == digest), None)
        if copy is None:
            lost.append(entry["name"])
        else:
            stored.unlink(missing_ok=True)
            reached("repair.storing")
            study.files.keep(copy)
            found.append(entry["name"])
    return found, lost


def _copies(study: Study, entry: Mapping[str, Any]) -> Iterator[Path]:
    """Files that may have the content; those of runs do not if markers were replaced."""
    name = entry["name"]
    config = study.config
    given = [study.directory / f for f in (*config.config_files, config.exec_file, name)]
    candidates = [path for path in given if path.name == name]
    if not entry["has_markers"]:
        candidates += [directory / name for directory in study.run_dirs().values()]
    for path in candidates:
        if path.is_file() and path.stat().st_size == entry["size"]:
            yield path
