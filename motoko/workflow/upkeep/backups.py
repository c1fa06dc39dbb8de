"""Copies of a workflow's databases, taken while it runs, and put back."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.crashpoints import reached
from motoko.durable import copy_file, force_directory, replace_file
from motoko.errors import ForeignDatabase, ForeignOwner, StudyNotFound
from motoko.store import layout
from motoko.store.backup import copy_together
from motoko.study.files import content_digest
from motoko.study.versions import CODE
from motoko.workflow import control, making, put_back
from motoko.workflow.places import served
from motoko.workflow.upkeep.repair import Repaired, alone, check_nothing_runs, rebuild_databases
from motoko.workflow.upkeep.replacing import put_in_place, set_aside

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

CONTENTS = "backup.json"
_FORMAT = 1
_LEDGER = Path(".wf/wf.db")
#: Beside the database of a study: what its runs were made with.
_STORES = ("files", CODE)
_UNFINISHED = ".unfinished"


@dataclass
class Backup:
    """A backup that was made: where, of what, and which studies are not in it."""

    directory: Path
    n_bytes: int = 0
    studies: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def back_up(workflow: Workflow, target: Path | None = None) -> Backup:
    """Copy all databases as of one moment, and the stored files, into a new directory.

    Without ``target`` that is a dated one in the workflow's. Nobody is stopped. Raises
    FileExistsError when the directory is there, StudyNotFound for a database that is not,
    RestoreUnfinished for databases of two moments, and ForeignOwner when the server runs on
    another host, where alone its files can be read.
    """
    target = target or making.new_backup(workflow)
    if target.exists():
        why = "is there already; a backup goes into a new directory"
        raise FileExistsError(errno.EEXIST, why, str(target))
    put_back.check(workflow)
    control.require_created(workflow)
    office = control.server_office(workflow)
    owner = office.owner()
    if owner is not None and not owner.is_here:
        raise ForeignOwner(office.what, str(owner))
    if owner is None:
        for one in served(workflow):
            layout.check_not_cut(Path(one.file))
    made = Backup(target)
    aside = target.with_name(target.name + _UNFINISHED)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        _copy(workflow, aside, made)
        reached("backup.copied")
        aside.rename(target)
        force_directory(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return made


def _copy(workflow: Workflow, aside: Path, made: Backup) -> None:
    copies: dict[Path, Path] = {}
    stores: dict[Path, Path] = {}
    for name, manager in workflow.task_managers.items():
        study = manager.base
        if not study.is_served_here:
            made.elsewhere.append(name)
            continue
        made.studies.append(name)
        relative = study.database_file.relative_to(workflow.directory)
        copies[study.database_file] = aside / relative
        for kind in _STORES:
            stores[study.state_dir / kind] = aside / relative.parent / kind
    ledger = workflow.directory / _LEDGER
    for copy in [aside / _LEDGER, *copies.values()]:
        copy.parent.mkdir(parents=True, mode=0o700)
    taken = time.time()
    copy_together(ledger, copies, aside / _LEDGER)
    databases = {}
    for copy in [aside / _LEDGER, *copies.values()]:
        size = copy.stat().st_size
        made.n_bytes += size
        facts = {"size": size, "blake2b": content_digest(copy)}
        databases[str(copy.relative_to(aside))] = facts
    reached("backup.databases")
    for store, copied in stores.items():  # what the runs need was there before they were
        if store.is_dir():
            hidden = shutil.ignore_patterns(".*")
            shutil.copytree(store, copied, ignore=hidden, copy_function=copy_file)
    contents = {
        "format": _FORMAT,
        "workflow": str(workflow.directory),
        "taken": taken,
        "databases": databases,
        "elsewhere": made.elsewhere,
    }
    replace_file(aside / CONTENTS, [json.dumps(contents, indent=2).encode() + b"\n"])
    for directory, _, _ in os.walk(aside):
        force_directory(Path(directory))


def restore(workflow: Workflow, source: Path) -> Repaired:
    """Put the databases of a backup in the place of the present ones, which are moved aside.

    What directories of runs in the backup know since then is taken in, and commits that it
    has by half are completed. Until all is done nothing starts: RestoreUnfinished. Runs
    that were made since then are left to be made again. What `motoko create` has set aside
    is a backup too. Raises AlreadyRunning while anything runs, RunsExecuting while scripts
    do, since the backup may have other runs in their directories, StudyNotFound when there
    is no backup, or one without a database that was put back by half, and ForeignDatabase for
    a damaged one.
    """
    check_nothing_runs(workflow)
    making.check_idle(workflow)
    files = _databases(workflow, source)
    _check_contents(source, files)
    aside = making.new_backup(workflow)
    with alone(workflow):
        _place(workflow, source, files, aside)
        done = rebuild_databases(workflow, with_new=False)
        put_back.end(workflow)
    done.done.insert(0, f"put back {', '.join(str(path) for path in files)}")
    if aside.exists():
        done.done.insert(1, f"what they replace is in {aside}")
    return done


def _place(workflow: Workflow, source: Path, files: list[Path], aside: Path) -> None:
    """Put these databases of a backup in the place of the present ones."""
    for relative in files:
        present = workflow.directory / relative
        present.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        copied = Path(f"{present}{_UNFINISHED}")
        shutil.copyfile(source / relative, copied)
        copied.chmod(0o600)
        if present.exists():
            set_aside(present, aside, workflow)
        reached("restore.aside")
        put_back.begin(workflow, source, str(relative))
        put_in_place(copied, present, aside, workflow)
        reached("restore.placed")
        for kind in _STORES:
            _restore_store(source / relative.parent / kind, present.parent / kind)
        reached("restore.stored")
    reached("restore.replaced")


def _restore_store(source: Path, target: Path) -> None:
    """Add the stored files that are not there."""
    if not source.is_dir():
        return
    target.mkdir(exist_ok=True, mode=0o700)
    for file in source.iterdir():
        if not (target / file.name).exists():
            unfinished = target / f".{file.name}{_UNFINISHED}"
            copy_file(file, unfinished)
            os.replace(unfinished, target / file.name)
    force_directory(target)


def _databases(workflow: Workflow, source: Path) -> list[Path]:
    """The databases in a backup, as seen from the workflow's directory."""
    studies = [manager.base for manager in workflow.task_managers.values()]
    wanted = [_LEDGER]
    wanted += [
        study.database_file.relative_to(workflow.directory)
        for study in studies
        if study.is_served_here
    ]
    found = [path for path in wanted if (source / path).is_file()]
    if not found:
        raise StudyNotFound(str(source), "is no backup of this workflow: no databases in it")
    lacking = [file for file in put_back.begun(workflow) if not (source / file).is_file()]
    if lacking:
        why = f"has no {lacking[0]}, which was put back by half from another backup"
        raise StudyNotFound(str(source), why)
    return found


def _check_contents(source: Path, files: list[Path]) -> None:
    """ForeignDatabase unless all databases are what `back_up` has written."""
    file = source / CONTENTS
    if not file.exists():
        return  # moved there as they were, by `motoko create`
    try:
        contents: Mapping[str, Any] = json.loads(file.read_text())
        databases = contents["databases"]
    except (ValueError, KeyError, TypeError) as error:
        raise ForeignDatabase(str(file), f"cannot be read: {error!r}") from error
    if contents.get("format") != _FORMAT:
        why = f"has format {contents.get('format')}, this version of Motoko reads {_FORMAT}"
        raise ForeignDatabase(str(file), f"{why}; use the newer version")
    for relative, facts in databases.items():
        copy = source / relative
        if not copy.exists():
            raise ForeignDatabase(str(copy), f"is not there, and {CONTENTS} speaks of it")
        if Path(relative) in files and content_digest(copy) != facts["blake2b"]:
            why = f"is not what {CONTENTS} says of it: take another backup"
            advice = f"remove {CONTENTS} to use what can be read of it"
            raise ForeignDatabase(str(copy), f"{why}, or {advice}")
