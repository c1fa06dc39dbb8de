"""Whether a study has a database, and whether that still holds what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from motoko.errors import DatabaseLost, ForeignDatabase, StudyNotFound
from motoko.phrases import counted
from motoko.store import layout

if TYPE_CHECKING:
    from motoko.study.study import Study

#: Files by which a state directory written by BlackDynamite is recognised.
_FOREIGN = ("bd.zeo", "zeo.conf", "bd.zeo.index")


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


def check_not_begun_anew(study: Study) -> None:
    """DatabaseLost if the open database is one that nothing was ever kept in, while directories
    of its runs are there: of a file that was cut, the server keeps what is whole."""
    try:
        with study.database.read():
            pass
    except StudyNotFound:
        _check_no_runs(study, "is damaged: it is cut behind its beginning")


def _check_no_runs(study: Study, how: str) -> None:
    if study.is_served_here and (n_runs := study.n_recorded):
        where = f"directories of {counted(n_runs, 'run')} are in {study.runs_dir}"
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
