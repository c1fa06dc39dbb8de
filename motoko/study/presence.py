"""Whether a study has a database, and whether that still holds what it was given."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.errors import DatabaseLost, ForeignDatabase, JobSideError, StudyNotFound
from motoko.job.facts import read_facts
from motoko.phrases import counted
from motoko.store import layout
from motoko.study.archive import archives_dir
from motoko.study.packed import n_packed

if TYPE_CHECKING:
    from motoko.study.study import Study

#: Files by which a state directory written by BlackDynamite is recognised.
_FOREIGN = ("bd.zeo", "zeo.conf", "bd.zeo.index")

#: Runs may be launched in another order than they were created in.
_AHEAD = 16


def is_created(study: Study) -> bool:
    """Whether there is a database; ForeignDatabase if it is somebody else's, DatabaseLost if it
    has lost what it held, or is gone while directories of its runs are there. One that another
    machine serves is taken to be there."""
    file = study.database_file
    if layout.has_content(file):
        return True
    check_not_foreign(study.state_dir)
    if study.address.path is None and not study.is_served_here:
        return True  # as far as can be known here
    _check_no_runs(study, "is empty" if file.exists() else "is gone")
    layout.check_not_emptied(file)
    return False


def check_created(study: Study) -> None:
    """StudyNotFound unless the study has a database."""
    if not study.is_created:
        raise StudyNotFound(str(study.directory), layout.NO_DATABASE)


def check_not_cut_short(study: Study) -> None:
    """DatabaseLost if directories are there of runs that come after all of the open database:
    of a file that was cut, the server keeps what is whole."""
    try:
        if (run_id := _first_unknown(study)) is None:
            return
        study.database.await_news()  # it may have been made since the database was read
        if (run_id := _first_unknown(study)) is None:
            return
    except StudyNotFound:
        _check_no_runs(study, "is damaged: it is cut behind its beginning")
        return
    where = f"though {study.run_dir(run_id)} was made for it"
    raise DatabaseLost(str(study.database_file), f"ends before run {run_id}, {where}")


def closed_runs(study: Study) -> str | None:
    """That the directory of its runs cannot be looked into by this user, in words."""
    place = study.runs_dir
    with suppress(FileNotFoundError):
        try:
            os.scandir(place).close()
            os.stat(place / os.curdir)
        except PermissionError:
            return f"{place}: this user may not look into it; see who owns it, and its mode"
    return None


def _first_unknown(study: Study) -> int | None:
    """The first of the next runs that has a directory already, which it was not put back
    without."""
    with study.database.read() as tables:
        last = max(tables.last_run_id, tables.fact(layout.LEFT_BEHIND) or 0)
        generations = tables.generations
        coming = [i for i in range(last + 1, last + 1 + _AHEAD) if not tables.has_run(i)]
    if not study.is_served_here:
        return None
    return next((i for i in coming if _was_made(study.run_dir(i), i, generations)), None)


def _was_made(run_dir: Path, run_id: int, generations: frozenset[str]) -> bool:
    """Whether a directory was made for this run of one of these databases, and is no copy."""
    try:
        facts = read_facts(run_dir)
    except (JobSideError, PermissionError):  # what cannot be read tells nothing of the database
        return False
    return facts.get("run_id") == run_id and facts.get("generation") in generations


def _check_no_runs(study: Study, how: str) -> None:
    if study.is_served_here and (n_runs := study.n_recorded):
        where = f"directories of {counted(n_runs, 'run')} are in {study.runs_dir}"
        raise DatabaseLost(str(study.database_file), f"{how}, and {where}", n_runs)
    if study.is_served_here and (n_runs := n_packed(study)):
        where = f"{counted(n_runs, 'run')} of it are packed in {archives_dir(study)}"
        raise DatabaseLost(str(study.database_file), f"{how}, and {where}", n_runs)


def check_not_foreign(state_dir: Path) -> None:
    """ForeignDatabase if a state directory was written by BlackDynamite."""
    for name in _FOREIGN:
        if (state_dir / name).exists():
            raise ForeignDatabase(
                str(state_dir),
                f"was written by BlackDynamite ({name}); Motoko neither opens nor overwrites"
                " it: move it away and run `motoko create`, or bring it to another directory"
                " with `motoko import`",
            )
