"""Named places between two effects, where a test may have a process die.

``MOTOKO_CRASH_AT=POINT:FILE`` ends the first process that reaches that point with SIGKILL, as
a machine that fails would, and makes the file, so that no other does. ``POINT#3:FILE`` is the
third time that a process is there; several are separated by ``;``. Without the variable a point
costs one comparison.
"""

from __future__ import annotations

import os
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

VARIABLE = "MOTOKO_CRASH_AT"


class Point(namedtuple("Point", ["process", "here", "then"])):
    """Which process can die there, what has happened and what has not, what comes of it."""

    __slots__ = ()
    process: str
    here: str
    then: str


LOOKS = "the next launcher finds it so and goes on"
_MADE_AGAIN = "the next launcher makes the directory again, from its beginning"
_AGAIN = "`motoko run` starts what is missing"
RETRIED = "the attempt has vanished: class infrastructure, and another one is made"

#: The points that every workflow comes to, in their order; `other_crashpoints` has the rest.
POINTS: Dict[str, Point] = {
    "daemon.spawned": Point(
        "any command",
        "a background process is started, whoever started it does not wait for it any more",
        "the process finds nobody to report to and ends; the next command starts one",
    ),
    "office.locked": Point(
        "any",
        "the lock of server, launcher or orchestrator is held, its file names the last holder",
        "the lock is free again; the next one takes it",
    ),
    "server.taken": Point("server", "its lock file names it, no database is open", _AGAIN),
    "server.listening": Point("server", "it answers, whoever started it was not told", _AGAIN),
    "database.begun": Point(
        "any command",
        "the file of a database is made, and holds nothing",
        "it is taken for a new one",
    ),
    "database.made": Point(
        "any command", "a new database is there, others may not be", "what is missing is made"
    ),
    "launcher.taken": Point("launcher", "its lock file names it, nothing is done", _AGAIN),
    "launcher.ready": Point("launcher", "it works, whoever started it was not told", _AGAIN),
    "run.named": Point(
        "orchestrator",
        "the run name and its options are recorded, nothing of it was begun",
        "`motoko run` takes up that name",
    ),
    "orchestrator.taken": Point(
        "orchestrator", "its lock file names it, nothing is done", "its lock is free again"
    ),
    "orchestrator.claimed": Point(
        "orchestrator",
        "the databases take changes for the run name from it alone, nothing is recorded",
        "the next one claims them",
    ),
    "run.begun": Point(
        "orchestrator",
        "the run name is recorded as begun, main() was not called",
        "main() is called",
    ),
    "call.done": Point(
        "orchestrator",
        "a single call of main() is committed, main() was not told",
        "main() makes the call again, which finds the same runs",
    ),
    "main.returned": Point(
        "orchestrator", "main() has come to its end", "main() is called again, to no effect"
    ),
    "firing.begun": Point(
        "orchestrator",
        "a condition was seen to be true, the action is not called",
        "the condition is still true, and fires",
    ),
    "commit.begun": Point(
        "orchestrator",
        "nothing of a commit over several databases is written",
        "nothing of it has happened: the action begins again",
    ),
    "commit.decided": Point(
        "orchestrator",
        "the workflow's database has a commit, no study has its part",
        "the start of a command gives each study its part",
    ),
    "commit.applied": Point(
        "orchestrator",
        "a study has what was committed, others may not have their part",
        "the start of a command gives the others theirs",
    ),
    "commit.through": Point(
        "orchestrator",
        "every study has its part, whoever committed does not know it yet",
        "the firing is resumed, or is over",
    ),
    "firing.kept": Point(
        "orchestrator",
        "an action has committed and goes on: its record stands, without an end",
        "the firing is resumed with the same runs, whatever the condition says",
    ),
    "firing.ended": Point(
        "orchestrator",
        "the record of a firing has its end, the orchestrator has not taken note",
        "the firing is over",
    ),
    "recovery.applied": Point(
        "any command",
        "a recovery has given its part to a study, the decision still stands",
        "the next recovery sees the mark in the study and leaves it at that",
    ),
    "recovery.forgotten": Point(
        "any command",
        "a recovered commit is forgotten, its marks in the studies are not",
        "the next recovery sweeps them",
    ),
    "workflow.finished": Point(
        "orchestrator",
        "the workflow was said to be finished, which is not recorded",
        "nothing is left to do: it is finished without that anything is called again, or, if"
        " main() said so, main() says it again",
    ),
    "workflow.recorded": Point(
        "orchestrator",
        "the run name is recorded as finished, the command has not ended",
        "server and launcher go on, until `motoko kill`",
    ),
    "stop.asked": Point(
        "any command",
        "a background process is marked as stopped and was not told",
        "the next command that needs it ends it and starts another",
    ),
    "stop.told": Point(
        "any command",
        "a background process was told to end, nobody waits for that",
        "it ends by itself",
    ),
    "server.voted": Point(
        "server",
        "the data of a commit lies in the file and is no part of it",
        "the file is cut there; whoever committed does so again",
    ),
    "server.replied": Point(
        "server",
        "a commit is in the file, the answer to it is not sent",
        "whoever committed asks for the mark of the commit, or does what is harmless twice",
    ),
    "launcher.claimed": Point(
        "launcher",
        "a run is SUBMITTED with a new attempt, nothing of it is on disk",
        "the next launcher finds that nobody has its token and starts it",
    ),
    "rundir.made": Point("launcher", "the run directory is there and empty", _MADE_AGAIN),
    "rundir.clearing": Point(
        "launcher",
        "of what an earlier attempt has left, some is set aside",
        "the rest is set aside too",
    ),
    "rundir.cleared": Point(
        "launcher", "everything that an earlier attempt left is set aside", _MADE_AGAIN
    ),
    "rundir.touched": Point("launcher", "a file is made and empty", _MADE_AGAIN),
    "rundir.placed": Point(
        "launcher", "all files are there but the one that says whose they are", _MADE_AGAIN
    ),
    "rundir.described": Point(
        "launcher", "the directory is complete, the token is not taken", _MADE_AGAIN
    ),
    "token.written": Point(
        "launcher", "the token is complete and has no name", "nobody has taken it"
    ),
    "token.linked": Point("launcher", "the token is taken, no process is started", RETRIED),
    "launcher.spawned": Point(
        "launcher",
        "the script's shell is started, nothing else knows of it",
        "the next launcher finds the lock on the token held, and follows it",
    ),
    "script.entered": Point(
        "the script's shell", "it has begun and left no word of it", RETRIED
    ),
    "script.started": Point(
        "the script's shell", "the token says that it has begun, the script has not", RETRIED
    ),
    "journal.written": Point(
        "a script in Python",
        "a line is in its journal, the launcher was not told",
        "the line counts; the script has failed, unless it had said finish()",
    ),
    "script.ended": Point(
        "the script's shell", "the script is over, how it ended is not written", RETRIED
    ),
    "script.told": Point(
        "the script's shell",
        "how the script ended is written, its shell is still there",
        "what is written counts",
    ),
    "launcher.reaped": Point(
        "launcher",
        "a process has ended and was waited for, which is known to nobody else",
        "what the script's shell has written tells the next launcher how it ended",
    ),
    "launcher.read": Point(
        "launcher", "journal and outcome are read, nothing is recorded", "they are read again"
    ),
    "outcome.aside": Point(
        "launcher",
        "an outcome that the shell did not write is written, under another name",
        f"what the journal says counts; without finish() or fail() {RETRIED}",
    ),
    "outcome.written": Point("launcher", "an outcome is written in the shell's stead", LOOKS),
    "sentinel.written": Point(
        "launcher", "FINISHED or FAILED is there, the database does not say so", LOOKS
    ),
    "launcher.recorded": Point(
        "launcher",
        "states, entries and how far the journals were read are committed",
        "what was recorded is not read again",
    ),
    "launcher.adopted": Point(
        "launcher",
        "what became of an attempt of an earlier launcher is known, and not recorded",
        "the launcher after it finds it out again",
    ),
    "launcher.ending": Point(
        "launcher", "it was told to end, what it knows is not recorded", LOOKS
    ),
    "launcher.closed": Point(
        "launcher",
        "what it knows is recorded, its lock file names it",
        "its lock is free again",
    ),
    "server.ending": Point("server", "it was told to end, its databases are open", _AGAIN),
    "server.closed": Point(
        "server", "its databases are closed, its lock file names it", "its lock is free again"
    ),
    "orchestrator.unclaimed": Point(
        "orchestrator",
        "it has come to its end and claims no database any more, its lock file names it",
        "its lock is free again",
    ),
    "office.passed": Point(
        "any command",
        "it is noted that a background process ends with the last command that uses it, which"
        " was this one",
        "the process goes on; the next command that uses it ends it, or `motoko kill`",
    ),
}


class _Chosen:
    """Where a process is to die."""

    def __init__(self, times: int, file: str) -> None:
        self.times_left = times
        self.file = file


def _read(text: str) -> Dict[str, _Chosen]:
    found = {}
    for entry in text.split(";") if text else ():
        place, _, file = entry.partition(":")
        point, _, times = place.partition("#")
        found[point] = _Chosen(int(times or 1), file)
    return found


_chosen = _read(os.environ.get(VARIABLE, ""))


def reached(point: str) -> None:
    """Say that the process is at a point."""
    if _chosen and point in _chosen:
        _die(_chosen[point])


def in_shell(point: str) -> str:
    """Text for a bash script that says so; none, unless a process is to die there."""
    if point not in _chosen:
        return ""
    import shlex  # scripts, which import this too, have no use for it

    file = shlex.quote(_chosen[point].file)
    return f"(set -C; : >{file}) 2>/dev/null && builtin kill -KILL $$"


def _die(chosen: _Chosen) -> None:
    import signal

    chosen.times_left -= 1
    if chosen.times_left > 0:
        return
    try:
        os.close(os.open(chosen.file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
