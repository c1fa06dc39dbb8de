"""The entries that every run has, one row each: everything that is said of them stands here.

The job side reads this too, so it is standard library only and as old as that.
"""

from __future__ import annotations

import re
from types import MappingProxyType

#: Who may set an entry: Motoko alone; whoever creates or holds the run in an orchestrator;
#: scripts as well.
MOTOKO, ORCHESTRATOR, SCRIPT = "motoko", "orchestrator", "script"


class Column:
    """One entry of every run; times are seconds since the epoch."""

    __slots__ = ("is_derived", "is_shown", "is_telemetry", "meaning", "name", "set_by", "type")

    def __init__(
        self,
        name: str,
        kind: str,
        set_by: str,
        meaning: str,
        *,
        is_shown: bool = True,
        is_telemetry: bool = False,
        is_derived: bool = False,
    ) -> None:
        self.name = name
        self.type = kind
        self.set_by = set_by
        self.meaning = meaning
        #: Whether users see it; what they do not see is how Motoko keeps its books.
        self.is_shown = is_shown
        #: Whether the launcher keeps it up to date during an attempt; no work rests on it.
        self.is_telemetry = is_telemetry
        #: Whether it is found out each time, and not stored.
        self.is_derived = is_derived


#: Those that are stored are in the order of a stored row, which must not change.
COLUMNS = (
    Column("id", "int", MOTOKO, "number of the run, from 1", is_derived=True),
    Column("job_id", "int", MOTOKO, "number of its job, from 1"),
    Column("state", "str", SCRIPT, "see [states](states.md)"),
    Column("run_name", "str", MOTOKO, "the run name that it belongs to"),
    Column("event_name", "str", MOTOKO, "name of the function that created it"),
    Column("nproc", "int", ORCHESTRATOR, "cores that it uses"),
    Column("machine_name", "str", ORCHESTRATOR, "the machine it is meant for"),
    Column("create_time", "float", MOTOKO, "when it was created"),
    Column("start_time", "float", MOTOKO, "when the present attempt began", is_telemetry=True),
    Column("end_time", "float", MOTOKO, "when the present attempt ended"),
    Column(
        "attempt", "int", MOTOKO, "number of the present attempt, from 1", is_telemetry=True
    ),
    Column("nonce", "str", MOTOKO, "the present attempt", is_shown=False, is_telemetry=True),
    Column("files", "str", MOTOKO, "digest of its manifest", is_shown=False),
    Column("has_finished", "int", MOTOKO, "1 once it was FINISHED", is_shown=False),
    Column("last_step", "int", MOTOKO, "the step pushed last", is_telemetry=True),
    Column(
        "last_step_time", "float", MOTOKO, "when a quantity was pushed last", is_telemetry=True
    ),
    Column("run_path", "str", MOTOKO, "its [run directory](run-directory.md)", is_derived=True),
    Column("workflow", "str", MOTOKO, "path of `motoko.yaml`", is_derived=True),
    Column("exec", "str", MOTOKO, "name of the script", is_derived=True),
)

#: Entries that tell tasks apart although nobody declares them: a repetition that is meant, what
#: came before, if the same task was done behind something else, and the step of a pipeline that
#: has not the name of its study, which may do other steps too.
BEHIND = "behind_runs"
STEP = "pipeline_step"
UNDECLARED = (BEHIND, STEP, "replica")
#: Entries of a run that a step of a pipeline has made: what came of the steps that its step
#: requires; and of a CREATED one the step that it waits for, since somebody has put it back,
#: and when its run name came to its end without that step asking for it.
REQUIRED = "required_runs"
#: Of a run that was made from one of these, with another value of its job, and that no step has
#: asked for yet: what the one was done behind.
MADE_BEHIND = "made_behind"
AWAITS = "awaits_step"
PASSED_OVER = "passed_over"
#: Names that users cannot take for entries of their own.
BUILT_IN = frozenset(c.name for c in COLUMNS)
#: In which Motoko notes what was done with a run, besides, and when it is not to be launched.
NOTED = frozenset(
    {
        "set_by_hand",
        "retry_of",
        "retried_as",
        REQUIRED,
        BEHIND,
        MADE_BEHIND,
        AWAITS,
        PASSED_OVER,
    }
)
#: What only Motoko itself writes, and what scripts only read.
FIXED = NOTED.union(c.name for c in COLUMNS if c.set_by == MOTOKO)
FIXED_FOR_SCRIPTS = NOTED.union(c.name for c in COLUMNS if c.set_by != SCRIPT)
#: Entries that say something to Motoko although users may have others of these names: in a
#: database that somebody else has made they meant something else.
TELLING = NOTED.union(UNDECLARED, ("archive", "on_failure", "sentinels", "system_dir"))
HIDDEN = frozenset(c.name for c in COLUMNS if not c.is_shown)
TELEMETRY = frozenset(c.name for c in COLUMNS if c.is_telemetry)
STORED = tuple(c.name for c in COLUMNS if not c.is_derived)
#: The entries that users see, with their types.
RUN_ENTRIES = MappingProxyType({c.name: c.type for c in COLUMNS if c.is_shown})
_ARCHIVE = re.compile(r"archive-\d+\.zip")


def is_motokos(name: str, value: object) -> bool:
    """Whether an entry with this value is one of Motoko's own, which nobody else may set.

    ``archive`` is if it names an archive, ``sentinels`` if it names a directory: all else that
    is so named is the user's and says nothing to Motoko.
    """
    if name == "archive":
        return isinstance(value, str) and _ARCHIVE.fullmatch(value) is not None
    if name == "sentinels":
        return isinstance(value, dict) and isinstance(value.get("root"), str)
    return name in FIXED


TIMES = tuple(c.name for c in COLUMNS if c.type == "float")
