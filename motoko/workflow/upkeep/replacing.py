"""Putting another file in the place of a database's: under its name there is always one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.crashpoints import reached
from motoko.durable import copy_file, force_directory, force_file
from motoko.store import layout
from motoko.workflow import making

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

#: What a server keeps beside a database file, or a pack that was killed leaves there.
BESIDE = (".index", ".index_tmp", ".tmp", ".lock", ".packed", ".pack", ".old")


def present_file(file: Path) -> Path | None:
    """Where a database is to be read from, None if nothing is there: a pack that was killed
    may have left the file under another name."""
    before_pack = Path(f"{file}.old")
    if not layout.has_content(file) and layout.has_content(before_pack):
        return before_pack
    return file if file.exists() else None


def set_aside(file: Path, aside: Path, workflow: Workflow) -> None:
    """Give a file its place in a backup too, without that it loses its name."""
    target = making.place_in(aside, file, workflow)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError:  # on another file system, or one that has no links
        copy_file(file, target)
    force_directory(target.parent)


def put_in_place(new: Path, file: Path, aside: Path, workflow: Workflow) -> None:
    """Let a new file take the name of a database; what belonged to the old one goes aside.

    An index of the old one that stays, if this process dies, makes whoever comes next refuse
    the new one, or has no effect: the other way round it would be missed with the old one.
    """
    force_file(new)
    os.replace(new, file)
    force_directory(file.parent)
    reached("database.placed")
    for path in beside(file):
        making.move_into(aside, path, workflow)


def beside(file: Path) -> list[Path]:
    """What is there of the files that belong to a database file."""
    paths = [Path(f"{file}{suffix}") for suffix in BESIDE]
    return [path for path in paths if path.exists()]
