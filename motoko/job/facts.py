"""What the launcher tells the job side about its run: one JSON file in the run directory.

Written before the start and not changed during an attempt::

    {"format": 1, "study", "study_dir", "run_id", "job_id", "attempt", "nonce", "generation",
     "workflow": path of motoko.yaml, "run_path", "knock": path of a socket, or "",
     "job": {...}, "run": {...}, "job_types": {name: type}, "run_types": {name: type}}
"""

from __future__ import annotations

import errno
import json
import os

from motoko.crashpoints import reached
from motoko.errors import JobSideError
from motoko.job.layout import RUN_FILE, run_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from motoko.job.layout import StrPath

FORMAT = 1
#: No time is later: what a clock gives is no infinity and no number that a float cannot hold.
LATEST = 1e11
_NEEDED = {"study": str, "run_id": int, "job_id": int, "attempt": int, "nonce": str}


def read_facts(run_dir: StrPath) -> Dict[str, Any]:
    """Read the run's file; `JobSideError` when it is absent, damaged or of a newer Motoko."""
    path = run_file(run_dir)
    try:
        with open(path, "rb") as file:
            facts = json.loads(file.read().decode())
    except FileNotFoundError:
        raise JobSideError(f"{run_dir} is not a run directory: it has no {RUN_FILE}") from None
    except (ValueError, RecursionError) as error:
        raise JobSideError(f"{path} is damaged: {error}") from None
    if not isinstance(facts, dict):
        raise JobSideError(f"{path} is damaged: it holds no mapping")
    if facts.get("format") != FORMAT:
        found = facts.get("format")
        raise JobSideError(f"{path} has format {found!r}, this Motoko reads format {FORMAT}")
    wrong = [key for key, kind in _NEEDED.items() if not isinstance(facts.get(key), kind)]
    if wrong:
        raise JobSideError(f"{path} is damaged: {', '.join(wrong)} missing or of a wrong type")
    return facts


def find_run_dir(start: Optional[str] = None) -> str:
    """The run directory of this process: ``MOTOKO_RUN_DIR``, else the nearest one upward.

    One that was renamed meanwhile is the nearest one upward, too.
    """
    given = os.environ.get("MOTOKO_RUN_DIR") if start is None else None
    if given:
        return _renamed(given) or os.path.abspath(given)
    return _nearest(start)


def _renamed(given: str) -> Optional[str]:
    """Where a run directory is by now that is not in its place; None for all others."""
    if os.path.exists(run_file(given)):
        return None
    try:
        place = _nearest(None)
        return place if read_facts(place).get("run_path") == given else None
    except (JobSideError, OSError):
        return None


def _nearest(start: Optional[str]) -> str:
    place = first = os.path.abspath(start or os.getcwd())
    while not os.path.exists(run_file(place)):
        above = os.path.dirname(place)
        if above == place:
            raise JobSideError(
                f"this is not a run: MOTOKO_RUN_DIR is not set, and neither {first} nor a"
                f" directory above it has a {RUN_FILE}; motoko.get_run() works in scripts that"
                " the launcher started"
            )
        place = above
    return place


def replace_file(path: str, content: bytes) -> None:
    """Put the content under the name in one step, on disk when this returns."""
    aside = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        reached("outcome.aside")
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
    force(os.path.dirname(path) or ".")


def force(path: str) -> None:
    """Have a file, or the names in a directory, on disk, where there is such a thing."""
    fd = os.open(path, os.O_RDONLY)
    try:
        sync(fd)
    finally:
        os.close(fd)


def sync(fd: int) -> None:
    """Have what an open file holds on disk; a pipe, say, is on none."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def write_all(fd: int, content: bytes) -> None:
    """Write everything: in one call, unless the system takes only a part of it."""
    while content:
        content = content[os.write(fd, content) :]


def is_directory_of(run_dir: StrPath, nonce: str) -> bool:
    """Whether a run directory is still that of this attempt."""
    try:
        return bool(read_facts(run_dir)["nonce"] == nonce)
    except JobSideError:
        return False
