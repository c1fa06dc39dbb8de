"""Names of files: those that users write, and what a workflow keeps of its own.

What a file system cannot hold (sockets, locks) lies in a private directory of this machine.

Those of locks are in `motoko.workflow.control`, of run directories in `motoko.job.layout`.
"""

from __future__ import annotations

import os
import stat
import tempfile
from hashlib import blake2b
from pathlib import Path

from motoko.errors import DatabaseUnavailable

WORKFLOW_FILE = "motoko.yaml"
STUDY_FILE = "bd.yaml"
#: In the directory of each study: its database, and the files that its runs are made with.
STUDY_STATE = ".bd"
STUDY_DATABASE = "motoko.db"
#: In the directory of the workflow: its own database, locks and logs.
#: What orchestrates a workflow that has a pipeline and says nothing else.
PIPELINE_ORCHESTRATOR = "motoko.pipeline"
ARTIFACTS = "artifacts"
WORKFLOW_STATE = ".wf"
WORKFLOW_DATABASE = "wf.db"
WORKFLOW_LOG = "wf.log"
SERVER_LOG = "server.log"
LAUNCHER_LOG = "launch.log"


def is_private(found: os.stat_result) -> bool:
    """Whether it is a directory that this user alone enters."""
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return is_own and not found.st_mode & 0o077


def make_state_dir(directory: Path) -> None:
    """Make a directory for files of one's own in one that is there: where a workflow was moved
    away from, that is a FileNotFoundError, and nothing is made."""
    directory.mkdir(exist_ok=True, mode=0o700)


def private_directory(*, is_for_data: bool = False) -> Path:
    """A directory of this machine that only this user enters, made when it is missing.

    One that ``is_for_data`` is where temporary files are, and not in memory with the sockets.
    Raises DatabaseUnavailable when there is none.
    """
    runtime = None if is_for_data else os.environ.get("XDG_RUNTIME_DIR")
    parent = (
        Path(runtime) if runtime and Path(runtime).is_dir() else Path(tempfile.gettempdir())
    )
    directory = parent / f"motoko-{os.getuid()}"
    where = f"sockets and locks in {directory}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            why = "that belongs to somebody else; set XDG_RUNTIME_DIR to a directory of yours"
            raise DatabaseUnavailable(where, why)
        if not is_private(found):
            directory.chmod(0o700)
    except DatabaseUnavailable:
        raise
    except OSError as error:
        why = f"{error.strerror}; set XDG_RUNTIME_DIR to a directory of yours"
        raise DatabaseUnavailable(where, why) from error
    return directory


def local_lock_file(file: Path) -> Path:
    """The file on this machine that is locked in the place of one that cannot be."""
    return private_directory() / local_lock_name(file)


def local_lock_name(file: Path) -> str:
    """Its name, which goes by where the other one lies."""
    mark = blake2b(os.fsencode(file.absolute()), digest_size=8).hexdigest()
    return f"{mark}-{file.name}"


def is_study_alone(directory: Path) -> bool:
    """Whether a directory is a study that no workflow around it has."""
    if not (directory / STUDY_FILE).is_file():
        return False
    return not any(
        (place / WORKFLOW_FILE).is_file() for place in (directory, *directory.parents)
    )
