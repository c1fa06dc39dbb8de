"""The signal that a run gets before its walltime is over, and how long before."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, NamedTuple

from motoko.config.sections import Read
from motoko.config.values import Refused
from motoko.config.walltime import parse_walltime

#: Those that a program can hear and go on; by number, which the system has.
SIGNALS: Final = ("USR1", "USR2", "HUP", "INT", "TERM")
_DEFAULT_S: Final = 60.0
_ALLOWED: Final = "a signal and how long before the end, as in USR1@60, USR1@5m or B:USR1@60"
_WRITTEN = re.compile(r"(B:)?(?:SIG)?([A-Z0-9]+)(?:@(.+))?")


class CheckpointSignal(NamedTuple):
    """What tells a run that its walltime is nearly over."""

    name: str
    before_s: float = _DEFAULT_S
    #: Whether it is for the script's own shell alone, and not for what this has started.
    is_for_script: bool = False

    def after_s(self, walltime_s: float) -> float | None:
        """When it comes, in seconds from the start; None if the walltime is no longer than
        what it is to leave."""
        left_s = walltime_s - self.before_s
        return left_s if left_s > 0 else None

    def __repr__(self) -> str:
        return f"{'B:' if self.is_for_script else ''}{self.name}@{self.before_s:g}"


def read_checkpoint_signal(value: Any) -> CheckpointSignal:
    """What was written under ``checkpoint_signal``; Refused where that cannot be meant."""
    if isinstance(value, CheckpointSignal):
        return value
    found = _WRITTEN.fullmatch(value.strip().upper()) if isinstance(value, str) else None
    if found is None:
        raise Refused(_ALLOWED)
    if found[2] not in SIGNALS:
        raise Refused(f"one of the signals {', '.join(SIGNALS)}")
    before_s = parse_walltime(found[3]) if found[3] else _DEFAULT_S
    return CheckpointSignal(found[2], before_s, bool(found[1]))


Checkpoint = Annotated[
    CheckpointSignal,
    Read(
        read_checkpoint_signal, {"type": "string", "pattern": r"^(B:)?(SIG)?[A-Z0-9]+(@.+)?$"}
    ),
]
