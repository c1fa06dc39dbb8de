"""Processes in the background, and the offices that they hold one at a time."""

from motoko.daemon.early import Early
from motoko.daemon.office import WATCH_S, Office, Owner
from motoko.daemon.process import log_to, python_command, start, stop
from motoko.daemon.use import Use
from motoko.starter import say_ready

__all__ = [
    "WATCH_S",
    "Early",
    "Office",
    "Owner",
    "Use",
    "log_to",
    "python_command",
    "say_ready",
    "start",
    "stop",
]
