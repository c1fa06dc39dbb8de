"""Processes in the background, and the offices that they hold one at a time."""

from motoko.daemon.office import WATCH_S, Office, Owner
from motoko.daemon.process import (
    READY,
    READY_FD,
    log_to,
    python_command,
    say_ready,
    say_why,
    start,
    stop,
)

__all__ = [
    "READY",
    "READY_FD",
    "WATCH_S",
    "Office",
    "Owner",
    "log_to",
    "python_command",
    "say_ready",
    "say_why",
    "start",
    "stop",
]
