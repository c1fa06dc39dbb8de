"""What became of attempts while no launcher was there, told from their files alone."""

from __future__ import annotations

import enum
from typing import NamedTuple

from motoko.host import boot_id, host_name, is_alive
from motoko.job import holders, token
from motoko.job.outcome import Outcome, is_untold, read_outcome
from motoko.launch.attempt import Attempt


class Fate(enum.Enum):
    """What an attempt turned out to be."""

    UNSTARTED = "nobody has taken its token"
    RUNNING = "its process is there"
    HELD = "a process that it started is there"
    ELSEWHERE = "it was started on another host"
    ENDED = "it has left an outcome"
    VANISHED = "its processes are gone without an outcome"
    UNTOLD = "it ended, and no space was left to write how"
    REBOOTED = "its host was started anew while it executed"


class Finding(NamedTuple):
    """The fate of an attempt, with what goes with it."""

    fate: Fate
    outcome: Outcome | None = None
    pid: int | None = None
    started: float | None = None
    host: str | None = None
    #: For how long it has gone on, or did, if that can be told whatever the clock was set to.
    age_s: float | None = None


def examine(attempt: Attempt) -> Finding:
    """Find out what became of an attempt. OSError when its directory cannot be read."""
    run_dir, number = attempt.run_dir, attempt.number
    taken = token.read_token(run_dir, number)
    left = read_outcome(run_dir, number, attempt.nonce)
    if left is not None:
        return Finding(Fate.ENDED, left, left.pid, left.begin, left.host, left.took)
    if taken is None or (taken.facts and taken.nonce != attempt.nonce):
        return Finding(Fate.UNSTARTED)
    host = taken.host or host_name()

    def found(fate: Fate) -> Finding:
        return Finding(fate, None, taken.pid, taken.started, host, taken.age_s)

    if host != host_name():
        return found(Fate.ELSEWHERE)
    if taken.boot and taken.boot != boot_id():
        return found(Fate.REBOOTED)
    if holders.is_held(run_dir, number):
        if taken.pid is not None and is_alive(taken.pid, taken.start_time):
            return found(Fate.RUNNING)
        return found(Fate.HELD)
    left = read_outcome(run_dir, number, attempt.nonce)  # it may have ended just now
    if left is not None:
        return Finding(Fate.ENDED, left, left.pid, left.begin, left.host, left.took)
    return found(Fate.UNTOLD if is_untold(run_dir, number) else Fate.VANISHED)
