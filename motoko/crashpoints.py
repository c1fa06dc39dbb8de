"""Named places between two effects, where a test may have a process die.

``MOTOKO_CRASH_AT=POINT:FILE`` ends the first process that reaches that point with SIGKILL, as
a machine that fails would, and makes the file, so that no other does. Without the variable a
point costs one comparison.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "MOTOKO_CRASH_AT"

#: Every point, and what has happened there and what has not.
POINTS = {
    "commit.begun": "nothing of a commit over several databases is written",
    "commit.decided": "the workflow's database has it, no study has its part",
    "commit.applied": "a study has what was committed, others may not have their part",
    "commit.through": "every study has its part, whoever committed does not know it yet",
    "recovery.applied": "a recovery has given its part to a study, the decision still stands",
    "server.replied": "a commit is in the file, the answer to it is not sent",
}

_chosen, _, _file = os.environ.get(VARIABLE, "").partition(":")


def reached(point: str) -> None:
    """Say that the process is at a point."""
    if point == _chosen:
        _die()


def _die() -> None:
    try:
        os.close(os.open(_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
