"""Which trees a database has, and how an existing one is recognised.

What is pickled is BTrees and built-in values. `KIND` and `FORMAT` stand in the root: an older
program refuses a newer format instead of guessing.

Runs are the only `LOBTree`: whoever is told that an object of that class changed knows that
its keys are ids of runs (`feed` rests on this). Counters are `Length` objects, which merge.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from BTrees.IOBTree import IOBTree
from BTrees.LLBTree import LLTreeSet
from BTrees.LOBTree import LOBTree
from BTrees.OLBTree import OLBTree
from BTrees.OOBTree import OOBTree, OOTreeSet
from ZODB.fsIndex import fsIndex

from motoko.errors import DatabaseClosed, DatabaseLost, ForeignDatabase, StudyNotFound
from motoko.phrases import BRINGS_IT_BACK
from motoko.store.codec import encode
from motoko.store.transaction_log import TransactionLog

FORMAT = 4
#: Of the file of a database that nothing was ever committed to.
_N_BYTES_EMPTY = 4
ROOT = "motoko"
NO_DATABASE_FILE = f"is no database, or its beginning is damaged; {BRINGS_IT_BACK}"
NO_DATABASE = "has no database yet; `motoko create` or `motoko run` makes it"
STUDY = "study"
WORKFLOW = "workflow"
#: The fact of a study that ids of runs are not consecutive, since no id is given twice.
HAS_DELETED = "has_deleted"
#: The fact of a study up to which id directories are of runs that it was put back without.
LEFT_BEHIND = "left_behind"
#: The fact of a study which runs were deleted, as `ranges`.
DELETED_RUNS = "deleted_runs"

_TREES: dict[str, dict[str, Any]] = {
    STUDY: {
        "jobs": IOBTree,  # job id -> values
        "job_ids": OLBTree,  # ordered values -> job id
        "by_value": OOBTree,  # name of a job entry -> OOTreeSet of ordered value + job id
        "runs": LOBTree,  # run id -> row
        "tasks": OLBTree,  # job id + digest of what makes a task -> run id
        "groups": OOBTree,  # encoded run name, state (and True: waits for a step) -> number
        "by_group": LLTreeSet,  # group number << 40 | run id
        "counts": IOBTree,  # group number -> Length
        "attempts": IOBTree,  # run id -> list of attempts
        "quantities": IOBTree,  # run id -> name -> (step, last value)
        "manifests": OOBTree,  # digest -> which files a run was created with
        "entries": OOBTree,  # name of an undeclared run entry that some run has -> type
        "last": OLBTree,  # "job" and "run" -> last id given away
        "applied": OOTreeSet,  # marks of commits over several databases that are in here
        "meta": OOBTree,  # name -> encoded value
    },
    WORKFLOW: {
        "variables": OOBTree,  # name -> encoded value
        "run_names": OOBTree,  # name -> parameters and state
        "firings": OOBTree,  # key that follows time -> record
        "open": OOTreeSet,  # keys of the firings that have no end yet
        "fired": OOBTree,  # action that fires once, and run -> key of the firing
        "commits": OOBTree,  # mark -> operations by study, until all have them
        "meta": OOBTree,
    },
}
#: Trees that can be made anew from the others.
_DERIVED = frozenset({"job_ids", "by_value", "groups", "by_group", "counts"})


def content_trees(kind: str) -> list[str]:
    """The names of the trees whose content is nowhere else."""
    return [name for name in _TREES[kind] if name not in _DERIVED]


def initialise(root: Any, kind: str, facts: dict[str, Any]) -> None:
    """Make the trees of an empty database."""
    trees = OOBTree()
    for name, tree in _TREES[kind].items():
        trees[name] = tree()
    trees["format"] = FORMAT
    trees["kind"] = kind
    meta = trees["meta"]
    for name, value in facts.items():
        meta[name] = encode(value)
    meta["generation"] = encode(secrets.token_hex(8))
    meta["created"] = encode(time.time())
    root[ROOT] = trees


def has_content(file: Path) -> bool:
    """Whether the file of a database is there, with something in it: the disk may have been
    full when it was made."""
    return file.exists() and file.stat().st_size > _N_BYTES_EMPTY


def check_not_emptied(file: Path) -> None:
    """DatabaseLost if the file of a database is gone, or lost all that it held, while what
    belongs to it is there: a new one would take its place without a word."""
    if not has_content(file) and _had_content(file):
        what = "is empty" if file.exists() else "is gone"
        raise DatabaseLost(str(file), f"{what}, though it was a database once")


def check_not_cut(file: Path) -> None:
    """DatabaseLost if the file of a database, which nobody has open, is shorter than it was:
    ZODB would cut off the rest of what is torn, and ids would be given again. DatabaseClosed
    where this user may not read it.

    What a server that was killed has not written whole is behind what counts here.
    """
    check_not_emptied(file)
    if not has_content(file):
        return
    _check_readable(file)
    size, had = file.stat().st_size, _indexed(Path(f"{file}.index"))
    if had is not None and size < had:
        raise DatabaseLost(str(file), f"ends at byte {size}, though it had {had} bytes once")
    _check_end(file, had)


def check_end(file: Path) -> None:
    """DatabaseLost if the last bytes of a file are no transactions, and no commit that was not
    finished: ZODB would cut them off, and take the time of the last commit from them.
    DatabaseClosed where this user may not read it."""
    if has_content(file):
        _check_readable(file)
        _check_end(file, _indexed(Path(f"{file}.index")))


def _check_readable(file: Path) -> None:
    if not os.access(file, os.R_OK, effective_ids=True):
        raise DatabaseClosed(str(file), stat.S_IMODE(file.stat().st_mode))


def _check_end(file: Path, whole_to: int | None) -> None:
    with suppress(ForeignDatabase), TransactionLog(file) as log:
        for position in (whole_to, log.end):
            if position is None:
                continue
            log.skip_to(position)
            log.advance()
            if log.is_sound:
                return
        what = f"the {log.n_bytes_behind} bytes from byte {log.end} on are no transactions"
        raise DatabaseLost(str(file), f"is damaged: {what}")


def _had_content(file: Path) -> bool:
    """Whether a database had something in it: when its server wrote an index of it, or began
    a pack, which was killed with the file under another name."""
    index = Path(f"{file}.index")
    if has_content(Path(f"{file}.old")):
        return True
    had = _indexed(index)
    return index.exists() if had is None else had > _N_BYTES_EMPTY


def _indexed(index: Path) -> int | None:
    """Up to where a database was whole when its server wrote this index of it; None if there
    is none, or one that is damaged."""
    try:
        return int(fsIndex.load(str(index))["pos"])
    except FileNotFoundError:
        return None
    except OSError:  # nobody knows
        raise
    except Exception:  # whatever a damaged pickle may raise when it is read
        return None


def trees(root: Any, kind: str, where: str) -> Any:
    """The trees of an open database.

    StudyNotFound if they were never made, ForeignDatabase if they are not ours.
    """
    found = root.get(ROOT)
    if found is None and len(root) == 0:
        raise StudyNotFound(where, NO_DATABASE)
    if found is None:
        why = "not written by Motoko; move it away, then run `motoko create`"
        raise ForeignDatabase(where, why)
    if found["format"] < FORMAT:
        raise ForeignDatabase(
            where,
            f"has format {found['format']}, which was never released; move it away, then run"
            " `motoko create`",
        )
    if found["format"] > FORMAT:
        raise ForeignDatabase(
            where,
            f"has format {found['format']}, this version of Motoko reads up to {FORMAT};"
            " use the newer version",
        )
    if found["kind"] != kind:
        raise ForeignDatabase(where, f"is the database of a {found['kind']}, not of a {kind}")
    return found


def rest_on(tree: Any) -> None:
    """Let the present transaction, which writes something, conflict with whoever changes
    anything in a tree of the same database."""
    part = tree
    while part is not None:
        part._p_activate()
        if part._p_jar is not None:
            part._p_jar.readCurrent(part)
        part = tree._firstbucket if part is tree else part._next


def is_initialised(root: Any) -> bool:
    """Whether the database has our trees already."""
    return root.get(ROOT) is not None
