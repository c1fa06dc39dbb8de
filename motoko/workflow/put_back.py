"""Whether a backup is being put back, and has not come to its end: databases of two moments.

A marker beside the workflow's database says so, from before the first one is replaced until the
last is brought up to its run directories. Nothing starts meanwhile.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.durable import force_directory, replace_file
from motoko.errors import RestoreUnfinished

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

MARKER = "restore.json"


def begin(workflow: Workflow, source: Path, file: str) -> None:
    """From now on this database of a backup may be in the place of another."""
    workflow.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = sorted({*begun(workflow), file})
    text = json.dumps({"source": str(source), "files": files}) + "\n"
    replace_file(workflow.state_dir / MARKER, [text.encode("utf-8")])


def begun(workflow: Workflow) -> list[str]:
    """The databases, as seen from the workflow's directory, that may be of a backup while
    others are not."""
    try:
        told = json.loads((workflow.state_dir / MARKER).read_bytes())
        return [str(file) for file in told["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def end(workflow: Workflow) -> None:
    """All databases are of one moment."""
    (workflow.state_dir / MARKER).unlink(missing_ok=True)
    force_directory(workflow.state_dir)


def unfinished(workflow: Workflow) -> RestoreUnfinished | None:
    """The error that says it, if a backup was begun to be put back and that has not ended."""
    try:
        text = (workflow.state_dir / MARKER).read_bytes()
    except OSError:  # what else cannot be read there is said by whoever needs it
        return None
    try:
        source = str(json.loads(text)["source"])
    except (ValueError, KeyError, TypeError):
        source = "PATH"
    return RestoreUnfinished(str(workflow.directory), source)


def check(workflow: Workflow) -> None:
    """RestoreUnfinished if there is such a one."""
    error = unfinished(workflow)
    if error is not None:
        raise error
